"""Ground-truth labels from an attribute list, a CelebA folder or a face table, matched by file name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from facetools.table.attributes import select_attributes
from facetools.table.celeba import CelebALayout, file_name
from facetools.table.columns import AttributeColumns, TableError
from facetools.table.streams import read_table


class GroundTruth:
    """Labels by file name: `names` the attributes, and a row of uint8 0/1 for each known file."""

    def __init__(self, source: str, labels: AttributeColumns, row_of: dict[str, int]) -> None:
        self._source = source
        self._row_of = row_of
        self.names = labels.names
        self._values = labels.values

    @classmethod
    def read(cls, source: str, wanted: tuple[str, ...] | None = None) -> GroundTruth:
        """The labels in a CelebA attribute list, a folder in CelebA's layout or a face table; of `wanted` alone."""
        layout = CelebALayout.find(Path(source)) if Path(source).is_dir() else None
        listed, _ = read_table(str(layout.attributes) if layout and layout.attributes else source)
        if listed.labels is None or listed.paths is None:
            raise TableError(f"{source}: no labels with paths")
        labels = listed.labels
        if wanted is not None:
            names = tuple(name for name in wanted if name in labels.names)
            if not names:
                raise TableError(f"{source}: has labels of none of the attributes {', '.join(wanted)}")
            labels = AttributeColumns(names, labels.select(names))
        return cls(source, labels, {file_name(listed.path(row)): row for row in range(len(listed))})

    def known(self, paths: list[str], on_failure: Callable[[str, str], None]) -> list[str]:
        """Those of `paths` that have labels; `failed` is told the others."""
        kept = []
        for path in paths:
            if file_name(path) in self._row_of:
                kept.append(path)
            else:
                on_failure(path, f"has no labels in {self._source}")
        return kept

    def of(self, paths: list[str], names: tuple[str, ...] | None = None) -> AttributeColumns:
        """The labels of `paths`, all of them known."""
        rows = np.array([self._row_of[file_name(path)] for path in paths], int)
        chosen = self.names if names is None else select_attributes(",".join(names), self.names)
        return AttributeColumns(chosen, AttributeColumns(self.names, self._values).select(chosen)[rows])
