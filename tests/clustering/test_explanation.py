"""Lift, standardised residual and confidence interval against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, chi2_contingency, norm

from facetools.clustering.explanation import Z95, attribute_differences, wilson_interval


@pytest.mark.parametrize("trials", [1, 2, 7, 40, 100_000])
def test_wilson_intervals_equal_those_of_scipy(trials: int) -> None:
    successes = np.unique([0, 1, trials // 3, trials - 1, trials])
    low, high = wilson_interval(successes, np.full(len(successes), trials))
    for index, count in enumerate(successes.tolist()):
        expected = binomtest(count, trials).proportion_ci(0.95, method="wilson")
        assert (low[index], high[index]) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert low[index] <= count / trials <= high[index]
    assert (low[0], high[-1]) == (0, 1)


def test_residuals_are_the_signed_root_of_chi_squared_without_correction() -> None:
    """The adjusted residual of a 2 x 2 table squared is its chi-squared statistic."""
    rng = np.random.default_rng(0)
    sizes = np.array([5, 60, 900])
    present = rng.binomial(sizes[:, None], rng.random((3, 4)))
    differences = attribute_differences(present, sizes)
    faces = sizes.sum()
    for cluster, attribute in np.ndindex(3, 4):
        having, size = present[cluster, attribute], sizes[cluster]
        others = present[:, attribute].sum() - having
        table = np.array([[having, size - having], [others, faces - size - others]])
        statistic = chi2_contingency(table, correction=False).statistic
        residual = differences.residuals[cluster, attribute]
        assert residual**2 == pytest.approx(statistic, rel=1e-9)
        assert np.sign(residual) == np.sign(having / size - table[:, 0].sum() / faces)
        assert differences.lifts[cluster, attribute] == pytest.approx(having / size / (table[:, 0].sum() / faces))
        assert differences.shares[cluster, attribute] == having / size
    np.testing.assert_array_equal(differences.low, wilson_interval(present, sizes[:, None])[0])


def test_a_cluster_independent_of_the_attribute_has_lift_1_and_residual_0() -> None:
    differences = attribute_differences(np.array([[3, 0, 10], [6, 0, 20]]), np.array([10, 20]))
    np.testing.assert_array_equal(differences.residuals, np.zeros((2, 3)))
    np.testing.assert_array_equal(differences.lifts, [[1, np.nan, 1], [1, np.nan, 1]])
    alone = attribute_differences(np.array([[3]]), np.array([7]))
    assert alone.residuals.tolist() == [[0]] and alone.lifts.tolist() == [[1]]
    assert pytest.approx(norm.ppf(0.975), rel=1e-15) == Z95


@pytest.mark.parametrize(("present", "size"), [(3, 2), (-1, 2), (0, 0)])
def test_counts_beyond_the_cluster_are_refused(present: int, size: int) -> None:
    with pytest.raises(ValueError, match="present must be from 0 to sizes"):
        attribute_differences(np.array([[present], [1]]), np.array([size, 4]))
