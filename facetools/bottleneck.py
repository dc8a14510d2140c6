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

#: Inputs at most of an expansion that is not kept but made anew on the way back: more cost more to make, and what they
#: are expanded to is smaller.
FEW = 32


def bottleneck(
    images: Tensor, expand: nn.Module, norm: nn.Module, filters: nn.Module, after: nn.Module, project: nn.Module
) -> Tensor:
    """project(relu6(after(filters(relu6(norm(expand(images))))))) of float (n, channels, height, width): convolutions
    without bias, of which `filters` is depthwise, of 3 x 3 with a border in strides of 1 or 2, and `project` of 1 x 1;
    by the core where it computes relu6."""
    if not (fits(images, norm) and fits(images, after) and len(images) > 1):
        return project(relu6(filters(relu6(expand(images), norm)), after))
    first: Any = norm
    second: Any = after
    wide: Any = expand
    depthwise: Any = filters
    weights = (first.weight, first.bias, depthwise.weight, second.weight, second.bias)
    settings = ((first.eps, second.eps), depthwise.stride[0])
    if _made_anew(images, wide):
        out, places, moments, filtered = _Anew.apply(
            images, wide.weight, project.weight, *weights, *settings, wide.stride[0]
        )
    else:
        hidden, places, moments, filtered = _Kept.apply(wide(images), *weights, *settings)
        out = project(hidden)
    follow(first, moments, places)
    follow(second, filtered, out.numel() // out.shape[1])
    return out


def _made_anew(images: Tensor, expand: nn.Conv2d) -> bool:
    shape = (expand.kernel_size, expand.stride, expand.padding, expand.dilation)
    pointwise = shape == ((1, 1), (1, 1), (0, 0), (1, 1))
    # Through a kernel of 3 the core leads no gradient back.
    first = shape in [((3, 3), (n, n), (1, 1), (1, 1)) for n in (1, 2)] and not images.requires_grad
    return (pointwise or first) and expand.weight[0].numel() <= FEW


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
    ) -> tuple[Tensor, int, Tensor, Tensor]:
        maps, taps, threads = maps_of(images), _taps(filters), torch.get_num_threads()
        moments, scale = scale_of(rows_of(images), weight, bias, eps[0])
        filtered = _room(maps.shape, len(weight), stride)
        _core.depthwise(maps.numpy(), scale.numpy(), taps.numpy(), stride, filtered.numpy(), threads)
        rows = filtered.view(-1, len(weight))
        after_moments, after_scale = scale_of(rows, after_weight, after_bias, eps[1])
        out = torch.empty_like(filtered)
        _core.normalise_relu6(rows.numpy(), after_scale.numpy(), out.view(rows.shape).numpy(), threads)
        ctx.save_for_backward(images, scale, taps, filtered, after_scale)
        ctx.stride = stride
        ctx.mark_non_differentiable(moments, after_moments)
        return out.permute(0, 3, 1, 2), len(rows_of(images)), moments, after_moments

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
        expand_stride: int,
    ) -> tuple[Tensor, int, Tensor, Tensor]:
        maps, taps, threads = maps_of(images), _taps(filters), torch.get_num_threads()
        # Of each row and column of the kernel, and channel.
        wide, narrow = expand.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), project.flatten(1).contiguous()
        inputs, channels = wide.shape
        moments, of_inputs = torch.empty(2, channels), torch.empty(inputs, 1 + channels, dtype=torch.float64)
        expansion = (maps.numpy(), wide.numpy(), expand_stride)
        _core.expanded_moments(*expansion, of_inputs.numpy(), moments.numpy(), threads)
        scale = torch.stack((weight, bias, moments[0], torch.rsqrt(moments[1] + eps[0])))
        size = [(side - 1) // expand_stride + 1 for side in images.shape[2:]]
        filtered = _room((len(images), *size), channels, stride)
        _core.expanded_depthwise(*expansion, scale.numpy(), taps.numpy(), stride, filtered.numpy(), threads)
        rows = filtered.view(-1, channels)
        after_moments, after_scale = scale_of(rows, after_weight, after_bias, eps[1])
        out = filtered.new_empty(*filtered.shape[:3], len(project))
        out_rows = out.view(-1, len(project))
        _core.normalise_project(rows.numpy(), after_scale.numpy(), narrow.numpy(), out_rows.numpy(), threads)
        ctx.save_for_backward(images, wide, of_inputs, scale, taps, filtered, after_scale, narrow)
        ctx.strides = expand_stride, stride
        ctx.mark_non_differentiable(moments, after_moments)
        return out.permute(0, 3, 1, 2), len(images) * size[0] * size[1], moments, after_moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        images, wide, of_inputs, scale, taps, filtered, after_scale, narrow = ctx.saved_tensors
        maps = maps_of(images)
        by_maps = torch.empty_like(maps) if ctx.needs_input_grad[0] else None
        by_wide, by_taps, by_narrow = (torch.empty_like(to) for to in (wide, taps, narrow))
        by_scale, by_after = torch.empty_like(scale[:2]), torch.empty_like(scale[:2])
        before = (maps.numpy(), wide.numpy(), ctx.strides[0], of_inputs.numpy(), scale.numpy(), taps.numpy())
        after = (ctx.strides[1], filtered.numpy(), after_scale.numpy(), narrow.numpy(), maps_of(gradient).numpy())
        found = (by_wide.numpy(), by_taps.numpy(), by_narrow.numpy(), by_scale.numpy(), by_after.numpy())
        by_places = None if by_maps is None else by_maps.numpy()
        _core.bottleneck_backward(*before, *after, by_places, *found, torch.get_num_threads())
        kernel = 1 if len(wide) == maps.shape[3] else 3
        by_expand = by_wide.view(kernel, kernel, -1, wide.shape[1]).permute(3, 2, 0, 1)
        by_images = None if by_maps is None else by_maps.permute(0, 3, 1, 2)
        by_layers = (*by_scale, _filters(by_taps), *by_after)
        return by_images, by_expand, by_narrow[..., None, None], *by_layers, None, None, None


def _taps(filters: Tensor) -> Tensor:
    """Filters (channels, 1, 3, 3) as (9, channels)."""
    return filters.flatten(1).t().contiguous()


def _filters(taps: Tensor) -> Tensor:
    """The other way round."""
    return taps.t().reshape(-1, 1, 3, 3)


def _room(maps: tuple[int, ...], channels: int, stride: int) -> Tensor:
    """For what filters make of maps (n, height, width, any)."""
    count, height, width = maps[:3]
    return torch.empty(count, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)
