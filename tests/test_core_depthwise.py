"""The compiled depthwise convolution after batch normalisation and ReLU6 against torch's layers in double."""

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

EPSILON = 1e-5


class Case:
    """Maps (n, h, w, c), the weight and bias of their normalisation, filters (9, c) and a gradient, float32."""

    def __init__(self, shape: tuple[int, int, int, int], stride: int) -> None:
        torch.manual_seed(sum(shape))
        count, height, width, channels = shape
        self.stride, self.channels = stride, channels
        self.maps = 2 * torch.randn(shape) + 30 * torch.randn(channels)
        self.weight, self.bias = 1.5 * torch.randn(channels), 3 + 2 * torch.randn(channels)
        self.filters = torch.randn(9, channels)
        self.gradient = torch.randn(count, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)

    def by_torch(self) -> Iterator[Tensor]:
        """The filtered maps, and the gradients by the maps, the filters, the weight and the bias, in double."""
        given = [t.double().requires_grad_() for t in (self.maps, self.filters, self.weight, self.bias)]
        maps, filters, weight, bias = given
        images = F.relu6(F.batch_norm(maps.permute(0, 3, 1, 2), None, None, weight, bias, training=True, eps=EPSILON))
        kernels = filters.T.reshape(self.channels, 1, 3, 3)
        out = F.conv2d(images, kernels, stride=self.stride, padding=1, groups=self.channels).permute(0, 2, 3, 1)
        out.backward(self.gradient.double())
        yield out.detach()
        for tensor in given:
            assert tensor.grad is not None
            yield tensor.grad

    def by_core(self, threads: int = 1) -> list[Tensor]:
        rows = self.maps.double().view(-1, self.channels)
        inverse = (rows.var(0, correction=0) + EPSILON).rsqrt()
        scale = torch.stack([self.weight, self.bias, rows.mean(0).float(), inverse.float()])
        # Memory of torch's begins where it can be written past the cache.
        out, by_maps, by_filters, by_scale = (
            torch.full(shape, torch.nan)
            for shape in (self.gradient.shape, self.maps.shape, self.filters.shape, (2, self.channels))
        )
        given = (self.maps.numpy(), scale.numpy(), self.filters.numpy(), self.stride)
        _core.depthwise(*given, out.numpy(), threads)
        gradients = (by_maps.numpy(), by_filters.numpy(), by_scale.numpy())
        _core.depthwise_backward(*given, self.gradient.numpy(), *gradients, threads)
        return [out, by_maps, by_filters, *by_scale]


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
    out = np.zeros((2, 2, 3, 16), np.float32)
    _core.depthwise(maps, scale, filters, 2, out, 1)
    for call, message in [
        (lambda: _core.depthwise(maps[:0], scale, filters, 2, out[:0], 1), "there are none"),
        (lambda: _core.depthwise(maps, scale, filters, 3, out, 1), "neither 1 nor 2"),
        (lambda: _core.depthwise(maps, scale, filters, 1, out, 1), "not of the shape that fits the maps"),
        (lambda: _core.depthwise(maps, scale[:3], filters, 2, out, 1), "not of the shape that fits the values"),
        (lambda: _core.depthwise(maps, scale, filters[:8], 2, out, 1), "not of the shape that fits the values"),
        (lambda: _core.depthwise(maps[..., :8].copy(), scale, filters, 2, out, 1), "no multiple of 16"),
        (
            lambda: _core.depthwise_backward(maps, scale, filters, 2, out, out, filters.copy(), scale[:2].copy(), 1),
            "not of the shape that fits the maps",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError):
        _core.depthwise(maps.astype(float), scale, filters, 2, out, 1)
