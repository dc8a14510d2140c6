"""The compiled product of matrices against numpy's in double: of broken tiles, of more than a task takes, turned."""

import numpy as np
import pytest

from facetools import _core

#: Rows, inner, columns.
SHAPES = [(1, 1, 16), (7, 5, 48), (64, 192, 192), (65, 193, 208), (130, 400, 64), (15, 17, 1040), (700, 3, 32)]


def factors(rows: int, inner: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    return rng.normal(size=(rows, inner)).astype(np.float32), rng.normal(size=(inner, columns)).astype(np.float32)


def product(
    a: np.ndarray,
    b: np.ndarray,
    turned_a: bool = False,
    turned_b: bool = False,
    threads: int = 1,
    *,
    rounded: bool = False,
) -> np.ndarray:
    given = [np.ascontiguousarray(value.T) if turned else value for value, turned in ((a, turned_a), (b, turned_b))]
    out = np.full((len(a), b.shape[1]), np.nan, np.float32)
    _core.product(*given, turned_a, turned_b, rounded, out, threads)
    return out


def bfloat16(values: np.ndarray) -> np.ndarray:
    """The nearest such numbers, of two the even one, in double."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32).astype(float)


@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_numpys(shape: tuple[int, int, int], turned_a: bool, turned_b: bool) -> None:
    a, b = factors(*shape)
    expected = a.astype(float) @ b.astype(float)
    np.testing.assert_allclose(product(a, b, turned_a, turned_b), expected, atol=1e-5 * shape[1] ** 0.5)


@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("turned_a", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (64, 64, 96), (33, 32, 32)])
def test_factors_may_be_rounded_but_no_sums(shape: tuple[int, int, int], turned_a: bool, turned_b: bool) -> None:
    a, b = factors(*shape)
    exact = [bfloat16(factor) if _core.simd() == "amx" else factor.astype(float) for factor in (a, b)]
    magnitudes = np.abs(exact[0]) @ np.abs(exact[1])
    error = np.abs(product(a, b, turned_a, turned_b, rounded=True) - exact[0] @ exact[1])
    assert (error <= 1e-6 * magnitudes).all()


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_threads_change_nothing(shape: tuple[int, int, int], rounded: bool) -> None:
    a, b = factors(*shape)
    for turned in (False, True):
        one, three = (product(a, b, turned, turned, threads, rounded=rounded) for threads in (1, 3))
        np.testing.assert_array_equal(one, three)


def test_what_does_not_fit_is_refused() -> None:
    a, b = factors(3, 5, 32)
    out = np.zeros((3, 32), np.float32)
    _core.product(a, b, False, False, False, out, 1)
    for call, message in [
        (lambda: _core.product(a, b, True, False, False, out, 1), "a, b: not of shapes that fit"),
        (lambda: _core.product(a, b, False, True, False, out, 1), "a, b: not of shapes that fit"),
        (lambda: _core.product(a[:, :0].copy(), b[:0], False, False, False, out, 1), "a, b: not of shapes that fit"),
        (lambda: _core.product(a, b, False, False, False, out[:2], 1), "out: not of the shape"),
        (lambda: _core.product(a, b[:, :24].copy(), False, False, False, out[:, :24].copy(), 1), "no multiple of 16"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError):
        _core.product(a.astype(float), b, False, False, False, out, 1)
