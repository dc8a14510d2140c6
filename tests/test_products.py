"""Dense layers and convolutions of 1 x 1 are torch's, by the core in training and by torch where it is not for them."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core
from facetools.products import Dense, pointwise, rounding, rounds, times


def learned(layer: nn.Module, given: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """What a copy of the layer makes of what is given, and the gradients by both."""
    layer, given = deepcopy(layer).to(dtype), given.to(dtype, copy=True).requires_grad_()
    if dtype == torch.float32:
        out = pointwise(given, layer) if isinstance(layer, nn.Conv2d) else layer(given)
    else:
        out = F.linear(given, layer.weight, layer.bias) if isinstance(layer, nn.Linear) else layer(given)
    torch.manual_seed(1)
    out.backward(torch.randn(out.shape).to(dtype))
    return [out, *(value.grad for value in (given, *layer.parameters()) if value.grad is not None)]


def images(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the core was asked for a product."""
    asked: list[int] = []
    compute = _core.product
    monkeypatch.setattr(_core, "product", lambda *given: [asked.append(1), compute(*given)])
    return asked


@pytest.mark.parametrize(
    ("layer", "given"),
    [
        (Dense(256, 512), torch.randn(16, 256)),  # whole sixteens of rows, in which less is turned than in the weights
        (Dense(48, 80), torch.randn(64, 48)),
        (Dense(48, 80), torch.randn(37, 48)),
        (Dense(48, 16, bias=False), torch.randn(5, 48)),
        (Dense(16, 32), torch.randn(1, 16)),
        (nn.Conv2d(32, 64, 1, bias=False), images(3, 32, 5, 7)),
        (nn.Conv2d(32, 16, 1, bias=False), images(1, 32, 1, 1)),
    ],
)
def test_it_is_torchs_layer(layer: nn.Module, given: Tensor, calls: list[int]) -> None:
    by_core, by_torch = (learned(layer, given, dtype) for dtype in (torch.float32, torch.float64))
    assert len(calls) == 3
    assert len(by_core) == len(by_torch) == 2 + len(list(layer.parameters()))
    for found, expected in zip(by_core, by_torch, strict=True):
        torch.testing.assert_close(found.double(), expected.double(), rtol=1e-4, atol=1e-4)
    if isinstance(layer, nn.Conv2d):
        assert by_core[0].is_contiguous(memory_format=torch.channels_last)


def test_what_is_not_for_the_core_is_left_to_torch(calls: list[int]) -> None:
    rows = torch.randn(4, 32)
    for layer, given in [
        (Dense(32, 37), rows),
        (Dense(24, 32), rows[:, :24]),
        (Dense(32, 16).eval(), rows),
        (Dense(32, 16).double(), rows.double()),
        (Dense(32, 16), rows[:0]),
        (Dense(32, 16), rows.view(2, 2, 32)),
    ]:
        torch.testing.assert_close(layer(given), F.linear(given, layer.weight, layer.bias))
    usual = images(2, 32, 4, 3)
    for convolution, given in [
        (nn.Conv2d(32, 16, 1), usual),
        (nn.Conv2d(32, 24, 1, bias=False), usual),
        (nn.Conv2d(32, 32, 1, groups=2, bias=False), usual),
        (nn.Conv2d(32, 16, 1, stride=2, bias=False), usual),
        (nn.Conv2d(32, 16, 3, padding=1, bias=False), usual),
        (nn.Conv2d(32, 16, 1, bias=False).eval(), usual),
        (nn.Conv2d(32, 16, 1, bias=False), usual.contiguous()),
    ]:
        torch.testing.assert_close(pointwise(given, convolution), convolution(given))
    in_use = nn.Conv2d(32, 16, 1, bias=False).eval()
    with torch.no_grad():
        found = pointwise(usual, in_use)
    assert len(calls) == 1
    torch.testing.assert_close(found, in_use(usual), rtol=1e-4, atol=1e-4)
    calls.clear()
    with torch.autocast("cpu", torch.bfloat16):
        assert Dense(32, 16)(rows).dtype == torch.bfloat16
    assert not calls


@pytest.mark.parametrize(
    ("layer", "given"),
    [
        (Dense(256, 512), torch.randn(16, 256)),
        (Dense(48, 80), torch.randn(37, 48)),
        (nn.Conv2d(32, 64, 1, bias=False), images(3, 32, 5, 7)),
    ],
)
def test_factors_are_rounded_where_they_may_be_and_it_gains(layer: nn.Module, given: Tensor) -> None:
    plain = learned(layer, given, torch.float32)
    with rounding(True):
        rounded = learned(layer, given, torch.float32)
        with rounding(False):
            again = learned(layer, given, torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    for number, (one, other) in enumerate(zip(plain, rounded, strict=True)):
        # What comes last, if it is a fourth, is the gradient by a bias, which is no product.
        assert torch.equal(one, other) == (number == 3 or not rounds())
        assert torch.linalg.norm(one - other) <= 0.01 * torch.linalg.norm(one)


def test_gradients_that_are_not_asked_for_are_not_made(calls: list[int]) -> None:
    Dense(32, 16)(torch.randn(4, 32)).sum().backward()
    assert len(calls) == 2


@pytest.mark.parametrize("turned_b", [False, True])
@pytest.mark.parametrize("turned_a", [False, True])
def test_any_matrices_are_multiplied(turned_a: bool, turned_b: bool, calls: list[int]) -> None:
    for rows, inner, columns, by_core in [
        (64, 80, 96, True),
        (3, 64, 64, True),
        (64, 80, 100, False),
        (64, 9, 64, False),
    ]:
        a = torch.randn(inner, rows).T if turned_a else torch.randn(rows, inner)
        b = torch.randn(columns, inner).T if turned_b else torch.randn(inner, columns)
        for dtype in (torch.float32, torch.float64):
            calls.clear()
            given = [(m.T if turned else m).to(dtype) for m, turned in ((a, turned_a), (b, turned_b))]
            found = times(*given, turned_a=turned_a, turned_b=turned_b)
            torch.testing.assert_close(found.double(), a.double() @ b.double(), rtol=1e-4, atol=1e-4)
            assert len(calls) == (by_core and dtype == torch.float32)
    scattered = torch.randn(64, 128)[:, ::2]
    torch.testing.assert_close(times(scattered, scattered), scattered @ scattered)
