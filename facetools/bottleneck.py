"""What MobileNetV2 does between two of its linear bottlenecks, in training, by the compiled core.

Images of few channels are expanded to many, filtered channel by channel and projected to few again. What lies between
is large, and to write and to read it layer by layer is what training waits for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from facetools import _core
from facetools.batch_norm import fits, follow, maps_of, moments_of, relu6, rows_of, scale_by
from facetools.products import product

#: Inputs at most of an expansion that is not kept but made anew on the way back: more cost more to make, and what they
#: are expanded to is smaller.
FEW = 32


def bottleneck(
    images: Tensor, expand: nn.Module, norm: nn.Module, filters: nn.Module, after: nn.Module, project: nn.Module
) -> Tensor:
    """project(relu6(after(filters(relu6(norm(expand(images))))))) of float (n, channels, height, width): convolutions
    without bias, of which `filters` is depthwise, of 3 x 3 with a border in strides of 1 or 2, and `project` of 1 x 1;
    by the core where it computes relu6, for few channels or sixteens of them, else by torch."""
    layers = _way(images, expand)
    if layers is None or not (fits(images, norm) and fits(images, after) and len(images) > 1):
        return project(relu6(filters(relu6(expand(images), norm)), after))
    first: Any = norm
    second: Any = after
    wide: Any = expand
    depthwise: Any = filters
    weights = (first.weight, first.bias, depthwise.weight, second.weight, second.bias)
    settings = ((first.eps, second.eps), (wide.stride[0], depthwise.stride[0]))
    out, places, moments, filtered = layers.apply(images, wide.weight, project.weight, *weights, *settings)
    follow(first, moments, places)
    follow(second, filtered, out.numel() // out.shape[1])
    return out


def _way(images: Tensor, expand: Any) -> type[torch.autograd.Function] | None:
    """How the core computes what begins by expanding such images, if it does."""
    shape, inputs = (expand.kernel_size, expand.stride, expand.padding, expand.dilation), expand.weight[0].numel()
    pointwise = shape == ((1, 1), (1, 1), (0, 0), (1, 1))
    # Through a kernel of 3 the core leads no gradient back.
    first = shape in [((3, 3), (n, n), (1, 1), (1, 1)) for n in (1, 2)] and not images.requires_grad
    if (pointwise or first) and inputs <= FEW:
        return _Anew
    return _Kept if pointwise and inputs % 16 == 0 else None


class _Kept(torch.autograd.Function):
    """All of it: what the expansion and the filters make is kept."""

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
        strides: tuple[int, int],
    ) -> tuple[Tensor, int, Tensor, Tensor]:
        maps, taps, threads = maps_of(images), _taps(filters), torch.get_num_threads()
        wide, narrow = expand.flatten(1), project.flatten(1)
        rows = maps.view(-1, maps.shape[3])
        expanded = product(rows, wide, turned_b=True)
        moments = moments_of(expanded)
        scale = scale_by(moments, weight, bias, eps[0])
        expanded = expanded.view(*maps.shape[:3], -1)
        filtered, after_moments = _room(maps.shape, len(wide), strides[1]), torch.empty_like(moments)
        before = (expanded.numpy(), scale.numpy(), taps.numpy(), strides[1])
        _core.depthwise(*before, filtered.numpy(), after_moments.numpy(), threads)
        after_scale = scale_by(after_moments, after_weight, after_bias, eps[1])
        out = _projected(filtered, after_scale, narrow)
        ctx.save_for_backward(rows, wide, expanded, scale, taps, filtered, after_scale, narrow)
        ctx.stride = strides[1]
        ctx.mark_non_differentiable(moments, after_moments)
        return out.permute(0, 3, 1, 2), len(rows), moments, after_moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        rows, wide, expanded, scale, taps, filtered, after_scale, narrow = ctx.saved_tensors
        outer, threads = rows_of(gradient), torch.get_num_threads()
        hidden = torch.empty(len(outer), len(wide))
        _core.normalise_relu6(filtered.view(hidden.shape).numpy(), after_scale.numpy(), hidden.numpy(), threads)
        by_narrow = product(outer, hidden, turned_a=True)
        by_hidden = product(outer, narrow).view(filtered.shape)
        by_maps, by_taps = torch.empty_like(expanded), torch.empty_like(taps)
        by_scale, by_after = torch.empty_like(scale[:2]), torch.empty_like(scale[:2])
        before = (expanded.numpy(), scale.numpy(), taps.numpy(), ctx.stride, filtered.numpy(), after_scale.numpy())
        found = (by_maps.numpy(), by_taps.numpy(), by_scale.numpy(), by_after.numpy())
        _core.depthwise_backward(*before, by_hidden.numpy(), *found, threads)
        by_expanded = by_maps.view(len(rows), -1)
        by_images = product(by_expanded, wide).view(*expanded.shape[:3], -1).permute(0, 3, 1, 2)
        by_wide = product(by_expanded, rows, turned_a=True)
        by_layers = (*by_scale, _filters(by_taps), *by_after)
        return by_images, by_wide[..., None, None], by_narrow[..., None, None], *by_layers, None, None


class _Anew(torch.autograd.Function):
    """All of it: no more than what the filters make is kept, and what is expanded once more on the way back."""

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
        strides: tuple[int, int],
    ) -> tuple[Tensor, int, Tensor, Tensor]:
        maps, taps, threads = maps_of(images), _taps(filters), torch.get_num_threads()
        # Of each row and column of the kernel, and channel.
        wide, narrow = expand.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), project.flatten(1).contiguous()
        inputs, channels = wide.shape
        moments, of_inputs = torch.empty(2, channels), torch.empty(inputs, 1 + channels, dtype=torch.float64)
        expansion = (maps.numpy(), wide.numpy(), strides[0])
        _core.expanded_moments(*expansion, of_inputs.numpy(), moments.numpy(), threads)
        scale = scale_by(moments, weight, bias, eps[0])
        size = [(side - 1) // strides[0] + 1 for side in images.shape[2:]]
        filtered, after_moments = _room((len(images), *size), channels, strides[1]), torch.empty_like(moments)
        before = (*expansion, scale.numpy(), taps.numpy(), strides[1])
        _core.expanded_depthwise(*before, filtered.numpy(), after_moments.numpy(), threads)
        after_scale = scale_by(after_moments, after_weight, after_bias, eps[1])
        out = _projected(filtered, after_scale, narrow)
        ctx.save_for_backward(images, wide, of_inputs, scale, taps, filtered, after_scale, narrow)
        ctx.strides = strides
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
        return by_images, by_expand, by_narrow[..., None, None], *by_layers, None, None


def _projected(filtered: Tensor, scale: Tensor, narrow: Tensor) -> Tensor:
    """Filtered images (n, height, width, channels), normalised and kept from 0 to 6, by (outputs, channels)."""
    out = torch.empty(*filtered.shape[:3], len(narrow))
    rows, to = filtered.view(-1, filtered.shape[3]), out.view(-1, len(narrow))
    _core.normalise_project(rows.numpy(), scale.numpy(), narrow.numpy(), to.numpy(), torch.get_num_threads())
    return out


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
