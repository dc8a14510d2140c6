"""Rows of attributes for the tests of the core."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from facetools.clustering import codes

ATTRIBUTES = (1, 37, 40, 64, 65, 73, 128, 200, 256)


@dataclass(frozen=True)
class Faces:
    """n faces: all their rows, and the same as distinct codes with counts."""

    rows: np.ndarray  # (n, attributes) uint8
    distinct: codes.Distinct

    @property
    def attributes(self) -> int:
        return self.rows.shape[1]

    @property
    def codes(self) -> np.ndarray:
        return self.distinct.codes

    @property
    def counts(self) -> np.ndarray:
        return self.distinct.counts

    @property
    def inverse(self) -> np.ndarray:
        return self.distinct.inverse

    def __repr__(self) -> str:
        return f"Faces({self.rows.shape[0]} of {self.attributes} attributes, {len(self.counts)} distinct)"


def faces_of(rows: np.ndarray) -> Faces:
    return Faces(rows, codes.distinct(codes.pack(rows)))


def drawn_faces(n: int, attributes: int, seed: int, groups: int = 4, repeat: float = 0.5) -> Faces:
    """Faces from a mixture of attribute frequencies, a share of them repeated, as real ones are."""
    rng = np.random.default_rng(seed)
    frequency = rng.beta(0.4, 0.8, (groups, attributes))
    rows = (rng.random((n, attributes)) < frequency[rng.integers(0, groups, n)]).astype(np.uint8)
    again = rng.random(n) < repeat
    rows[again] = rows[rng.integers(0, max(n, 1), int(again.sum()))]
    return faces_of(rows)


@st.composite
def some_faces(draw: st.DrawFn, least: int = 1, most: int = 120) -> Faces:
    """Equal rows, rows that all differ, repeated rows; few attributes and many."""
    n = draw(st.integers(least, most))
    attributes = draw(st.sampled_from(ATTRIBUTES))
    seed = draw(st.integers(0, 2**32 - 1))
    match draw(st.sampled_from(["equal", "differ", "repeat"])):
        case "equal":
            return faces_of(np.repeat(drawn_faces(1, attributes, seed).rows, n, axis=0))
        case "differ":
            return faces_of(np.unique(drawn_faces(n, attributes, seed, repeat=0).rows, axis=0))
        case _:
            return drawn_faces(n, attributes, seed)


def repeated(faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """The codes of all the rows, each counted once: what counts stand for."""
    return faces.codes[faces.inverse], np.ones(len(faces.inverse), np.int64)


def labels_for(faces: Faces, clusters: int, seed: int = 0, noise: bool = False) -> np.ndarray:
    """Random labels (d,), at least two of them in use where there are two codes."""
    d = len(faces.counts)
    labels = np.random.default_rng(seed).integers(-1 if noise else 0, clusters, d).astype(np.int32)
    labels[:2] = [0, 1][:d]
    return labels
