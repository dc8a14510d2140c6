"""Scores of teacher networks for distillation (Hinton, Vinyals and Dean 2015), read from face tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from facetools.table.columns import TableError
from facetools.table.matching import NameList
from facetools.table.streams import read_table

#: Scores are clipped to [SCORE_MARGIN, 1 - SCORE_MARGIN], so that their logits are finite.
SCORE_MARGIN = 1e-6


def read_teacher_scores(
    sources: list[str],
    paths: list[str],
    names: tuple[str, ...],
    *,
    on_match: Callable[[str], None] = lambda summary: None,
) -> np.ndarray:
    """The ensemble scores of the teachers, sigmoid(mean of their logits), float32 (len(paths), len(names)).

    Each of `sources` is a face table with the scores of one teacher, whose rows are matched with `paths`; `on_match`
    receives a line on how. Raises TableError, which names the first image or attribute that a table has no scores for,
    and MatchError if it is not clear which row belongs to which image.
    """
    logits = np.zeros((len(paths), len(names)))
    for source in sources:
        table, _ = read_table(source)
        source = "standard input" if source == "-" else source
        if table.scores is None or table.paths is None:
            raise TableError(f"{source}: no scores with paths")
        for name in names:
            if name not in table.scores.names:
                raise TableError(f"{source}: no scores of attribute {name}")
        images = NameList.of_table(source, table)
        images.check_repetitions(table.scores.values, "scores")
        rows, summary = images.match(paths)
        if (rows < 0).any():
            raise TableError(f"{source}: no scores of {paths[int(np.argmin(rows))]}")
        on_match(summary)
        scores = table.scores.select(names)[rows].astype(np.float64).clip(SCORE_MARGIN, 1 - SCORE_MARGIN)
        logits += np.log(scores / (1 - scores)) / len(sources)
    return (1 / (1 + np.exp(-logits))).astype(np.float32)
