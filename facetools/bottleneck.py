"""What MobileNetV2 does between two of its linear bottlenecks, in training, by the compiled core.

Images of few channels are expanded to many, filtered channel by channel and projected to few again. What lies between
is large, and to write and to read it layer by layer is what training waits for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from facetools import _core
from facetools.batch_norm import fits, follow, maps_of, relu6, rows_of, scale_of

#: Images of at most so many channels are expanded anew on the way back, where those of more are kept as they are
#: expanded to: more cost more to expand, and are smaller.
FEW = 32


def bottleneck(
    images: Tensor, expand: nn.Module, norm: nn.Module, filters: nn.Module, after: nn.Module, project: nn.Module
) -> Tensor:
    """project(relu6(after(filters(relu6(norm(expand(images))))))) of float (n, channels, height, width): convolutions
    without bias, of which `filters` is depthwise, of 3 x 3 in strides of 1 or 2, and `project` of 1 x 1; by the core
    where it computes relu6."""
    if not (fits(images, norm) and fits(images, after) and len(images) > 1):
        return project(relu6(filters(relu6(expand(images), norm)), after))
    first: Any = norm
    second: Any = after
    wide: Any = expand
    depthwise: Any = filters
    weights = (first.weight, first.bias, depthwise.weight, second.weight, second.bias)
    settings = ((first.eps, second.eps), depthwise.stride[0])
    if wide.kernel_size == (1, 1) and images.shape[1] <= FEW:
        expanded = images
        out, moments, filtered = _Anew.apply(images, wide.weight, project.weight, *weights, *settings)
    else:
        expanded = wide(images)
        hidden, moments, filtered = _Kept.apply(expanded, *weights, *settings)
        out = project(hidden)
    follow(first, moments, len(rows_of(expanded)))
    follow(second, filtered, len(rows_of(out)))
    return out


class _Kept(torch.autograd.Function):
    """Normalisation, filters and normalisation of expanded images."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        filters: Tensor,
        after_weight: Tensor,
        after_bias: Tensor,
        eps: tuple[float, float],
        stride: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        maps, taps, threads = maps_of(images), _taps(filters), torch.get_num_threads()
        moments, scale = scale_of(rows_of(images), weight, bias, eps[0])
        filtered = _filtered(maps, len(weight), stride)
        _core.depthwise(maps.numpy(), scale.numpy(), taps.numpy(), stride, filtered.numpy(), threads)
        rows = filtered.view(-1, len(weight))
        after_moments, after_scale = scale_of(rows, after_weight, after_bias, eps[1])
        out = torch.empty_like(filtered)
        _core.normalise_relu6(rows.numpy(), after_scale.numpy(), out.view(rows.shape).numpy(), threads)
        ctx.save_for_backward(images, scale, taps, filtered, after_scale)
        ctx.stride = stride
        ctx.mark_non_differentiable(moments, after_moments)
        return out.permute(0, 3, 1, 2), moments, after_moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        images, scale, taps, filtered, after_scale = ctx.saved_tensors
        maps = maps_of(images)
        by_maps, by_taps = torch.empty_like(maps), torch.empty_like(taps)
        by_scale, by_after = torch.empty_like(scale[:2]), torch.empty_like(scale[:2])
        before = (maps.numpy(), scale.numpy(), taps.numpy(), ctx.stride, filtered.numpy(), after_scale.numpy())
        found = (by_maps.numpy(), by_taps.numpy(), by_scale.numpy(), by_after.numpy())
        _core.depthwise_backward(*before, maps_of(gradient).numpy(), *found, torch.get_num_threads())
        return by_maps.permute(0, 3, 1, 2), *by_scale, _filters(by_taps), *by_after, None, None


class _Anew(torch.autograd.Function):
    """All of it: no more than the filtered images and what they are made of is kept."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        expand: Tensor,
        project: Tensor,
        weight: Tensor,
        bias: Tensor,
        filters: Tensor,
        after_weight: Tensor,
        after_bias: Tensor,
        eps: tuple[float, float],
        stride: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        maps, taps, threads = maps_of(images), _taps(filters), torch.get_num_threads()
        wide, narrow = expand.flatten(1).t().contiguous(), project.flatten(1).contiguous()
        inputs, channels = wide.shape
        moments, of_inputs = torch.empty(2, channels), torch.empty(inputs, 1 + channels, dtype=torch.float64)
        _core.expanded_moments(rows_of(images).numpy(), wide.numpy(), of_inputs.numpy(), moments.numpy(), threads)
        scale = torch.stack((weight, bias, moments[0], torch.rsqrt(moments[1] + eps[0])))
        filtered = _filtered(maps, channels, stride)
        before = (maps.numpy(), wide.numpy(), scale.numpy(), taps.numpy(), stride)
        _core.expanded_depthwise(*before, filtered.numpy(), threads)
        rows = filtered.view(-1, channels)
        after_moments, after_scale = scale_of(rows, after_weight, after_bias, eps[1])
        out = filtered.new_empty(*filtered.shape[:3], len(project))
        out_rows = out.view(-1, len(project))
        _core.normalise_project(rows.numpy(), after_scale.numpy(), narrow.numpy(), out_rows.numpy(), threads)
        ctx.save_for_backward(images, wide, of_inputs, scale, taps, filtered, after_scale, narrow)
        ctx.stride = stride
        ctx.mark_non_differentiable(moments, after_moments)
        return out.permute(0, 3, 1, 2), moments, after_moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        images, wide, of_inputs, scale, taps, filtered, after_scale, narrow = ctx.saved_tensors
        maps = maps_of(images)
        by_maps, by_wide, by_taps, by_narrow = (torch.empty_like(to) for to in (maps, wide, taps, narrow))
        by_scale, by_after = torch.empty_like(scale[:2]), torch.empty_like(scale[:2])
        before = (maps.numpy(), wide.numpy(), of_inputs.numpy(), scale.numpy(), taps.numpy(), ctx.stride)
        after = (filtered.numpy(), after_scale.numpy(), narrow.numpy(), maps_of(gradient).numpy())
        found = (by_maps.numpy(), by_wide.numpy(), by_taps.numpy(), by_narrow.numpy(), by_scale.numpy())
        _core.bottleneck_backward(*before, *after, *found, by_after.numpy(), torch.get_num_threads())
        by_images, by_expand = by_maps.permute(0, 3, 1, 2), by_wide.t()[..., None, None]
        by_layers = (*by_scale, _filters(by_taps), *by_after)
        return by_images, by_expand, by_narrow[..., None, None], *by_layers, None, None


def _taps(filters: Tensor) -> Tensor:
    """Filters (channels, 1, 3, 3) as (9, channels)."""
    return filters.flatten(1).t().contiguous()


def _filters(taps: Tensor) -> Tensor:
    """The other way round."""
    return taps.t().reshape(-1, 1, 3, 3)


def _filtered(maps: Tensor, channels: int, stride: int) -> Tensor:
    """Room for what filters make of maps (n, height, width, any)."""
    count, height, width, _ = maps.shape
    return torch.empty(count, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)
