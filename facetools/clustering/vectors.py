"""Rows of continuous values: distinct rows, rows of length 1, and rows that are safe in float32.

FAISS and scikit-learn compute in float32. The square of a large or small value is then infinite or 0, and the
difference of two large numbers has few correct digits. `scale` and `center` avoid both, and change neither clusters nor
silhouette.
"""

from __future__ import annotations

import numpy as np

#: Values above this are refused. The product of a value below it and of any weight is within the range of float32.
MAX_VALUE = 1e24

#: `center` scales rows so that the largest value is just below 2^PEAK_EXPONENT. The squared length of a row of any
#: practical width is then in the range of float32, and so are squared distances 10^30 times smaller than the largest.
PEAK_EXPONENT = 50

#: The number of rows whose median `center` takes as the origin, and the number of rows that are hashed at once.
MEDIAN_ROWS, HASHED_ROWS = 1024, 16384


def find_distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the d distinct rows of float32 (n, a), in order of first appearance; -0 equals 0.

    Returns the index of the first row of each, int64 (d,); the number of rows equal to it, int64 (d,); and for each row
    the index of its distinct row, int64 (n,). Rows are hashed, and rows of equal hash are compared. Time: O(n a).
    Memory: O(n).
    """
    first, inverse, counts = _group(_hash_rows(rows))
    for start in range(0, len(rows), HASHED_ROWS):
        chunk = slice(start, start + HASHED_ROWS)
        if not np.array_equal(rows[chunk], rows[first[inverse[chunk]]]):  # two different rows have the same hash
            positive = np.ascontiguousarray(rows + np.float32(0))
            first, inverse, counts = _group(positive.view(np.dtype((np.void, positive.strides[0])))[:, 0])
            break
    order = np.argsort(first)
    positions = np.empty(len(order), np.int64)
    positions[order] = np.arange(len(order))
    return first[order], counts[order], positions[inverse]


def _group(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first index of each distinct key, the number of its group for each key, and the size of each group."""
    _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    return first, inverse, counts


def _hash_rows(rows: np.ndarray) -> np.ndarray:
    """A hash of each row, uint64 (n,). Equal rows have equal hashes."""
    factors = np.random.default_rng(0).integers(0, 2**63, rows.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    hashes = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), HASHED_ROWS):
        chunk = slice(start, start + HASHED_ROWS)
        bits = np.ascontiguousarray(rows[chunk] + np.float32(0)).view(np.uint32)  # adding 0 turns -0 into 0
        products = bits.astype(np.uint64) * factors
        products ^= products >> np.uint64(32)
        hashes[chunk] = products.sum(axis=1)
    return hashes


def normalize(rows: np.ndarray) -> np.ndarray:
    """The rows divided by their euclidean length, float32 (d, a). No row may be zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    unit_rows = np.empty(rows.shape, np.float32)
    np.divide(rows, lengths[:, None], out=unit_rows, dtype=np.float64, casting="same_kind")
    return unit_rows


def scale(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Multiply `rows`, float32 (d, a), by a power of 2, so that the largest value is just below 2^PEAK_EXPONENT.

    Returns the new rows, float32 (d, a), and the exponent e of the factor 2^e. Nothing is rounded, except values that
    are negligible beside the largest.
    """
    peak = max(float(rows.max(initial=0)), -float(rows.min(initial=0)))
    exponent = PEAK_EXPONENT - int(np.frexp(peak)[1]) if peak else 0
    return np.ldexp(rows.astype(np.float32, copy=False), exponent), exponent


def center(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """`scale` the rows, and subtract a row near their middle.

    The middle is the median of a sample: the mean would be far from most rows if one row has huge values.
    """
    scaled, exponent = scale(rows)
    if len(scaled):
        scaled -= np.median(scaled[:: max(1, len(scaled) // MEDIAN_ROWS)], axis=0)
    return scaled, exponent
