"""Training examples: image paths, labels and, for distillation, the scores of teacher networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Examples:
    """n labeled images: `paths`, `labels` uint8 0/1 (n, attributes), and `teacher_scores`, float32 (n, attributes),
    the probabilities that teacher networks predict; None without teachers."""

    paths: list[str]
    labels: np.ndarray
    teacher_scores: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: np.ndarray) -> Examples:
        """The examples at `rows`, int (m,), in that order."""
        scores = None if self.teacher_scores is None else self.teacher_scores[rows]
        return Examples([self.paths[row] for row in rows], self.labels[rows], scores)

    def targets(self, rows: np.ndarray, teacher_weight: float) -> np.ndarray:
        """Training targets of `rows`, float32 (m, attributes): (1 - teacher_weight) * labels + teacher_weight *
        teacher_scores, or the labels alone without teachers."""
        labels = self.labels[rows].astype(np.float32)
        if self.teacher_scores is None:
            return labels
        return labels + np.float32(teacher_weight) * (self.teacher_scores[rows] - labels)


def split_examples(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Split off a random `share` (0 to 1) of `examples` for validation. Returns the rest and the held-out part, each
    in the original order."""
    order = np.random.default_rng([seed, 0xD1]).permutation(len(examples))
    held_out = np.sort(order[: round(share * len(examples))])
    remaining = np.setdiff1d(np.arange(len(examples)), held_out)
    return examples.take(remaining), examples.take(held_out)
