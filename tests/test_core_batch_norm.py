"""The compiled batch normalisation against its formulas in double, at shapes of whole and of broken pieces."""

import numpy as np
import pytest
import torch

from facetools import _core
from facetools.batch_norm import LINEAR, RELU6

SHAPES = [(2, 16), (7, 48), (1, 16), (1000, 32), (3000, 96), (70000, 16), (9, 1280), (50000, 96)]
#: Of channels that are no sixteens, as many places as make some.
OTHERS = [(16, 7), (2, 24), (9000, 24), (60000, 40), (48, 1)]


def values(places: int, channels: int) -> np.ndarray:
    """Values whose means are far from 0, by channel."""
    rng = np.random.default_rng(places)
    return rng.normal(30 * rng.normal(size=channels), 3, (places, channels)).astype(np.float32)


def scale(rows: np.ndarray, threads: int = 1) -> np.ndarray:
    """A weight and a bias by channel, some of them negative, and the mean and the inverse deviation of `rows`."""
    rng = np.random.default_rng(rows.shape[1])
    mean, variance = moments = np.full((2, rows.shape[1]), np.nan, np.float32)
    _core.moments(rows, moments, threads)
    return np.array([*rng.normal(2, 2, moments.shape), mean, 1 / np.sqrt(variance + 1e-5)], np.float32)


def unwritten(shape: tuple[int, ...]) -> np.ndarray:
    """Memory that begins where it can be written past the cache."""
    return torch.full(shape, torch.nan).numpy()


def normalised(
    rows: np.ndarray,
    by: np.ndarray,
    threads: int = 1,
    *,
    bounds: tuple[float, float] = RELU6,
    added: np.ndarray | None = None,
) -> np.ndarray:
    out = unwritten(rows.shape)
    _core.normalise(rows, by, *bounds, added, out, threads)
    return out


def gradients(
    rows: np.ndarray, by: np.ndarray, outer: np.ndarray, threads: int = 1, bounds: tuple[float, float] = RELU6
) -> tuple[np.ndarray, np.ndarray]:
    by_value, by_scale = unwritten(rows.shape), unwritten((2, rows.shape[1]))
    _core.normalise_backward(rows, by, *bounds, outer, by_value, by_scale, threads)
    return by_value, by_scale


@pytest.mark.parametrize("shape", SHAPES + OTHERS)
def test_moments_are_numpys(shape: tuple[int, int]) -> None:
    rows, found = values(*shape), np.empty((2, shape[1]), np.float32)
    _core.moments(rows, found, 1)
    np.testing.assert_allclose(found[0], rows.mean(0, dtype=float), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[1], rows.var(0, dtype=float), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("bounds", [RELU6, LINEAR])
@pytest.mark.parametrize("shape", SHAPES + OTHERS)
def test_values_are_normalised_and_kept_between_bounds(shape: tuple[int, int], bounds: tuple[float, float]) -> None:
    rows, more = values(*shape), np.random.default_rng(1).normal(size=shape).astype(np.float32)
    weight, bias, mean, inverse = by = scale(rows)
    expected = ((rows - mean.astype(float)) * weight * inverse + bias).clip(*bounds)
    within = 1e-5 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(normalised(rows, by, bounds=bounds), expected, atol=within)
    np.testing.assert_allclose(normalised(rows, by, bounds=bounds, added=more), expected + more, atol=within)


@pytest.mark.parametrize("bounds", [RELU6, LINEAR])
@pytest.mark.parametrize("shape", SHAPES + OTHERS)
def test_gradients_are_those_of_the_formula(shape: tuple[int, int], bounds: tuple[float, float]) -> None:
    """With x the normalised values and g the gradient that passes: weight inverse (g - mean(g) - x mean(g x))."""
    rows = values(*shape)
    weight, bias, mean, inverse = by = scale(rows)
    outer = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    x = (rows - mean.astype(float)) * inverse
    inner = np.where((x * weight + bias > bounds[0]) & (x * weight + bias < bounds[1]), outer, 0).astype(float)
    by_value, by_scale = gradients(rows, by, outer, bounds=bounds)
    expected = weight * inverse * (inner - inner.mean(0) - x * (inner * x).mean(0))
    np.testing.assert_allclose(by_value, expected, atol=2e-5 * max(1, np.abs(expected).max()))
    np.testing.assert_allclose(by_scale, [(inner * x).sum(0), inner.sum(0)], atol=1e-4 * shape[0] ** 0.5)


def test_moving_averages_follow_the_moments() -> None:
    rng = np.random.default_rng(0)
    moments, weight, bias = rng.uniform(1, 2, (2, 7)).astype(np.float32), *rng.normal(size=(2, 7)).astype(np.float32)
    mean, variance = averages = rng.uniform(1, 2, (2, 7)).astype(np.float32)
    norm = torch.nn.BatchNorm2d(7, eps=0.25, momentum=0.3)
    norm.running_mean[:], norm.running_var[:] = map(torch.from_numpy, averages)
    # Two values of each channel that have such moments.
    norm(torch.from_numpy(moments[0] + np.sqrt(moments[1]) * np.float32([[1], [-1]]))[:, :, None, None])
    found, batches = np.empty((4, 7), np.float32), torch.tensor(3)
    _core.take_moments(moments, 2, weight, bias, mean, variance, batches, 0.25, 0.3, found)
    assert batches == 4
    np.testing.assert_allclose(found, [weight, bias, moments[0], 1 / np.sqrt(moments[1] + 0.25)], rtol=1e-6)
    np.testing.assert_allclose(averages, [norm.running_mean.numpy(), norm.running_var.numpy()], rtol=1e-6)
    for places, others, message in [(1, mean, "fewer than two"), (2, mean[:6], "not as many as weights")]:
        with pytest.raises(ValueError, match=message):
            _core.take_moments(moments, places, weight, bias, others, variance, batches, 0.25, 0.3, found)
    assert batches == 4


def test_threads_change_nothing() -> None:
    rows = values(9000, 48)
    outer, by = rows[::-1].copy(), scale(rows)
    np.testing.assert_array_equal(scale(rows, 3), by)
    np.testing.assert_array_equal(normalised(rows, by, 3), normalised(rows, by))
    for one, other in zip(gradients(rows, by, outer), gradients(rows, by, outer, 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_no_number_stays_so() -> None:
    rows = values(3, 16)
    rows[1, 5] = np.nan
    found = np.isnan(normalised(rows, scale(rows)))
    assert found[:, 5].all()
    assert found.sum() == 3


def test_what_does_not_fit_is_refused() -> None:
    rows = values(4, 16)
    by, two = scale(rows), np.empty((2, 16), np.float32)
    with pytest.raises(ValueError, match="there are none"):
        _core.moments(rows[:0], two, 1)
    with pytest.raises(ValueError, match="no multiple of 16"):
        _core.moments(rows[:3, :8].copy(), two, 1)
    for call in (
        lambda: _core.moments(rows, two[:1], 1),
        lambda: _core.normalise(rows, by[:3], *RELU6, None, rows.copy(), 1),
        lambda: _core.normalise(rows, by, *RELU6, None, np.empty((3, 16), np.float32), 1),
        lambda: _core.normalise(rows, by, *RELU6, rows[:2], rows.copy(), 1),
        lambda: _core.normalise_backward(rows, by, *RELU6, rows[:2], rows.copy(), two, 1),
        lambda: _core.normalise_backward(rows, by, *RELU6, rows, rows.copy(), by, 1),
    ):
        with pytest.raises(ValueError, match="not of the shape that fits the values"):
            call()
    with pytest.raises(TypeError):
        _core.moments(rows.astype(float), two, 1)
