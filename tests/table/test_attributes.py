"""Attribute names, presets, attribute selection and weights by frequency."""

import pytest

from facetools.table import attributes
from facetools.table.attributes import CELEBA40, PAPER10, PAPER37, select_attributes


def test_presets_match_the_paper() -> None:
    assert (len(CELEBA40), len(PAPER37), len(PAPER10)) == (40, 37, 10)
    assert set(CELEBA40) - set(PAPER37) == {"Attractive", "Pale_Skin", "Blurry"}
    assert [name for name in CELEBA40 if name in PAPER37] == list(PAPER37)
    assert set(PAPER10) < set(PAPER37)
    assert CELEBA40[0] == "5_o_Clock_Shadow"
    assert CELEBA40[39] == "Young"


def test_every_attribute_has_a_frequency() -> None:
    assert set(attributes.FREQUENCIES) == set(CELEBA40)
    assert all(0 < frequency < 1 for frequency in attributes.FREQUENCIES.values())


def test_published_accuracies_match_table_1_of_the_paper() -> None:
    table = {method: attributes.PUBLISHED_ACCURACIES[method] for method in ("paper", "LNets+ANet")}
    for accuracies in table.values():
        assert set(PAPER37) <= set(accuracies)
    assert (table["paper"]["Bald"], table["LNets+ANet"]["Bald"]) == (99, 98)
    assert (table["paper"]["Wearing_Necklace"], table["LNets+ANet"]["Wearing_Necklace"]) == (88, 71)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        ("paper10", PAPER10),
        ("CelebA40", CELEBA40),
        ("Young, bald", ("Young", "Bald")),
        ("wearing hat,WEARING-HAT,,Wearing_Hat", ("Wearing_Hat",)),
        ("Bangs,paper10,Bangs", ("Bangs", *(name for name in PAPER10 if name != "Bangs"))),
    ],
)
def test_select_attributes_accepts_presets_and_names(spec: str, names: tuple[str, ...]) -> None:
    assert select_attributes(spec) == names


def test_select_attributes_uses_the_available_spelling() -> None:
    assert select_attributes("blau,1", ("0", "1", "Blau")) == ("Blau", "1")


@pytest.mark.parametrize(
    ("spec", "available", "message"),
    [
        ("Male,Blad", CELEBA40, r"^attribute 'Blad' is not available; did you mean Bald\?$"),
        ("celeba40", PAPER37, r"^attribute 'Attractive' \(of preset celeba40\) is not available"),
        ("zzz", ("0", "1"), "the available attributes are 0, 1$"),
        (" , ", CELEBA40, "^no attribute is named"),
        ("", CELEBA40, "^no attribute is named"),
    ],
)
def test_select_attributes_reports_unavailable_names(spec: str, available: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        select_attributes(spec, available)


@pytest.mark.parametrize(("count", "names"), [(40, CELEBA40), (37, PAPER37), (3, ("0", "1", "2")), (0, ())])
def test_default_names_depend_on_the_number_of_columns(count: int, names: tuple[str, ...]) -> None:
    assert attributes.default_attribute_names(count) == names


def test_frequency_weights_emphasize_rare_or_common_attributes() -> None:
    frequencies = {"rare": 0.1, "middle": 0.5, "common": 0.75}
    rare, common = (attributes.frequency_weights(frequencies, criterion) for criterion in ("rare", "common"))
    assert rare == pytest.approx({"rare": 1, "middle": 0.6, "common": 0.35})
    assert common == pytest.approx({"rare": 0.35, "middle": 0.75, "common": 1})
    with pytest.raises(ValueError, match="'rare' or 'common', not 'both'"):
        attributes.frequency_weights(frequencies, "both")
