"""CelebA's layout: attributes, partition and identity as text or CSV beside a folder or zip of images.

Text: `list_attr_celeba.txt` has the number of rows, the attribute names, then a row an image with -1 or 1 (0 or 1 is
taken too); `list_eval_partition.txt` has rows like `000001.jpg 0` (0 train, 1 valid, 2 test), `identity_CelebA.txt`
rows like `000001.jpg 2880`. CSV: the same columns with a header line that begins with `image_id`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

PARTITIONS = ("train", "valid", "test")


class CelebAError(ValueError):
    """A file or folder is not in CelebA's layout; the message says what is missing or wrong."""


@dataclass(frozen=True)
class AttributeList:
    """Attributes of images: `files` their names as listed, `names` the attributes, `values` uint8 0/1 (n, a)."""

    files: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each file, by its name without folders."""
        return {file_name(file): row for row, file in enumerate(self.files)}


def file_name(path: str) -> str:
    """The last part of a path: what labels are matched by."""
    return PurePosixPath(path).name


def parse_attribute_list(text: str) -> AttributeList:
    """The attribute list in `text`, in CelebA's text or CSV form; a CelebAError names the line at fault."""
    lines = text.splitlines()
    comma = bool(lines) and lines[0].startswith("image_id")
    header = 0 if comma else 1
    if len(lines) <= header:
        raise CelebAError("the attribute list has no header line")
    names = tuple(lines[0].strip().split(",")[1:]) if comma else tuple(lines[1].split())
    if not names:
        raise CelebAError(f"line {header + 1}: no attribute names")
    files: list[str] = []
    flat: list[str] = []
    for number, line in enumerate(lines[header + 1 :], start=header + 2):
        if not line.strip():
            continue
        file, *values = line.strip().split(",") if comma else line.split()
        if len(values) != len(names):
            raise CelebAError(f"line {number}: {len(values)} values for {len(names)} attributes")
        files.append(file)
        flat.extend(values)
    if not comma and not (lines[0].strip().isdigit() and int(lines[0]) == len(files)):
        raise CelebAError(f"line 1 says {lines[0].strip()} rows, but {len(files)} follow")
    try:
        numbers = np.array(flat, dtype=np.int8)
    except (ValueError, OverflowError):
        numbers = np.full(1, 2, dtype=np.int8)
    if not np.isin(numbers, (-1, 0, 1)).all():
        wrong = next(place for place, value in enumerate(flat) if value not in ("-1", "0", "1"))
        raise CelebAError(
            f"{names[wrong % len(names)]} of {files[wrong // len(names)]} is {flat[wrong]}, not -1, 0 or 1"
        )
    return AttributeList(tuple(files), names, (numbers == 1).astype(np.uint8).reshape(len(files), len(names)))


def read_attribute_list(path: Path) -> AttributeList:
    """The attribute list in the file `path`."""
    try:
        return parse_attribute_list(path.read_text("utf-8"))
    except (CelebAError, UnicodeDecodeError) as error:
        raise CelebAError(f"{path}: {error}") from None


def read_number_list(path: Path) -> dict[str, int]:
    """The partition, or the identity, of each file name, as listed in the file `path`."""
    numbers: dict[str, int] = {}
    for row, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        parts = line.replace(",", " ").split()
        if row == 1 and parts[:1] == ["image_id"]:
            continue
        if len(parts) != 2 or not parts[1].isdigit():
            raise CelebAError(f"{path}: line {row}: not a file name and a number")
        numbers[parts[0]] = int(parts[1])
    return numbers


@dataclass(frozen=True)
class CelebALayout:
    """A folder in CelebA's layout: where its images, attribute list and partition are."""

    images: Path
    attributes: Path | None
    partition: Path | None

    @classmethod
    def find(cls, folder: Path) -> CelebALayout | None:
        """The CelebA layout in `folder`, or None where there is none; a CelebAError if its images are missing."""
        attributes = _first(folder, "list_attr_celeba.txt", "list_attr_celeba.csv")
        partition = _first(folder, "list_eval_partition.txt", "list_eval_partition.csv")
        if attributes is None and partition is None:
            return None
        images = _first(folder, "img_align_celeba.zip", "img_align_celeba", "img_celeba.zip", "img_celeba", "images")
        if images is None:
            archives = sorted(folder.glob("*.zip"))
            if len(archives) != 1:
                raise CelebAError(f"{folder}: no images; img_align_celeba.zip or img_align_celeba/ was expected")
            images = archives[0]
        return cls(images, attributes, partition)

    def in_partition(self, paths: list[str], part: str) -> list[str]:
        """Those of `paths` whose file name is in the partition `train`, `valid` or `test`."""
        if self.partition is None:
            raise CelebAError(f"{self.images.parent}: no list_eval_partition.txt or .csv to tell the {part} images by")
        numbers = read_number_list(self.partition)
        wanted = PARTITIONS.index(part)
        return [path for path in paths if numbers.get(file_name(path)) == wanted]


def _first(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).exists()), None)
