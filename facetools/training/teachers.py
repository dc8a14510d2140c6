"""Scores of teacher networks for distillation (Hinton, Vinyals and Dean 2015), read from face tables."""

from __future__ import annotations

import numpy as np

from facetools.table.celeba import file_name
from facetools.table.columns import TableError
from facetools.table.streams import read_table

#: Scores are clipped to [SCORE_MARGIN, 1 - SCORE_MARGIN], so that their logits are finite.
SCORE_MARGIN = 1e-6


def read_teacher_scores(sources: list[str], paths: list[str], names: tuple[str, ...]) -> np.ndarray:
    """The ensemble scores of the teachers, sigmoid(mean of their logits), float32 (len(paths), len(names)).

    Each of `sources` is a face table with the scores of one teacher. Rows match `paths` by file name. Raises
    TableError, which names the first image or attribute that a table has no scores for.
    """
    logits = np.zeros((len(paths), len(names)))
    for source in sources:
        table, _ = read_table(source)
        if table.scores is None or table.paths is None:
            raise TableError(f"{source}: no scores with paths")
        row_of = {file_name(table.path(row)): row for row in range(len(table))}
        for path in paths:
            if file_name(path) not in row_of:
                raise TableError(f"{source}: no scores of {path}")
        for name in names:
            if name not in table.scores.names:
                raise TableError(f"{source}: no scores of attribute {name}")
        rows = [row_of[file_name(path)] for path in paths]
        scores = table.scores.select(names)[rows].astype(np.float64).clip(SCORE_MARGIN, 1 - SCORE_MARGIN)
        logits += np.log(scores / (1 - scores)) / len(sources)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
