"""Scores of teacher networks for distillation."""

from __future__ import annotations

import numpy as np

from facetools.table.celeba import file_name
from facetools.table.columns import TableError
from facetools.table.streams import read_table

#: How near scores come to 0 and 1 whose logits are averaged.
SCORE_MARGIN = 1e-6


def read_teacher_scores(sources: list[str], paths: list[str], names: tuple[str, ...]) -> np.ndarray:
    """What the face tables `sources` have to say of `paths` together: the scores of their mean logits, float32
    (n, len(names)). A TableError names the first image or attribute that one of them says nothing of."""
    logits = np.zeros((len(paths), len(names)))
    for source in sources:
        listed, _ = read_table(source)
        if listed.scores is None or listed.paths is None:
            raise TableError(f"{source}: no scores with paths")
        row_of = {file_name(listed.path(row)): row for row in range(len(listed))}
        for missing in (path for path in paths if file_name(path) not in row_of):
            raise TableError(f"{source}: no scores of {missing}")
        for missing in (name for name in names if name not in listed.scores.names):
            raise TableError(f"{source}: no scores of attribute {missing}")
        rows = [row_of[file_name(path)] for path in paths]
        scores = listed.scores.select(names)[rows].astype(np.float64).clip(SCORE_MARGIN, 1 - SCORE_MARGIN)
        logits += np.log(scores / (1 - scores)) / len(sources)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
