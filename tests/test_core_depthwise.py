"""The compiled depthwise convolution between two batch normalisations with ReLU6 against torch's layers in double."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facetools import _core

#: Count, height, width, channels: odd and even sides, of one and two places too, many small maps, of which several are
#: gone through at a time, and more than the cache holds.
SHAPES = [
    (3, 7, 5, 16),
    (2, 8, 6, 48),
    (5, 1, 1, 32),
    (3, 2, 9, 16),
    (1, 1, 3, 16),
    (19, 3, 2, 32),
    (2, 23, 37, 32),
    (8, 96, 64, 96),
]

#: Of the normalisations before and after; large where a few saturated values hardly differ, lest rounding be
#: normalised.
EPSILON, AFTER_EPSILON = 1e-5, 0.1


class Case:
    """Maps (n, h, w, c), the weights and biases of the normalisations before and after filters (9, c), and a gradient,
    float32."""

    def __init__(self, shape: tuple[int, int, int, int], stride: int) -> None:
        torch.manual_seed(sum(shape))
        count, height, width, channels = shape
        self.stride, self.channels = stride, channels
        self.maps = 2 * torch.randn(shape) + 30 * torch.randn(channels)
        self.weight, self.bias = 1.5 * torch.randn(channels), 3 + 2 * torch.randn(channels)
        self.filters = torch.randn(9, channels)
        self.after_weight, self.after_bias = 1.5 * torch.randn(channels), 3 + 2 * torch.randn(channels)
        self.gradient = torch.randn(count, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)

    def by_torch(self) -> Iterator[Tensor]:
        """The filtered maps, their means and variances, and the gradients by the maps, the filters, the weights and the
        biases, in double."""
        tensors = (self.maps, self.filters, self.weight, self.bias, self.after_weight, self.after_bias)
        given = [tensor.double().requires_grad_() for tensor in tensors]
        maps, filters, *scales = given
        images = F.relu6(F.batch_norm(maps.permute(0, 3, 1, 2), None, None, *scales[:2], training=True, eps=EPSILON))
        kernels = filters.T.reshape(self.channels, 1, 3, 3)
        filtered = F.conv2d(images, kernels, stride=self.stride, padding=1, groups=self.channels)
        out = F.relu6(F.batch_norm(filtered, None, None, *scales[2:], training=True, eps=AFTER_EPSILON))
        out.backward(self.gradient.permute(0, 3, 1, 2).double())
        yield filtered.permute(0, 2, 3, 1).detach()
        yield filtered.mean((0, 2, 3)).detach()
        yield filtered.var((0, 2, 3), correction=0).detach()
        for tensor in given:
            assert tensor.grad is not None
            yield tensor.grad

    def by_core(self, threads: int = 1) -> list[Tensor]:
        # Memory of torch's begins where it can be written past the cache.
        filtered, by_maps, by_filters, by_scale, by_after, moments = (
            torch.full(shape, torch.nan)
            for shape in (self.gradient.shape, self.maps.shape, self.filters.shape, *[(2, self.channels)] * 3)
        )
        scale = scale_of(self.maps, self.weight, self.bias, EPSILON).numpy()
        given = (self.maps.numpy(), scale, self.filters.numpy(), self.stride)
        _core.depthwise(*given, filtered.numpy(), moments.numpy(), threads)
        after = scale_of(filtered, self.after_weight, self.after_bias, AFTER_EPSILON).numpy()
        gradients = (by_maps.numpy(), by_filters.numpy(), by_scale.numpy(), by_after.numpy())
        _core.depthwise_backward(*given, filtered.numpy(), after, self.gradient.numpy(), *gradients, threads)
        return [filtered, *moments, by_maps, by_filters, *by_scale, *by_after]


def scale_of(maps: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    rows = maps.double().view(-1, maps.shape[-1])
    inverse = (rows.var(0, correction=0) + epsilon).rsqrt()
    return torch.stack([weight, bias, rows.mean(0).float(), inverse.float()])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_three_layers(shape: tuple[int, int, int, int], stride: int) -> None:
    case = Case(shape, stride)
    kinks = case.maps.numel() // 1_000_000  # so many values may be rounded to the other side of one
    for found, expected in zip(case.by_core(), case.by_torch(), strict=True):
        assert not found.isnan().any()
        apart = (found - expected).abs() > 1e-4 * expected.abs().max()
        assert apart.sum() <= kinks


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 20, 16, 48), (19, 3, 2, 32)])
def test_threads_change_nothing(shape: tuple[int, int, int, int], stride: int) -> None:
    case = Case(shape, stride)
    for one, other in zip(case.by_core(), case.by_core(3), strict=True):
        assert torch.equal(one, other)


def test_what_does_not_fit_is_refused() -> None:
    maps, scale, filters = (np.zeros(shape, np.float32) for shape in ((2, 4, 5, 16), (4, 16), (9, 16)))
    out, moments = np.zeros((2, 2, 3, 16), np.float32), np.zeros((2, 16), np.float32)
    _core.depthwise(maps, scale, filters, 2, out, moments, 1)
    for call, message in [
        (lambda: _core.depthwise(maps[:0], scale, filters, 2, out[:0], moments, 1), "there are none"),
        (lambda: _core.depthwise(maps, scale, filters, 3, out, moments, 1), "neither 1 nor 2"),
        (lambda: _core.depthwise(maps, scale, filters, 1, out, moments, 1), "not of the shape that fits the maps"),
        (
            lambda: _core.depthwise(maps, scale[:3], filters, 2, out, moments, 1),
            "not of the shape that fits the values",
        ),
        (
            lambda: _core.depthwise(maps, scale, filters[:8], 2, out, moments, 1),
            "not of the shape that fits the values",
        ),
        (lambda: _core.depthwise(maps[..., :8].copy(), scale, filters, 2, out, moments, 1), "no multiple of 16"),
        (lambda: _core.depthwise(maps, scale, filters, 2, out, scale, 1), "not of the shape that fits the values"),
        (
            lambda: _core.depthwise_backward(
                maps, scale, filters, 2, out, scale, out, out, filters.copy(), scale[:2].copy(), scale[:2].copy(), 1
            ),
            "not of the shape that fits the maps",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError):
        _core.depthwise(maps.astype(float), scale, filters, 2, out, moments, 1)
