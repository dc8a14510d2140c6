"""What MobileNetV2 does between two of its linear bottlenecks, by the compiled core.

Images of few channels are expanded to many, filtered channel by channel and projected to few again. What lies between
is large, and to write and to read it layer by layer is what training waits for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from facetools import _core
from facetools.batch_norm import (
    LINEAR,
    fits,
    images_of,
    led_back,
    maps_of,
    moments_of,
    normalised,
    relu6,
    scale_in_use,
    scale_of,
    usual,
)

#: Inputs at most of an expansion that is not kept but made anew on the way back: more cost more to make, and what they
#: are expanded to is smaller.
FEW = 32

#: Channels at most that lie together: of those that are kept, and of those that are made anew.
KEPT, ANEW = 96, 48


class Layers(NamedTuple):
    """From one linear bottleneck to the next: convolutions without bias, of which `filters` is depthwise, of 3 x 3 with
    a border in strides of 1 or 2, and `project` of 1 x 1; and the normalisation after each."""

    expand: Any
    expand_norm: Any
    filters: Any
    filters_norm: Any
    project: Any
    project_norm: Any


def bottleneck(images: Tensor, layers: Layers, *, residual: bool) -> Tensor:
    """What the layers make of float (n, channels, height, width), with ReLU6 after the first two normalisations, and
    with `residual` the images themselves; by the core where it computes relu6, for few channels or sixteens of them,
    else by torch."""
    way = _way(images, layers.expand)
    if way is None or not _fit(images, layers):
        expanded = relu6(layers.expand(images), layers.expand_norm)
        filtered = relu6(layers.filters(expanded), layers.filters_norm)
        out: Tensor = layers.project_norm(layers.project(filtered))
        return images + out if residual else out
    if layers.expand_norm.training:
        weights = [weight for layer in layers for weight in (layer.weight, layer.bias) if weight is not None]
        learned: Tensor = _Bottleneck.apply(images, layers, way, residual, *weights)
        return learned
    maps = maps_of(images)
    expansion = way(maps, layers.expand.weight, layers.expand.stride[0])
    scales = [scale_in_use(norm) for norm in layers[1::2]]
    filtered, _ = expansion.filtered(scales[0], layers.filters.weight, layers.filters.stride[0])
    projected = _projected(filtered, scales[1], layers.project.weight)
    return images_of(normalised(projected, scales[2], LINEAR, maps if residual else None))


def _fit(images: Tensor, layers: Layers) -> bool:
    """Whether the core computes what the layers make of images that it expands."""
    first, second, last = layers[1::2]
    steps = layers.expand.stride[0], layers.filters.stride[0]
    places = len(images) * math.prod(_filtered(_filtered(side, steps[0]), steps[1]) for side in images.shape[2:])
    return (
        len(images) > 1
        and fits(images, first)
        and fits(images, second)
        and usual(last)
        and places * last.num_features % math.lcm(16, last.num_features) == 0
        and first.training == second.training == last.training
    )


def _way(images: Tensor, expand: Any) -> type[_Kept | _Anew] | None:
    """How the core expands such images, if it does."""
    shape, inputs = (expand.kernel_size, expand.stride, expand.padding, expand.dilation), expand.weight[0].numel()
    pointwise = shape == ((1, 1), (1, 1), (0, 0), (1, 1))
    # Through a kernel of 3 the core leads no gradient back.
    first = shape in [((3, 3), (n, n), (1, 1), (1, 1)) for n in (1, 2)] and not images.requires_grad
    if (pointwise or first) and inputs <= FEW:
        return _Anew
    return _Kept if pointwise and inputs % 16 == 0 else None


class _Bottleneck(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, layers: Layers, way: type[_Kept | _Anew], residual: bool, *weights: Tensor
    ) -> Tensor:
        expand, _, _, filters, _, _, project, _, _ = weights
        strides, maps = (layers.expand.stride[0], layers.filters.stride[0]), maps_of(images)
        expansion = way(maps, expand, strides[0])
        scale = scale_of(layers.expand_norm, expansion.moments(), len(maps) * math.prod(expansion.size))
        filtered, moments = expansion.filtered(scale, filters, strides[1])
        places = math.prod(filtered.shape[1:4])
        after_scale = scale_of(layers.filters_norm, moments, places)
        projected = _projected(filtered, after_scale, project)
        last_scale = scale_of(layers.project_norm, moments_of(projected), places)
        ctx.save_for_backward(scale, filters, filtered, after_scale, project, projected, last_scale, *expansion.kept())
        ctx.strides, ctx.back, ctx.residual = strides, way.back, residual
        return images_of(normalised(projected, last_scale, LINEAR, maps if residual else None))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scale, filters, filtered, after_scale, project, projected, last_scale, *kept = ctx.saved_tensors
        outer = maps_of(gradient)
        by_projected, by_last = led_back(projected, last_scale, LINEAR, outer)
        by_scale, by_after = torch.empty_like(scale[:2]), torch.empty_like(scale[:2])
        middle = _Middle(scale, filters, filtered, after_scale, project)
        found = _Middle(by_scale, torch.empty_like(filters), filtered, by_after, torch.empty_like(project))
        by_maps = torch.empty_like(kept[0]) if ctx.needs_input_grad[0] else None
        besides = outer if ctx.residual else None
        by_expand = ctx.back(kept, middle, ctx.strides, by_projected, besides, found, by_maps)
        by_images = None if by_maps is None else images_of(by_maps)
        return by_images, None, None, None, by_expand, *by_scale, found.filters, *by_after, found.project, *by_last


class _Middle(NamedTuple):
    """What comes after the expansion, or the gradients by it: normalisation, filters, what they make (groups, n,
    height, width, channels of a group), its normalisation, and the projection."""

    scale: Tensor
    filters: Tensor
    filtered: Tensor
    after_scale: Tensor
    project: Tensor


class _Kept:
    """Images (n, height, width, inputs), and what a convolution of 1 x 1 expands them to, by groups of channels:
    (groups, n, height, width, channels of a group)."""

    def __init__(self, maps: Tensor, expand: Tensor, stride: int) -> None:
        self._maps, self._expand = maps, expand
        self.size = maps.shape[1:3]
        channels, threads = len(expand), torch.get_num_threads()
        # Of which each thread takes some: no sum depends on how many lie together.
        group = _group(channels, min(KEPT, channels // (2 * threads)))
        self._expanded, self._moments = torch.empty(channels // group, *maps.shape[:3], group), torch.empty(2, channels)
        _core.expand(maps, expand, self._expanded, self._moments, threads)

    def moments(self) -> Tensor:
        return self._moments

    def filtered(self, scale: Tensor, filters: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        out, moments = _room(self._expanded.shape, stride)
        _core.depthwise(self._expanded, scale, filters, stride, out, moments, torch.get_num_threads())
        return out, moments

    def kept(self) -> tuple[Tensor, ...]:
        return self._maps, self._expand, self._expanded

    @staticmethod
    def back(
        kept: list[Tensor],
        layers: _Middle,
        strides: tuple[int, int],
        gradient: Tensor,
        besides: Tensor | None,
        found: _Middle,
        by_maps: Tensor | None,
    ) -> Tensor:
        """Of the gradient by the projected images that by the expansion; `found` takes the others, and `by_maps`, if
        it is wanted, that by the images, to which `besides` comes, if there is any."""
        maps, expand, expanded = kept
        by_expand = torch.empty_like(expand)
        before = (maps, expand, expanded, layers.scale, layers.filters, strides[1])
        after = (layers.filtered, layers.after_scale, layers.project, gradient)
        by_layers = (found.filters, found.project, found.scale, found.after_scale)
        _core.kept_backward(*before, *after, besides, by_maps, by_expand, *by_layers, torch.get_num_threads())
        return by_expand


class _Anew:
    """Images (n, height, width, channels) and a convolution of 1 x 1 or 3 x 3 that expands them, whenever it is asked
    for what it makes of them, and once more on the way back."""

    def __init__(self, maps: Tensor, expand: Tensor, stride: int) -> None:
        self._maps, self._stride = maps, stride
        self.size = [_filtered(side, stride) for side in maps.shape[1:3]]
        # Of each row and column of the kernel, and channel.
        self._wide = expand.permute(2, 3, 1, 0).flatten(0, 2).contiguous()

    def moments(self) -> Tensor:
        inputs, channels = self._wide.shape
        moments, self._of_inputs = torch.empty(2, channels), torch.empty(inputs, 1 + channels, dtype=torch.float64)
        given = (self._maps, self._wide, self._stride)
        _core.expanded_moments(*given, self._of_inputs, moments, torch.get_num_threads())
        return moments

    def filtered(self, scale: Tensor, filters: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        group = _group(len(filters), ANEW)
        out, moments = _room((len(filters) // group, len(self._maps), *self.size, group), stride)
        given = (self._maps, self._wide, self._stride, scale, filters, stride)
        _core.expanded_depthwise(*given, out, moments, torch.get_num_threads())
        return out, moments

    def kept(self) -> tuple[Tensor, ...]:
        return self._maps, self._wide, self._of_inputs

    @staticmethod
    def back(
        kept: list[Tensor],
        layers: _Middle,
        strides: tuple[int, int],
        gradient: Tensor,
        besides: Tensor | None,
        found: _Middle,
        by_maps: Tensor | None,
    ) -> Tensor:
        """As _Kept does."""
        maps, wide, of_inputs = kept
        by_wide = torch.empty_like(wide)
        before = (maps, wide, strides[0], of_inputs, layers.scale, layers.filters, strides[1])
        after = (layers.filtered, layers.after_scale, layers.project, gradient)
        by_layers = (found.filters, found.project, found.scale, found.after_scale)
        _core.anew_backward(*before, *after, besides, by_maps, by_wide, *by_layers, torch.get_num_threads())
        kernel = 1 if len(wide) == maps.shape[3] else 3
        return by_wide.view(kernel, kernel, -1, wide.shape[1]).permute(3, 2, 0, 1)


def _projected(filtered: Tensor, scale: Tensor, project: Tensor) -> Tensor:
    """Filtered images (groups, n, height, width, channels of a group), normalised and kept from 0 to 6, projected."""
    out = torch.empty(*filtered.shape[1:4], len(project))
    _core.normalise_project(filtered, scale, project, out, torch.get_num_threads())
    return out


def _room(shape: Sequence[int], stride: int) -> tuple[Tensor, Tensor]:
    """For what filters make of images of such a shape (groups, n, height, width, channels of a group), and for its
    moments (2, channels)."""
    groups, count, height, width, group = shape
    out = torch.empty(groups, count, _filtered(height, stride), _filtered(width, stride), group)
    return out, torch.empty(2, groups * group)


def _group(channels: int, most: int) -> int:
    """How many channels lie together: whole sixteens that divide them, and no more than that."""
    return max(some for some in range(16, max(16, most) + 1, 16) if channels % some == 0)


def _filtered(side: int, stride: int) -> int:
    """The side of what filters with a border make of maps, or of what one of 1 x 1 makes."""
    return (side - 1) // stride + 1
