"""Ground-truth labels of images, read from an attribute list, a CelebA folder or a face table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from facetools.table.attributes import select_attributes
from facetools.table.celeba import CelebALayout, file_name
from facetools.table.columns import AttributeColumns, TableError
from facetools.table.streams import read_table


class GroundTruth:
    """Labels of images, looked up by file name without folders. `names` are the labeled attributes."""

    def __init__(self, source: str, labels: AttributeColumns, rows: dict[str, int]) -> None:
        """`rows` gives the row in `labels` of each file name; `source` names the labels in messages."""
        self.names = labels.names
        self._source = source
        self._labels = labels
        self._rows = rows

    @classmethod
    def read(cls, source: str, attributes: tuple[str, ...] | None = None) -> GroundTruth:
        """Read labels from a CelebA attribute list, a CelebA folder, or a face table (`-` for stdin).

        With `attributes`, only labels of these are kept, in this order; those that the source lacks are ignored.
        Raises TableError if the source has no labels with paths, or none of `attributes`.
        """
        layout = CelebALayout.find(Path(source)) if Path(source).is_dir() else None
        table, _ = read_table(str(layout.attributes) if layout and layout.attributes else source)
        if table.labels is None or table.paths is None:
            raise TableError(f"{source}: no labels with paths")
        labels = table.labels
        if attributes is not None:
            names = tuple(name for name in attributes if name in labels.names)
            if not names:
                raise TableError(f"{source}: has no labels for any of the attributes {', '.join(attributes)}")
            labels = AttributeColumns(names, labels.select(names))
        return cls(source, labels, {file_name(table.path(row)): row for row in range(len(table))})

    def filter_labeled(self, paths: list[str], on_failure: Callable[[str, str], None]) -> list[str]:
        """Return those of `paths` that have labels. Calls on_failure(path, reason) for each of the others."""
        labeled = []
        for path in paths:
            if file_name(path) in self._rows:
                labeled.append(path)
            else:
                on_failure(path, f"has no labels in {self._source}")
        return labeled

    def labels_for(self, paths: list[str], names: tuple[str, ...] | None = None) -> AttributeColumns:
        """Return the labels, uint8 (len(paths), attributes), of `paths`, which must all have labels.

        `names` selects attributes; the default is all. Raises KeyError for a path without labels, ValueError for an
        attribute without labels.
        """
        rows = np.array([self._rows[file_name(path)] for path in paths], int)
        selected = self.names if names is None else select_attributes(",".join(names), self.names)
        return AttributeColumns(selected, self._labels.select(selected)[rows])
