"""The folder that holds CelebA's images beside their attribute list and partition list, which `lists` reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facetools.table.lists import read_number_list
from facetools.table.matching import NameList

#: Names of the partitions, in the order of their numbers.
PARTITIONS = ("train", "valid", "test")


class CelebAError(ValueError):
    """A folder does not have CelebA's layout; the message says what is missing."""


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

    def select_partition(
        self, paths: list[str], partition: str, on_match: Callable[[str], None] = lambda summary: None
    ) -> list[str]:
        """Return those of `paths`, in order, that belong to `partition`: train, valid or test. Unlisted paths
        are dropped. `on_match` receives a line on how many of `paths` are listed.

        Raises CelebAError if there is no partition list,
        and MatchError if it is not clear which number belongs to which path, or if none is listed.
        """
        if self.partition is None:
            raise CelebAError(
                f"{self.images.parent}: no list_eval_partition.txt or .csv, which selects the {partition} images"
            )
        listed = read_number_list(self.partition, "partition")
        numbers = np.array(listed.numbers, np.int64)
        images = NameList(str(self.partition), listed.files, listed.lines)
        images.check_repetitions(numbers, "partitions")
        rows, summary = images.match(paths)
        on_match(summary)
        number = PARTITIONS.index(partition)
        return [path for path, row in zip(paths, rows, strict=True) if row >= 0 and numbers[row] == number]


def _first_existing(folder: Path, *names: str) -> Path | None:
    # Unlike Path.exists, os.path.exists is false in a folder that may not be opened.
    return next((folder / name for name in names if os.path.exists(folder / name)), None)  # noqa: PTH110
