"""CelebA's files: attribute list, partition and identity lists, and the folder that holds them beside the images.

Each list is a text file or a CSV file:

- `list_attr_celeba.txt`: the number of rows, the attribute names, then one row per image with values -1 or 1
- `list_eval_partition.txt`: rows like `000001.jpg 0` (0 train, 1 valid, 2 test)
- `identity_CelebA.txt`: rows like `000001.jpg 2880`
- CSV: the same columns with a header line that starts with `image_id`

Attribute values 0 and 1 are accepted too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

#: Names of the partitions, in the order of their numbers.
PARTITIONS = ("train", "valid", "test")


class CelebAError(ValueError):
    """A file or folder does not have CelebA's format; the message says what is missing or wrong."""


@dataclass(frozen=True)
class AttributeList:
    """An attribute list: file names, attribute names, and `values` as uint8 0 or 1 (files, attributes)."""

    files: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray


def file_name(path: str) -> str:
    """Return the last component of a path. Labels are matched to images by it."""
    return PurePosixPath(path).name


def parse_attribute_list(text: str) -> AttributeList:
    """Parse an attribute list in text or CSV form. Raises CelebAError with the invalid line or value."""
    lines = text.splitlines()
    is_csv = bool(lines) and lines[0].startswith("image_id")
    header = 0 if is_csv else 1
    if len(lines) <= header:
        raise CelebAError("the attribute list has no header line")
    names = tuple(lines[0].strip().split(",")[1:]) if is_csv else tuple(lines[1].split())
    if not names:
        raise CelebAError(f"line {header + 1}: no attribute names")
    files: list[str] = []
    values: list[str] = []
    for number, line in enumerate(lines[header + 1 :], start=header + 2):
        if not line.strip():
            continue
        file, *row = line.strip().split(",") if is_csv else line.split()
        if len(row) != len(names):
            raise CelebAError(f"line {number}: {len(row)} values for {len(names)} attributes")
        files.append(file)
        values.extend(row)
    if not is_csv and not (lines[0].strip().isdigit() and int(lines[0]) == len(files)):
        raise CelebAError(f"line 1 says {lines[0].strip()} rows, but {len(files)} follow")
    numbers = _parse_values(values)
    if numbers is None:
        position = next(position for position, value in enumerate(values) if value not in ("-1", "0", "1"))
        row_number, column = divmod(position, len(names))
        raise CelebAError(f"{names[column]} of {files[row_number]} is {values[position]}, not -1, 0 or 1")
    return AttributeList(tuple(files), names, numbers.reshape(len(files), len(names)))


def _parse_values(values: list[str]) -> np.ndarray | None:
    """Return the values -1, 0 and 1 as uint8 0, 0 and 1, or None if there is any other value."""
    try:
        numbers = np.array(values, dtype=np.int8)
    except (ValueError, OverflowError):
        return None
    return (numbers == 1).astype(np.uint8) if np.isin(numbers, (-1, 0, 1)).all() else None


def read_attribute_list(path: Path) -> AttributeList:
    """Read the attribute list in the file `path`. CelebAErrors start with the path."""
    try:
        return parse_attribute_list(path.read_text("utf-8"))
    except (CelebAError, UnicodeDecodeError) as error:
        raise CelebAError(f"{path}: {error}") from None


def read_number_list(path: Path) -> dict[str, int]:
    """Read a partition list or identity list: the number of each file name. CelebAErrors start with the path."""
    numbers: dict[str, int] = {}
    for row, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        parts = line.replace(",", " ").split()
        if row == 1 and parts[:1] == ["image_id"]:
            continue
        if len(parts) != 2 or not parts[1].isdigit():
            raise CelebAError(f"{path}: line {row}: expected a file name and a number")
        numbers[parts[0]] = int(parts[1])
    return numbers


@dataclass(frozen=True)
class CelebALayout:
    """The parts of a CelebA folder: the images (a folder or zip archive), the attribute list and the partition list."""

    images: Path
    attributes: Path | None
    partition: Path | None

    @classmethod
    def find(cls, folder: Path) -> CelebALayout | None:
        """Return the layout of `folder`, or None if it has neither list. Raises CelebAError if only the images are
        missing."""
        attributes = _first_existing(folder, "list_attr_celeba.txt", "list_attr_celeba.csv")
        partition = _first_existing(folder, "list_eval_partition.txt", "list_eval_partition.csv")
        if attributes is None and partition is None:
            return None
        images = _first_existing(
            folder, "img_align_celeba.zip", "img_align_celeba", "img_celeba.zip", "img_celeba", "images"
        )
        if images is None:
            archives = sorted(folder.glob("*.zip"))
            if len(archives) != 1:
                raise CelebAError(f"{folder}: no images; img_align_celeba.zip or img_align_celeba/ was expected")
            images = archives[0]
        return cls(images, attributes, partition)

    def select_partition(self, paths: list[str], partition: str) -> list[str]:
        """Return those of `paths`, in order, that belong to `partition`: train, valid or test. Files are matched by
        name; unlisted ones are dropped. Raises CelebAError if there is no partition list."""
        if self.partition is None:
            raise CelebAError(
                f"{self.images.parent}: no list_eval_partition.txt or .csv, which selects the {partition} images"
            )
        numbers = read_number_list(self.partition)
        number = PARTITIONS.index(partition)
        return [path for path in paths if numbers.get(file_name(path)) == number]


def _first_existing(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)
