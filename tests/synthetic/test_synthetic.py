"""Drawn faces: reproducible, with CelebA's frequencies and dependencies, and with a visible sign of every attribute."""

from __future__ import annotations

import io
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools.synthetic import draw_face, draw_faces, sample_attributes, write_celeba
from facetools.table import celeba
from facetools.table.attributes import CELEBA40, FREQUENCIES

BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")
WRITTEN = ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt")


@pytest.fixture(scope="module")
def has() -> dict[str, np.ndarray]:
    """The columns, bool (20000,), of many sampled attributes."""
    labels = sample_attributes(20_000, np.random.default_rng(7))
    assert labels.dtype == np.uint8
    assert labels.shape == (20_000, 40)
    assert set(np.unique(labels)) == {0, 1}
    return dict(zip(CELEBA40, labels.astype(bool).T, strict=True))


@pytest.mark.parametrize("name", CELEBA40)
def test_frequencies_are_near_those_of_celeba(has: dict[str, np.ndarray], name: str) -> None:
    assert abs(has[name].mean() - FREQUENCIES[name]) < 0.03
    assert has[name].mean() > 0.03


def test_nobody_has_two_of_what_excludes_each_other(has: dict[str, np.ndarray]) -> None:
    hair = sum(has[f"{colour}_Hair"].astype(int) for colour in ("Black", "Blond", "Brown", "Gray"))
    assert hair.max() == 1
    assert not hair[has["Bald"]].any()
    assert not (has["Straight_Hair"] & has["Wavy_Hair"]).any()
    for kind in BEARDS:
        assert not (has[kind] & (has["No_Beard"] | ~has["Male"])).any()
    for hidden in ("Bald", "Bangs", "Receding_Hairline"):
        assert not (has[hidden] & has["Wearing_Hat"]).any()


@pytest.mark.parametrize(
    ("name", "given", "least", "most"),
    [
        ("Wearing_Lipstick", "Male", 0.0, 0.05),
        ("Heavy_Makeup", "Male", 0.0, 0.08),
        ("Wearing_Earrings", "Male", 0.0, 0.08),
        ("Male", "Bald", 1.0, 1.0),
        ("Male", "Wearing_Necktie", 0.9, 1.0),
        ("Young", "Gray_Hair", 0.0, 0.0),
        ("Young", "Attractive", 0.85, 1.0),
        ("High_Cheekbones", "Smiling", 0.65, 0.9),
        ("Mouth_Slightly_Open", "Smiling", 0.6, 0.9),
    ],
)
def test_dependencies_are_those_of_celeba(
    has: dict[str, np.ndarray], name: str, given: str, least: float, most: float
) -> None:
    assert least <= has[name][has[given]].mean() <= most


def test_a_face_depends_on_its_seed_and_number_alone() -> None:
    few, many, other = (list(draw_faces(count, seed)) for count, seed in ((2, 5), (4, 5), (2, 6)))
    for (attributes, image), (same_attributes, same_image) in zip(few, many, strict=False):
        assert np.array_equal(attributes, same_attributes)
        assert image.tobytes() == same_image.tobytes()
    assert len({image.tobytes() for _, image in many + other}) == 6


@pytest.mark.parametrize("size", [(218, 178), (64, 64), (120, 200)])
def test_faces_have_the_size_asked_for(size: tuple[int, int]) -> None:
    for attributes, image in draw_faces(2, 1, size):
        assert (attributes.dtype, attributes.shape) == (np.dtype(np.uint8), (40,))
        assert (image.mode, image.height, image.width) == ("RGB", *size)


@pytest.mark.parametrize("name", CELEBA40)
def test_every_attribute_changes_the_picture(name: str) -> None:
    """The same face with and without it differs by at least 16 levels in half a percent of the pixels."""
    column = CELEBA40.index(name)
    # Hair has no colour or outline on a bald head, and a hat hides the hairline: start from a face without either.
    rows = (row for row in sample_attributes(100, np.random.default_rng(3)) if not row[CELEBA40.index("Bald")])
    rows = (row for row in rows if not row[CELEBA40.index("Wearing_Hat")])
    colours = [CELEBA40.index(f"{colour}_Hair") for colour in ("Black", "Blond", "Brown", "Gray")]
    for number, row in enumerate(islice(rows, 3)):
        if column in colours:
            row[colours] = 0
        pictures = []
        for value in (0, 1):
            row[column] = value
            pictures.append(np.asarray(draw_face(row, np.random.default_rng(number)), int))
        assert (np.abs(pictures[0] - pictures[1]).max(2) >= 16).mean() > 0.005


def test_written_faces_are_in_celebas_layout(tmp_path: Path) -> None:
    write_celeba(tmp_path, 10, 5, test_share=0.2, valid_share=0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == list(WRITTEN)
    names = [f"{number:06d}.jpg" for number in range(1, 11)]
    listed = celeba.read_attribute_list(tmp_path / "list_attr_celeba.txt")
    assert listed.names == CELEBA40
    assert list(listed.files) == names
    partition = celeba.read_number_list(tmp_path / "list_eval_partition.txt")
    assert partition == dict(zip(names, [0] * 7 + [1] + [2] * 2, strict=True))
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip") as archive:
        assert archive.namelist() == [f"img_align_celeba/{name}" for name in names]
        for row, (attributes, image) in enumerate(draw_faces(10, 5)):
            assert np.array_equal(listed.values[row], attributes)
            with Image.open(io.BytesIO(archive.read(f"img_align_celeba/{names[row]}"))) as stored:
                assert stored.size == image.size
                assert np.abs(np.asarray(stored, int) - np.asarray(image, int)).mean() < 6


def test_the_same_arguments_write_the_same_bytes_with_any_number_of_jobs(tmp_path: Path) -> None:
    for jobs in (1, 2):
        write_celeba(tmp_path / str(jobs), 4, 9, size=(64, 52), jobs=jobs)
    for name in WRITTEN:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_shares_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="test_share"):
        write_celeba(tmp_path, 10, 1, test_share=0.8, valid_share=0.4)
    assert not list(tmp_path.iterdir())
