"""The E-step of a mixture on distinct codes against NumPy on all rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from facetools.clustering import codes
from tests.core.cases import ATTRIBUTES, Faces, faces_from_rows, faces_strategy, random_faces, repeat_codes

Logarithms = tuple[np.ndarray, np.ndarray, np.ndarray]


def random_logarithms(clusters: int, attributes: int, seed: int) -> Logarithms:
    """Weights and probabilities of a mixture, as logarithms; some probabilities are near 0 or 1."""
    rng = np.random.default_rng(seed)
    present = np.clip(rng.beta(0.3, 0.3, (clusters, attributes)), 1e-12, 1 - 1e-12)
    return np.log(rng.dirichlet(np.ones(clusters))), np.log(present), np.log1p(-present)


def expected_step(
    rows: np.ndarray, logarithms: Logarithms
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray]:
    """The result of `mixture_expect` for all rows, and their posteriors (n, clusters)."""
    log_weights, log_present, log_absent = logarithms
    bits = rows.astype(float)
    joint = log_weights + bits @ log_present.T + (1 - bits) @ log_absent.T
    log_likelihoods = logsumexp(joint, axis=1)
    posteriors = np.exp(joint - log_likelihoods[:, None])
    return (
        posteriors.sum(axis=0),
        posteriors.T @ bits,
        posteriors.T @ (1 - bits),
        float(log_likelihoods.sum()),
        posteriors,
    )


@settings(max_examples=60, deadline=None)
@given(faces=faces_strategy(), clusters=st.integers(1, 40), seed=st.integers(0, 1000))
def test_expectation_and_posteriors_equal_numpy_on_all_rows(faces: Faces, clusters: int, seed: int) -> None:
    logarithms = random_logarithms(clusters, faces.attributes, seed)
    sizes, present, absent, log_likelihood, posteriors = expected_step(faces.rows, logarithms)
    actual = codes.mixture_expect(faces.codes, faces.counts, *logarithms)
    for array, expected in zip(actual[:3], (sizes, present, absent), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-9, atol=1e-9)
    assert actual[3] == pytest.approx(log_likelihood, rel=1e-12)
    actual_posteriors = codes.mixture_posteriors(faces.codes, *logarithms)[faces.inverse]
    np.testing.assert_allclose(actual_posteriors, posteriors, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_results_do_not_depend_on_threads(attributes: int) -> None:
    faces = random_faces(60_000, attributes, seed=1, repeated_fraction=0.1)
    logarithms = random_logarithms(11, attributes, 2)
    first: tuple[bytes, ...] | None = None
    for threads in (1, 2, 3, 7):
        *arrays, log_likelihood = codes.mixture_expect(faces.codes, faces.counts, *logarithms, threads=threads)
        arrays.append(codes.mixture_posteriors(faces.codes, *logarithms, threads=threads))
        result = (*(array.tobytes() for array in arrays), np.float64(log_likelihood).tobytes())
        first = first or result
        assert result == first
    assert attributes == 1 or len(faces.counts) > 3 * 8192, "the codes fit one block"


def test_counts_mean_the_same_as_repeated_rows() -> None:
    faces = random_faces(5000, 37, seed=3)
    all_codes, ones = repeat_codes(faces)
    logarithms = random_logarithms(6, 37, 3)
    by_counts = codes.mixture_expect(faces.codes, faces.counts, *logarithms)
    by_rows = codes.mixture_expect(all_codes, ones, *logarithms)
    for array, expected in zip(by_counts, by_rows, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-11)


def test_exponentials_are_accurate_over_their_whole_range() -> None:
    """One attribute and two components: the ratio of the posteriors is an exponential."""
    exponents = np.concatenate([np.linspace(-699, 0, 20_001), -np.logspace(-20, 0, 500)])
    code = np.zeros((1, 1), np.uint64)
    for exponent in exponents:
        absent = np.array([[0.0], [exponent]])
        posteriors = codes.mixture_posteriors(code, np.zeros(2), np.zeros((2, 1)), absent, threads=1)
        assert posteriors[0, 1] / posteriors[0, 0] == pytest.approx(np.exp(exponent), rel=1e-15)


def test_improbable_and_empty_components_have_posterior_0() -> None:
    code = np.zeros((1, 1), np.uint64)
    posteriors = codes.mixture_posteriors(
        code, np.array([0.0, -np.inf, 0]), np.zeros((3, 1)), np.array([[-9e3], [0.0], [-9.9e3]])
    )
    assert posteriors.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("log_weights", np.array([-np.inf, -np.inf]), "log_weights: must not all be -infinity"),
        ("log_weights", np.array([np.nan, 0]), "log_weights: must be from -1e4 to 0"),
        ("log_weights", np.zeros(3), "log_weights: must have one element per cluster"),
        ("log_weights", np.zeros((2, 1)), "log_weights: must be floating-point numbers with 1 dim"),
        ("log_present", np.full((2, 5), 0.1), "log_present: must be from -1e4 to 0"),
        ("log_present", np.full((2, 5), -np.inf), "log_present: must be from -1e4 to 0"),
        ("log_absent", np.full((2, 5), np.nan), "log_absent: must be from -1e4 to 0"),
        ("log_absent", np.zeros((2, 4)), "log_absent: must have the shape of log_present"),
        ("log_absent", np.zeros((2, 5), int), "log_absent: must be floating-point numbers with 2 dim"),
    ],
)
def test_invalid_arguments_are_rejected(name: str, value: np.ndarray, message: str) -> None:
    faces = faces_from_rows(np.eye(5, dtype=np.uint8))
    arguments = {"log_weights": np.zeros(2), "log_present": np.zeros((2, 5)), "log_absent": np.zeros((2, 5))}
    with pytest.raises(ValueError, match="^" + message):
        codes.mixture_expect(faces.codes, faces.counts, **arguments | {name: value})
    with pytest.raises(ValueError, match="^" + message):
        codes.mixture_posteriors(faces.codes, **arguments | {name: value})
