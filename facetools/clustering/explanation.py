"""How the attributes of a cluster differ from those of all faces: lift, standardised residual, confidence interval.

Of n faces, c are in the cluster, r have the attribute, and x are and have both.

- The share is p = x / c. Its interval is that of Wilson (1927), which holds for small clusters and extreme shares too:
  (p + z^2 / 2c -+ z sqrt(p (1 - p) / c + z^2 / 4c^2)) / (1 + z^2 / c), with z = 1.96 for a confidence of 95 %.
- The lift is (x / c) / (r / n), the share in the cluster over the share of all faces (Brin et al. 1997).
- The residual is the adjusted residual of the 2 x 2 table of cluster and attribute (Haberman 1973): (x - e) /
  sqrt(e (1 - c / n) (1 - r / n)) with e = c r / n. It has mean 0 and variance 1 if the two are independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: The standard score of a two-sided confidence of 95 %.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class AttributeDifferences:
    """Figures by cluster and attribute, float64 (k, a).

    `shares`: of the faces of the cluster, those that have the attribute, from 0 to 1, with the 95 % interval from `low`
    to `high`. `lifts`: NaN if no face has the attribute. `residuals`: 0 if all faces or none have the attribute, or if
    all faces are in the cluster.
    """

    shares: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lifts: np.ndarray
    residuals: np.ndarray

    def of_cluster(self, index: int) -> AttributeDifferences:
        """The figures of one cluster, float64 (a,)."""
        rows = (self.shares, self.low, self.high, self.lifts, self.residuals)
        return AttributeDifferences(*(row[index] for row in rows))


def attribute_differences(present: np.ndarray, sizes: np.ndarray) -> AttributeDifferences:
    """Compare clusters that together hold all faces; the noise is one of them.

    `present`: int64 (k, a), the faces of each cluster that have each attribute. `sizes`: int64 (k,), at least 1.
    """
    if (sizes < 1).any() or (present < 0).any() or (present > sizes[:, None]).any():
        raise ValueError("present must be from 0 to sizes, and sizes at least 1")
    faces, overall = sizes.sum(), present.sum(axis=0) / sizes.sum()
    shares = present / sizes[:, None]
    low, high = wilson_interval(present, sizes[:, None])
    expected = sizes[:, None] * overall
    variance = expected * (1 - sizes[:, None] / faces) * (1 - overall)
    residuals = np.zeros(shares.shape)
    np.divide(present - expected, np.sqrt(variance), out=residuals, where=variance > 0)
    lifts = np.full(shares.shape, np.nan)
    np.divide(shares, overall, out=lifts, where=np.broadcast_to(overall > 0, shares.shape))
    return AttributeDifferences(shares, low, high, lifts, residuals)


def wilson_interval(successes: np.ndarray, trials: np.ndarray, z: float = Z95) -> tuple[np.ndarray, np.ndarray]:
    """The lower and upper limit of a proportion (Wilson 1927), float64, by default at a confidence of 95 %.

    `successes` from 0 to `trials`; `trials` at least 1; both broadcast.
    """
    share = successes / trials
    center = share + z**2 / (2 * trials)
    margin = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # Rounding must not put the limit of an extreme share beyond it.
    low = np.where(successes == 0, 0.0, (center - margin) / scale)
    high = np.where(successes == trials, 1.0, (center + margin) / scale)
    return low, high
