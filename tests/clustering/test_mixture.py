"""Latent class analysis against StepMix and NumPy."""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp, xlogy
from stepmix.emission.categorical import Bernoulli, BernoulliNan
from stepmix.stepmix import StepMix

from facetools.clustering import Parameters, cluster, compare
from facetools.clustering.mixture import BinaryData, Model, iterate
from facetools.clustering.points import Points, from_bits, from_partial, from_values


def random_rows(faces: int, attributes: int, seed: int, classes: int = 4) -> np.ndarray:
    """Rows of a mixture, uint8 (faces, attributes). Half of them are copies of others."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.5, 0.8, (classes, attributes))
    rows = (rng.random((faces, attributes)) < probabilities[rng.integers(classes, size=faces)]).astype(np.uint8)
    return rows[rng.integers(faces, size=faces)]


def with_missing(rows: np.ndarray, seed: int, share: float = 0.2) -> np.ndarray:
    """`rows` as float32 with NaN for a share of the values, except in the first and the last attribute."""
    values = rows.astype(np.float32)
    is_missing = np.random.default_rng(seed).random(rows.shape) < share
    is_missing[:, [0, -1]] = False
    values[is_missing] = np.nan
    return values


def random_model(k: int, attributes: int, seed: int) -> Model:
    rng = np.random.default_rng(seed)
    present = rng.uniform(0.2, 0.8, (k, attributes))
    return Model(rng.dirichlet(np.full(k, 5.0)), present, 1 - present)


def log_likelihoods(points: Points, model: Model, iterations: int, threads: int = 1) -> list[float]:
    """The log-likelihoods of `model` and of the models after each iteration."""
    steps = iterate(BinaryData(points, threads), model)
    return [expectation.log_likelihood for _, expectation in islice(steps, iterations + 1)]


def stepmix_log_likelihood(values: np.ndarray, model: Model, iterations: int) -> float:
    """The log-likelihood after `iterations` of StepMix from `model`."""
    mixture = StepMix(n_components=len(model.weights), max_iter=iterations, progress_bar=0)
    emission = (BernoulliNan if np.isnan(values).any() else Bernoulli)(
        n_components=len(model.weights), random_state=np.random.RandomState(0)
    )
    weights, emission.parameters = model.weights, {"pis": model.present}
    mixture._mm = emission
    for _ in range(iterations):
        mixture.weights_ = weights
        _, log_posteriors = mixture._e_step(values)
        posteriors = np.exp(log_posteriors)
        weights = posteriors.mean(axis=0)
        emission.m_step(values, posteriors)
    mixture.weights_ = weights
    return float(mixture._e_step(values)[0] * len(values))


def numpy_log_likelihoods(values: np.ndarray, model: Model, iterations: int) -> list[float]:
    """The log-likelihoods of EM on all rows. NaN is missing."""
    weights, present, absent = model.weights, model.present, model.absent
    observed = ~np.isnan(values)
    is_present, is_absent = (values == 1).astype(float), (values == 0).astype(float)
    result = []
    for _ in range(iterations + 1):
        joint = np.log(weights) + xlogy_rows(is_present, present) + xlogy_rows(is_absent, absent)
        norms = logsumexp(joint, axis=1)
        result.append(float(norms.sum()))
        posteriors = np.exp(joint - norms[:, None])
        weights = posteriors.mean(axis=0)
        present, absent = ((posteriors.T @ held) / (posteriors.T @ observed) for held in (is_present, is_absent))
    return result


def xlogy_rows(indicators: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    return xlogy(indicators[:, None], probabilities).sum(axis=2)


@pytest.mark.parametrize("attributes", [1, 10, 64, 65, 130])
@pytest.mark.parametrize("iterations", [0, 1, 20])
def test_log_likelihood_equals_that_of_stepmix(attributes: int, iterations: int) -> None:
    rows = random_rows(700, attributes, seed=attributes)
    model = random_model(4, attributes, seed=1)
    expected = stepmix_log_likelihood(rows.astype(float), model, iterations)
    # The log-likelihood of one attribute stops growing after an iteration, except for rounding errors.
    assert log_likelihoods(from_bits(rows), model, iterations)[-1] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("attributes", [3, 40, 64, 65, 100])
def test_log_likelihood_with_missing_values_equals_that_of_stepmix(attributes: int) -> None:
    values = with_missing(random_rows(600, attributes, seed=attributes), seed=2)
    model = random_model(3, attributes, seed=2)
    for iterations in (0, 1, 15):
        expected = stepmix_log_likelihood(values.astype(float), model, iterations)
        actual = log_likelihoods(from_partial(values), model, iterations)[-1]
        assert actual == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("missing", [False, True])
def test_every_iteration_equals_numpy_on_all_rows_and_never_decreases(missing: bool) -> None:
    rows = random_rows(500, 12, seed=5)
    values = with_missing(rows, 5) if missing else rows.astype(np.float32)
    points = from_partial(values) if missing else from_bits(rows)
    model = random_model(5, 12, seed=5)
    actual = log_likelihoods(points, model, 60)
    assert len(actual) == 61
    np.testing.assert_allclose(actual, numpy_log_likelihoods(values, model, 60), rtol=0, atol=1e-8)
    assert (np.diff(actual) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_iterations_end_before_the_log_likelihood_decreases(seed: int) -> None:
    """Without a tolerance, until rounding errors exceed the growth; also with probabilities of 0 and 1."""
    rows = random_rows(60, 8, seed)
    rows[:, 3] = 1
    rows[:, 4] = rows[:, 5]
    data = BinaryData(from_bits(rows), 1)
    history = [
        step.log_likelihood for _, step in islice(iterate(data, data.start(6, np.random.default_rng(seed))), 9999)
    ]
    assert len(history) > 5 and (np.diff(history) > 0).all()


def test_improbable_absences_are_exact() -> None:
    """1 - p would be 0 for probabilities that close to 1."""
    present = np.array([[1.0, 0.5], [0.5, 0.5]])
    model = Model(np.array([0.5, 0.5]), present, np.array([[1e-30, 0.5], [0.5, 0.5]]))
    posteriors = BinaryData(from_bits(np.zeros((1, 2), np.uint8)), 1).posteriors(model, slice(None))
    assert posteriors[0, 0] == pytest.approx(2e-30)


def fit(points: Points, k: int, **parameters: Any) -> dict[str, Any]:
    return cluster(points, "mixture", k, Parameters(**parameters), with_silhouette=False).figures


def test_results_do_not_depend_on_threads() -> None:
    rows = np.random.default_rng(0).random((40_000, 30)) < np.linspace(0.2, 0.8, 30)
    points = from_bits(rows.astype(np.uint8))
    assert len(points.counts) > 30_000
    results = []
    for threads in (1, 2, 3, 7):
        result = cluster(
            points, "mixture", 3, Parameters(jobs=threads, redo=1), with_silhouette=False, with_posteriors=True
        )
        assert result.posteriors is not None and result.components is not None
        figures = {key: value for key, value in result.figures.items() if key != "seconds"}
        arrays = (result.labels, result.posteriors, result.components.weights, result.components.probabilities)
        results.append((figures, *(array.tobytes() for array in arrays)))
    assert results[1:] == results[:-1]


def test_counts_mean_the_same_as_repeated_rows() -> None:
    rows = random_rows(300, 20, seed=8)
    points = from_bits(rows)
    assert len(points.counts) < 250
    every_row = Points(rows, np.ones(300, np.int64), np.arange(300), np.ones(20), points.packed_codes[points.inverse])
    model = random_model(4, 20, seed=8)
    np.testing.assert_allclose(
        log_likelihoods(points, model, 30), log_likelihoods(every_row, model, 30), rtol=0, atol=1e-8
    )


def test_classes_are_recovered_and_posteriors_belong_to_the_clusters() -> None:
    rng = np.random.default_rng(0)
    shares, probabilities = np.array([0.5, 0.3, 0.2]), np.where(rng.random((3, 25)) < 0.5, 0.05, 0.95)
    truth = rng.choice(3, 4000, p=shares)
    rows = (rng.random((4000, 25)) < probabilities[truth]).astype(np.uint8)
    points = from_bits(rows)
    result = cluster(points, "mixture", 3, Parameters(), with_posteriors=True)
    assert (result.labels == truth).mean() > 0.99
    assert result.components is not None and result.posteriors is not None
    np.testing.assert_allclose(result.components.weights, shares, atol=0.03)
    np.testing.assert_allclose(result.components.probabilities, probabilities, atol=0.03)
    np.testing.assert_array_equal(result.posteriors[points.inverse].argmax(axis=1), result.labels)
    np.testing.assert_allclose(result.posteriors.sum(axis=1), 1, rtol=1e-12)


def test_criteria_follow_their_definitions() -> None:
    rows = random_rows(800, 9, seed=3)
    points = from_bits(rows)
    result = cluster(points, "mixture", 4, Parameters(), with_posteriors=True)
    figures, components, posteriors = result.figures, result.components, result.posteriors
    assert components is not None and posteriors is not None
    expected = numpy_log_likelihoods(
        rows.astype(float), Model(components.weights, components.probabilities, 1 - components.probabilities), 0
    )[0]
    assert figures["log_likelihood"] == pytest.approx(expected, abs=1e-8)
    every_row = posteriors[points.inverse]
    entropy = -float(xlogy(every_row, every_row).sum())
    assert figures["entropy"] == pytest.approx(entropy, rel=1e-9)
    assert figures["bic"] == pytest.approx(-2 * expected + (3 + 4 * 9) * math.log(800), rel=1e-12)
    assert figures["icl"] == pytest.approx(figures["bic"] + 2 * entropy, rel=1e-12)
    assert figures["parameters"] == {"k": 4, "redo": 10, "seed": 0}


def test_bic_chooses_the_number_of_classes() -> None:
    rng = np.random.default_rng(1)
    probabilities = np.where(rng.random((3, 20)) < 0.5, 0.1, 0.9)
    rows = (rng.random((2000, 20)) < probabilities[rng.integers(3, size=2000)]).astype(np.uint8)
    records = list(compare(from_bits(rows), ["mixture"], range(1, 6), Parameters(redo=2), on_failure=pytest.fail))
    assert [record["k"] for record in records] == [1, 2, 3, 4, 5]
    assert min(records, key=lambda record: record["bic"])["k"] == 3
    assert min(records, key=lambda record: record["icl"])["k"] == 3


def test_one_class_is_the_product_of_the_frequencies() -> None:
    rows = random_rows(300, 7, seed=4)
    result = cluster(from_bits(rows), "mixture", 1, Parameters())
    assert result.components is not None
    np.testing.assert_allclose(result.components.probabilities, rows.mean(axis=0)[None], rtol=1e-12)
    assert result.figures["entropy"] == 0 and set(result.labels) == {0}


def test_more_starts_are_never_worse() -> None:
    points = from_bits(random_rows(500, 15, seed=6))
    values = [fit(points, 8, redo=redo)["log_likelihood"] for redo in (1, 3, 8)]
    assert values == sorted(values) and values[0] < values[-1]


def test_the_seed_decides() -> None:
    points = from_bits(random_rows(500, 15, seed=6))
    one, two, other = (fit(points, 8, redo=1, seed=seed)["log_likelihood"] for seed in (1, 1, 2))
    assert one == two != other


def test_missing_values_are_ignored() -> None:
    """A face of which little is known goes to the class that this suggests; one of which nothing is, to the largest."""
    rows = np.repeat(np.array([[1, 1, 1, 1], [0, 0, 0, 0]], np.float32), [60, 40], axis=0)
    rows = np.concatenate([rows, [[np.nan, 0, np.nan, np.nan], [np.nan] * 4]]).astype(np.float32)
    result = cluster(from_partial(rows), "mixture", 2, Parameters(), with_posteriors=True)
    assert result.labels[-2] == result.labels[60] == 1
    assert result.labels[-1] == result.labels[0] == 0
    assert result.components is not None and result.posteriors is not None
    np.testing.assert_allclose(result.posteriors[-1], result.components.weights, rtol=1e-6)
    assert result.figures["inertia"] is None and result.figures["silhouette"] is None


def test_what_cannot_be_clustered_is_refused() -> None:
    rows = random_rows(50, 5, seed=0)
    for points, message in (
        (from_bits(rows, np.arange(1.0, 6)), "weights do not apply; omit --weights"),
        (from_values(rows.astype(np.float32)), "clusters 0/1 attributes; omit --soft"),
        (from_partial(with_missing(random_rows(50, 140, 0), 0)), "limited to 256 attributes, and those with missing"),
    ):
        with pytest.raises(ValueError, match=message):
            cluster(points, "mixture", 2, Parameters())
    with pytest.raises(ValueError, match="k is 51; it must be from 1 to"):
        cluster(from_bits(rows), "mixture", 51, Parameters())
    with pytest.raises(ValueError, match="the method kmeans cannot cluster rows with missing values"):
        cluster(from_partial(with_missing(rows, 0)), "kmeans", 2, Parameters())
    with pytest.raises(ValueError, match="attributes must be 0, 1 or NaN"):
        from_partial(np.full((2, 2), 0.5, np.float32))
