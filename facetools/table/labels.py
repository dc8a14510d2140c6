"""Ground-truth labels of images, read from an attribute list, a CelebA folder or a face table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facetools.table.attributes import select_attributes
from facetools.table.celeba import CelebALayout
from facetools.table.columns import AttributeColumns, TableError
from facetools.table.matching import NameList
from facetools.table.streams import read_table


@dataclass(frozen=True)
class ImageLabels:
    """The labels of some images, looked up by their paths.

    source: where the labels are from.
    summary: one line on how many images have labels.
    """

    source: str
    summary: str
    _labels: AttributeColumns
    _rows: dict[str, int]

    def __contains__(self, path: object) -> bool:
        return path in self._rows

    def labels_for(self, paths: Sequence[str], names: tuple[str, ...] | None = None) -> AttributeColumns:
        """Return the labels, uint8 (len(paths), attributes), of `paths`, which must all have labels.

        `names` selects attributes; the default is all. Raises KeyError for a path without labels, ValueError for an
        attribute without labels.
        """
        rows = np.array([self._rows[path] for path in paths], int)
        selected = self._labels.names if names is None else select_attributes(",".join(names), self._labels.names)
        return AttributeColumns(selected, self._labels.select(selected)[rows])


class GroundTruth:
    """Labels by the names of images. `names` are the labeled attributes."""

    def __init__(self, images: NameList, labels: AttributeColumns) -> None:
        """`labels` has a row for each name in `images`."""
        self.names = labels.names
        self._images = images
        self._labels = labels

    @classmethod
    def read(cls, source: str, attributes: tuple[str, ...] | None = None) -> GroundTruth:
        """Read labels from a CelebA attribute list, a CelebA folder, or a face table (`-` for stdin).

        With `attributes`, only labels of these are kept, in this order; those that the source lacks are ignored.
        Raises TableError if the source has no labels with paths, or none of `attributes`, and MatchError if it gives
        one path different labels.
        """
        layout = CelebALayout.find(Path(source)) if Path(source).is_dir() else None
        if layout is not None and layout.attributes is not None:
            source = str(layout.attributes)
        table, _ = read_table(source)
        source = "standard input" if source == "-" else source
        if table.labels is None or table.paths is None:
            raise TableError(f"{source}: no labels with paths")
        images = NameList.of_table(source, table)
        labels = table.labels
        images.check_repetitions(labels.values, "labels")
        if attributes is not None:
            names = tuple(name for name in attributes if name in labels.names)
            if not names:
                raise TableError(f"{source}: has no labels for any of the attributes {', '.join(attributes)}")
            labels = AttributeColumns(names, labels.select(names))
        return cls(images, labels)

    def match(self, paths: Sequence[str]) -> ImageLabels:
        """Find the labels of `paths`: all images of a run at once, since names may fit several images.

        Raises MatchError if labels fit several images, or if none of the paths has labels.
        """
        rows, summary = self._images.match(paths)
        rows_by_path = {path: int(row) for path, row in zip(paths, rows, strict=True) if row >= 0}
        return ImageLabels(self._images.source, summary, self._labels, rows_by_path)
