"""Drawn faces are reproducible, follow CelebA's frequencies and dependencies, and show every attribute."""

from __future__ import annotations

import io
import zipfile
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools.synthetic import draw_face, draw_faces, sample_attributes, write_celeba
from facetools.table.attributes import CELEBA40, FREQUENCIES
from facetools.table.lists import read_attribute_list, read_number_list

BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")
FILES = ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt")


@pytest.fixture(scope="module")
def has() -> dict[str, np.ndarray]:
    """Sampled attributes: each name with its column, bool (20000,)."""
    labels = sample_attributes(20_000, np.random.default_rng(7))
    assert labels.dtype == np.uint8
    assert labels.shape == (20_000, 40)
    assert set(np.unique(labels)) == {0, 1}
    return dict(zip(CELEBA40, labels.astype(bool).T, strict=True))


@pytest.mark.parametrize("name", CELEBA40)
def test_frequencies_are_close_to_celeba(has: dict[str, np.ndarray], name: str) -> None:
    assert abs(has[name].mean() - FREQUENCIES[name]) < 0.03
    assert has[name].mean() > 0.03


def test_contradictory_attributes_do_not_occur_together(has: dict[str, np.ndarray]) -> None:
    hair = sum(has[f"{color}_Hair"].astype(int) for color in ("Black", "Blond", "Brown", "Gray"))
    assert hair.max() == 1
    assert not hair[has["Bald"]].any()
    assert not (has["Straight_Hair"] & has["Wavy_Hair"]).any()
    for kind in BEARDS:
        assert not (has[kind] & (has["No_Beard"] | ~has["Male"])).any()
    for hidden in ("Bald", "Bangs", "Receding_Hairline"):
        assert not (has[hidden] & has["Wearing_Hat"]).any()


@pytest.mark.parametrize(
    ("name", "condition", "lower", "upper"),
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
def test_dependencies_are_close_to_celeba(
    has: dict[str, np.ndarray], name: str, condition: str, lower: float, upper: float
) -> None:
    assert lower <= has[name][has[condition]].mean() <= upper


def test_a_face_depends_only_on_its_seed_and_number() -> None:
    two, four, other_seed = (list(draw_faces(count, seed)) for count, seed in ((2, 5), (4, 5), (2, 6)))
    for (attributes, image), (same_attributes, same_image) in zip(two, four, strict=False):
        assert np.array_equal(attributes, same_attributes)
        assert image.tobytes() == same_image.tobytes()
    assert len({image.tobytes() for _, image in four + other_seed}) == 6


@pytest.mark.parametrize("size", [(218, 178), (64, 64), (120, 200)])
def test_images_have_the_requested_size(size: tuple[int, int]) -> None:
    for attributes, image in draw_faces(2, 1, size):
        assert (attributes.dtype, attributes.shape) == (np.dtype(np.uint8), (40,))
        assert (image.mode, image.height, image.width) == ("RGB", *size)


@pytest.mark.parametrize("name", CELEBA40)
def test_every_attribute_has_a_visible_sign(name: str) -> None:
    """Setting the attribute changes more than 0.5% of the pixels of a face by at least 16 gray levels."""
    column = CELEBA40.index(name)
    # Bald heads and hats hide the hair.
    rows = (row for row in sample_attributes(100, np.random.default_rng(3)) if not row[CELEBA40.index("Bald")])
    rows = (row for row in rows if not row[CELEBA40.index("Wearing_Hat")])
    hair_colors = [CELEBA40.index(f"{color}_Hair") for color in ("Black", "Blond", "Brown", "Gray")]
    for number, row in enumerate(islice(rows, 3)):
        if column in hair_colors:
            row[hair_colors] = 0
        pictures = []
        for value in (0, 1):
            row[column] = value
            pictures.append(np.asarray(draw_face(row, np.random.default_rng(number)), int))
        assert (np.abs(pictures[0] - pictures[1]).max(2) >= 16).mean() > 0.005


def test_the_data_set_has_celebas_layout(tmp_path: Path) -> None:
    write_celeba(tmp_path, 10, 5, test_share=0.2, valid_share=0.1)
    assert sorted(path.name for path in tmp_path.iterdir()) == list(FILES)
    names = [f"{number:06d}.jpg" for number in range(1, 11)]
    attribute_list = read_attribute_list(tmp_path / "list_attr_celeba.txt")
    assert attribute_list.names == CELEBA40
    assert list(attribute_list.files) == names
    partition = read_number_list(tmp_path / "list_eval_partition.txt", "partition")
    assert list(partition.files) == names
    assert list(partition.numbers) == [0] * 7 + [1] + [2] * 2
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip") as archive:
        assert archive.namelist() == [f"img_align_celeba/{name}" for name in names]
        for row, (attributes, image) in enumerate(draw_faces(10, 5)):
            assert np.array_equal(attribute_list.values[row], attributes)
            with Image.open(io.BytesIO(archive.read(f"img_align_celeba/{names[row]}"))) as stored:
                assert stored.size == image.size
                assert np.abs(np.asarray(stored, int) - np.asarray(image, int)).mean() < 6


def test_the_files_do_not_depend_on_the_number_of_jobs(tmp_path: Path) -> None:
    for jobs in (1, 2):
        write_celeba(tmp_path / str(jobs), 4, 9, size=(64, 52), jobs=jobs)
    for name in FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_shares_above_one_in_total_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="add up to more than 1"):
        write_celeba(tmp_path, 10, 1, test_share=0.8, valid_share=0.4)
    assert not list(tmp_path.iterdir())
