"""Random faces for the tests of the compiled core."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from facetools.clustering import codes

#: Numbers of attributes: one, those of the paper and of CelebA, and those near the limits of words and registers.
ATTRIBUTES = (1, 37, 40, 64, 65, 73, 128, 200, 256)


@dataclass(frozen=True)
class Faces:
    """n faces, as rows and as d distinct codes with counts."""

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
        return f"Faces({self.rows.shape[0]} with {self.attributes} attributes, {len(self.counts)} distinct)"


def faces_from_rows(rows: np.ndarray) -> Faces:
    return Faces(rows, codes.distinct(codes.pack(rows)))


def random_faces(n: int, attributes: int, seed: int, groups: int = 4, repeated_fraction: float = 0.5) -> Faces:
    """Faces from a mixture of `groups` with different attribute frequencies. About `repeated_fraction` of the rows are
    copies of other rows, as in real data."""
    rng = np.random.default_rng(seed)
    frequencies = rng.beta(0.4, 0.8, (groups, attributes))
    rows = (rng.random((n, attributes)) < frequencies[rng.integers(0, groups, n)]).astype(np.uint8)
    is_copy = rng.random(n) < repeated_fraction
    rows[is_copy] = rows[rng.integers(0, max(n, 1), int(is_copy.sum()))]
    return faces_from_rows(rows)


@st.composite
def faces_strategy(draw: st.DrawFn, min_size: int = 1, max_size: int = 120) -> Faces:
    """Faces whose rows are all equal, all different, or partly repeated, with any number of ATTRIBUTES."""
    n = draw(st.integers(min_size, max_size))
    attributes = draw(st.sampled_from(ATTRIBUTES))
    seed = draw(st.integers(0, 2**32 - 1))
    match draw(st.sampled_from(["equal", "different", "repeated"])):
        case "equal":
            return faces_from_rows(np.repeat(random_faces(1, attributes, seed).rows, n, axis=0))
        case "different":
            rows = random_faces(n, attributes, seed, repeated_fraction=0).rows
            return faces_from_rows(np.unique(rows, axis=0))
        case _:
            return random_faces(n, attributes, seed)


def repeat_codes(faces: Faces) -> tuple[np.ndarray, np.ndarray]:
    """The codes of all n rows, with a count of 1 each. Results must be the same as with distinct codes and counts."""
    return faces.codes[faces.inverse], np.ones(len(faces.inverse), np.int64)


def random_labels(faces: Faces, clusters: int, seed: int = 0, noise: bool = False) -> np.ndarray:
    """Random labels, int32 (d,), of at least two clusters if there are two codes; with -1 among them if `noise`."""
    d = len(faces.counts)
    labels = np.random.default_rng(seed).integers(-1 if noise else 0, clusters, d).astype(np.int32)
    labels[:2] = [0, 1][:d]
    return labels
