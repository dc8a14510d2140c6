"""What a network learns from: images, their labels, and what other networks say of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Examples:
    """Images by their paths and their truth, uint8 0/1 (n, attributes); `taught` what other networks have to say of
    them, float32 scores (n, attributes)."""

    paths: list[str]
    labels: np.ndarray
    taught: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: np.ndarray) -> Examples:
        """Some of them."""
        taught = None if self.taught is None else self.taught[rows]
        return Examples([self.paths[row] for row in rows], self.labels[rows], taught)

    def targets(self, rows: np.ndarray, share: float) -> np.ndarray:
        """The truth of some, float32 (n, attributes), of which what is taught is that `share`."""
        labels = self.labels[rows].astype(np.float32)
        return labels if self.taught is None else labels + np.float32(share) * (self.taught[rows] - labels)


def split_examples(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """`examples` without and with a random `share` of them, for training and validation."""
    order = np.random.default_rng([seed, 0xD1]).permutation(len(examples))
    held_out = np.sort(order[: round(share * len(examples))])
    rest = np.setdiff1d(np.arange(len(examples)), held_out)
    return examples.take(rest), examples.take(held_out)
