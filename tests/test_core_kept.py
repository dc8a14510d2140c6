"""Maps that are kept, from their expansion to their projection and back: the core's against torch's in double."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facetools import _core

#: Count, height, width, inputs, channels, outputs: odd and even sides, of one and two places too, many small maps, of
#: which several are gone through at a time, and more than the cache holds.
SHAPES = [
    (3, 7, 5, 16, 48, 8),
    (2, 8, 6, 32, 48, 40),
    (5, 1, 1, 16, 32, 16),
    (3, 2, 9, 48, 16, 7),
    (1, 1, 3, 16, 16, 24),
    (19, 3, 2, 16, 96, 8),
    (2, 23, 37, 16, 32, 16),
    (8, 96, 64, 16, 96, 24),
]

#: Of the normalisations before and after; large where a few saturated values hardly differ, lest rounding be
#: normalised.
EPSILON, AFTER_EPSILON = 1e-5, 0.1

Shape = tuple[int, int, int, int, int, int]


class Case:
    """Images (n, h, w, inputs), weights (channels, inputs), the weights and biases of the normalisations before and
    after filters (channels, 9), the projection (outputs, channels) and a gradient, float32."""

    def __init__(self, shape: Shape, stride: int) -> None:
        torch.manual_seed(sum(shape))
        count, height, width, inputs, channels, outputs = shape
        self.stride, self.channels = stride, channels
        self.images = torch.randn(count, height, width, inputs) + 10
        self.wide = torch.randn(channels, inputs) / 4
        self.weight, self.bias = 1.5 * torch.randn(channels), 3 + 2 * torch.randn(channels)
        self.filters = torch.randn(channels, 9)
        self.after_weight, self.after_bias = 1.5 * torch.randn(channels), 3 + 2 * torch.randn(channels)
        self.narrow = torch.randn(outputs, channels)
        self.gradient = torch.randn(count, (height - 1) // stride + 1, (width - 1) // stride + 1, outputs)

    def by_torch(self) -> Iterator[Tensor]:
        """The moments of the maps, the filtered ones and theirs, what is projected, and the gradients by all that is
        given, in double."""
        norms = (self.weight, self.bias, self.after_weight, self.after_bias)
        given = [
            tensor.double().requires_grad_() for tensor in (self.images, self.wide, self.filters, self.narrow, *norms)
        ]
        images, wide, filters, narrow, *scales = given
        maps = F.conv2d(images.permute(0, 3, 1, 2), wide[..., None, None])
        kept = F.relu6(F.batch_norm(maps, None, None, *scales[:2], training=True, eps=EPSILON))
        kernels = filters.view(self.channels, 1, 3, 3)
        filtered = F.conv2d(kept, kernels, stride=self.stride, padding=1, groups=self.channels)
        after = F.relu6(F.batch_norm(filtered, None, None, *scales[2:], training=True, eps=AFTER_EPSILON))
        out = F.conv2d(after, narrow[..., None, None])
        out.backward(self.gradient.permute(0, 3, 1, 2).double())
        for tensor in (maps, filtered):
            yield tensor.mean((0, 2, 3)).detach()
            yield tensor.var((0, 2, 3), correction=0).detach()
        yield filtered.permute(0, 2, 3, 1).detach()
        yield out.permute(0, 2, 3, 1).detach()
        for tensor in given:
            assert tensor.grad is not None
            yield tensor.grad

    def by_core(self, group: int, threads: int = 1, *, to_images: bool = True) -> list[Tensor]:
        """The same by so many channels at a time."""
        groups, inputs, outputs = self.channels // group, self.wide.shape[1], len(self.narrow)
        expanded, filtered = (
            torch.full((groups, *shape[:3], group), torch.nan) for shape in (self.images.shape, self.gradient.shape)
        )
        moments, after_moments, by_scale, by_after = torch.full((4, 2, self.channels), torch.nan)
        by_wide, by_filters, by_narrow, by_images, out = (
            torch.full_like(like, torch.nan)
            for like in (self.wide, self.filters, self.narrow, self.images, self.gradient)
        )
        rows, taps, narrow = self.images.view(-1, inputs).numpy(), self.filters.numpy(), self.narrow.numpy()
        _core.expand(rows, self.wide.numpy(), expanded.numpy(), moments.numpy(), threads)
        scale = scale_of(moments, self.weight, self.bias, EPSILON).numpy()
        before = (expanded.numpy(), scale, taps, self.stride)
        _core.depthwise(*before, filtered.numpy(), after_moments.numpy(), threads)
        after = scale_of(after_moments, self.after_weight, self.after_bias, AFTER_EPSILON).numpy()
        _core.normalise_project(filtered.flatten(1, 3).numpy(), after, narrow, out.view(-1, outputs).numpy(), threads)
        gradients = (by_wide, by_filters, by_narrow, by_scale, by_after)
        _core.kept_backward(
            rows, self.wide.numpy(), *before, filtered.numpy(), after, narrow, self.gradient.view(-1, outputs).numpy(),
            None, by_images.view(-1, inputs).numpy() if to_images else None, *(found.numpy() for found in gradients),
            threads,
        )  # fmt: skip
        apart = filtered.permute(1, 2, 3, 0, 4).flatten(3)
        by_all = (by_wide, by_filters, by_narrow, *by_scale, *by_after)
        return [*moments, *after_moments, apart, out, by_images, *by_all]


def scale_of(moments: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return torch.stack([weight, bias, moments[0], (moments[1] + epsilon).rsqrt()])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_layers(shape: Shape, stride: int) -> None:
    case = Case(shape, stride)
    # Of a million values one to four are rounded to the other side of a kink, where a gradient is as large as any; all
    # inputs of nine places see that.
    kinks = case.images.numel() // shape[3] * case.channels // 1_000_000
    # As one group, which is filtered past the cache where it is large.
    for found, expected in zip(case.by_core(case.channels), case.by_torch(), strict=True):
        apart = found - expected
        assert not apart.isnan().any()
        assert (apart.abs() > 1e-4 * expected.abs().max()).sum() <= 9 * shape[3] * kinks
        assert torch.linalg.norm(apart) < (1e-3 if kinks else 1e-4) * torch.linalg.norm(expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(7, 20, 16, 16, 96, 24), (19, 3, 2, 32, 96, 8)])
def test_groups_and_threads_change_nothing(shape: Shape, stride: int) -> None:
    case = Case(shape, stride)
    expected = case.by_core(16)
    for group, threads in [(16, 3), (48, 2), (96, 1)]:
        for one, other in zip(case.by_core(group, threads), expected, strict=True):
            assert torch.equal(one, other)
    without = case.by_core(48, to_images=False)
    assert without.pop(6).isnan().all()
    for one, other in zip(without, expected[:6] + expected[7:], strict=True):
        assert torch.equal(one, other)


def test_what_does_not_fit_is_refused() -> None:
    maps, scale, filters = (np.zeros(shape, np.float32) for shape in ((1, 2, 4, 5, 16), (4, 16), (16, 9)))
    out, moments, rows = np.zeros((1, 2, 2, 3, 16), np.float32), np.zeros((2, 16), np.float32), maps.reshape(-1, 16)
    wide, narrow, outer = np.zeros((16, 16), np.float32), np.zeros((7, 16), np.float32), np.zeros((12, 7), np.float32)

    def backward(**other: np.ndarray) -> None:
        usual = {"images": rows, "wide": wide, "filtered": out, "gradient": outer, "besides": rows}
        given = usual | {"by_images": rows.copy(), "by_wide": np.zeros_like(other.get("wide", wide))} | other
        _core.kept_backward(
            given["images"], given["wide"], maps, scale, filters, 2, given["filtered"], scale, narrow,
            given["gradient"], given["besides"], given["by_images"], given["by_wide"], filters.copy(), narrow.copy(),
            moments.copy(), moments.copy(), 1,
        )  # fmt: skip

    planes = out.reshape(1, 12, 16)
    _core.expand(rows, wide, maps, moments, 1)
    _core.depthwise(maps, scale, filters, 2, out, moments, 1)
    _core.normalise_project(planes, scale, narrow, outer, 1)
    backward()
    few = wide[:, :8].copy()
    for call, message in [
        (lambda: _core.expand(rows[:5], wide, maps, moments, 1), "not as many places"),
        (lambda: _core.expand(rows, wide[:8], maps, moments, 1), "weights: not of the shape"),
        (lambda: _core.expand(rows, few, maps, moments, 1), "weights: not of the shape"),
        (lambda: _core.expand(rows, wide, maps, scale, 1), "that fits the values"),
        (lambda: _core.depthwise(maps[:, :0], scale, filters, 2, out, moments, 1), "there are none"),
        (lambda: _core.depthwise(maps, scale, filters, 3, out, moments, 1), "neither 1 nor 2"),
        (lambda: _core.depthwise(maps, scale, filters, 1, out, moments, 1), "that fits the maps"),
        (lambda: _core.depthwise(maps, scale[:3], filters, 2, out, moments, 1), "that fits the values"),
        (lambda: _core.depthwise(maps, scale, filters[:8], 2, out, moments, 1), "not nine values a channel"),
        (lambda: _core.depthwise(maps[..., :8].copy(), scale, filters, 2, out, moments, 1), "no multiple of 16"),
        (lambda: _core.depthwise(maps, scale, filters, 2, out, scale, 1), "that fits the values"),
        (lambda: _core.normalise_project(planes[:, :0], scale, narrow, outer, 1), "there are none"),
        (lambda: _core.normalise_project(planes[..., :8].copy(), scale, narrow, outer, 1), "no multiple of 16"),
        (lambda: _core.normalise_project(planes, scale, narrow, planes[0], 1), "that fits the values"),
        (lambda: _core.normalise_project(planes, scale, narrow[:0], outer, 1), "without outputs"),
        (lambda: backward(filtered=maps), "that fits the maps"),
        (lambda: backward(gradient=outer[:5]), "that fits the values"),
        (lambda: backward(besides=rows[:5]), "that fits the values"),
        (lambda: backward(by_images=outer), "that fits the values"),
        (lambda: backward(by_wide=narrow.copy()), "weights: not of the shape"),
        (lambda: backward(images=rows[:, :8].copy(), wide=few), "no multiple of 16"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError):
        _core.depthwise(maps.astype(float), scale, filters, 2, out, moments, 1)
