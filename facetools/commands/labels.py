"""What is known of images: their truth, from whatever file a user has it in, and what networks say of them; matched by
file name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from facetools.attributes import parse
from facetools.celeba import CelebA, file_name
from facetools.table import Attributes, TableError, read

#: How near scores come to 0 and 1 whose logits are averaged.
CERTAIN = 1e-6


class Truth:
    """Labels by file name: `names` the attributes, and a row of uint8 0/1 for each known file."""

    def __init__(self, source: str, labels: Attributes, row_of: dict[str, int]) -> None:
        self._source = source
        self._row_of = row_of
        self.names = labels.names
        self._values = labels.values

    @classmethod
    def read(cls, source: str, wanted: tuple[str, ...] | None = None) -> Truth:
        """The labels in a CelebA attribute list, a folder in CelebA's layout or a face table; of `wanted` alone."""
        layout = CelebA.find(Path(source)) if Path(source).is_dir() else None
        listed, _ = read(str(layout.attributes) if layout and layout.attributes else source)
        if listed.labels is None or listed.paths is None:
            raise TableError(f"{source}: no labels with paths")
        labels = listed.labels
        if wanted is not None:
            names = tuple(name for name in wanted if name in labels.names)
            if not names:
                raise TableError(f"{source}: has labels of none of the attributes {', '.join(wanted)}")
            labels = Attributes(names, labels.select(names))
        return cls(source, labels, {file_name(listed.path(row)): row for row in range(len(listed))})

    def known(self, paths: list[str], failed: Callable[[str, str], None]) -> list[str]:
        """Those of `paths` that have labels; `failed` is told the others."""
        kept = []
        for path in paths:
            if file_name(path) in self._row_of:
                kept.append(path)
            else:
                failed(path, f"has no labels in {self._source}")
        return kept

    def of(self, paths: list[str], names: tuple[str, ...] | None = None) -> Attributes:
        """The labels of `paths`, all of them known."""
        rows = np.array([self._row_of[file_name(path)] for path in paths], int)
        chosen = self.names if names is None else parse(",".join(names), self.names)
        return Attributes(chosen, Attributes(self.names, self._values).select(chosen)[rows])


def taught(sources: list[str], paths: list[str], names: tuple[str, ...]) -> np.ndarray:
    """What the face tables `sources` have to say of `paths` together: the scores of their mean logits, float32
    (n, len(names)). A TableError names the first image or attribute that one of them says nothing of."""
    logits = np.zeros((len(paths), len(names)))
    for source in sources:
        listed, _ = read(source)
        if listed.scores is None or listed.paths is None:
            raise TableError(f"{source}: no scores with paths")
        row_of = {file_name(listed.path(row)): row for row in range(len(listed))}
        for missing in (path for path in paths if file_name(path) not in row_of):
            raise TableError(f"{source}: no scores of {missing}")
        for missing in (name for name in names if name not in listed.scores.names):
            raise TableError(f"{source}: no scores of attribute {missing}")
        rows = [row_of[file_name(path)] for path in paths]
        scores = listed.scores.select(names)[rows].astype(np.float64).clip(CERTAIN, 1 - CERTAIN)
        logits += np.log(scores / (1 - scores)) / len(sources)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
