"""What MobileNetV2 does between two of its linear bottlenecks, by the compiled core.

Images of few channels are expanded to many, filtered channel by channel and projected to few again. What lies between
is large, and to write and to read it layer by layer is what training waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from facetools import _core
from facetools.batch_norm import fits, follow, maps_of, moments_of, relu6, scale_by, scale_in_use
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
    first: Any = norm
    second: Any = after
    wide: Any = expand
    depthwise: Any = filters
    narrow: Any = project
    way = _way(images, wide)
    fitting = fits(images, norm) and fits(images, after) and first.training == second.training and len(images) > 1
    if way is None or not fitting:
        return project(relu6(filters(relu6(expand(images), norm)), after))
    strides = wide.stride[0], depthwise.stride[0]
    if not first.training:
        expansion = way(maps_of(images), wide.weight, strides[0])
        filtered, _ = expansion.filtered(scale_in_use(first), _taps(depthwise.weight), strides[1])
        return _projected(filtered, scale_in_use(second), narrow.weight.flatten(1)).permute(0, 3, 1, 2)
    weights = (first.weight, first.bias, depthwise.weight, second.weight, second.bias)
    settings = ((first.eps, second.eps), strides, way)
    out, places, moments, after_moments = _Bottleneck.apply(images, wide.weight, narrow.weight, *weights, *settings)
    follow(first, moments, places)
    follow(second, after_moments, out.numel() // out.shape[1])
    return out


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
        way: type[_Kept | _Anew],
    ) -> tuple[Tensor, int, Tensor, Tensor]:
        taps, narrow = _taps(filters), project.flatten(1).contiguous()
        expansion = way(maps_of(images), expand, strides[0])
        moments = expansion.moments()
        scale = scale_by(moments, weight, bias, eps[0])
        filtered, after_moments = expansion.filtered(scale, taps, strides[1])
        after_scale = scale_by(after_moments, after_weight, after_bias, eps[1])
        out = _projected(filtered, after_scale, narrow)
        ctx.save_for_backward(scale, taps, filtered, after_scale, narrow, *expansion.kept())
        ctx.strides, ctx.back = strides, way.back
        ctx.mark_non_differentiable(moments, after_moments)
        places = len(images) * expansion.size[0] * expansion.size[1]
        return out.permute(0, 3, 1, 2), places, moments, after_moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        scale, taps, filtered, after_scale, narrow, *kept = ctx.saved_tensors
        by_taps, by_narrow = torch.empty_like(taps), torch.empty_like(narrow)
        by_scale, by_after = torch.empty_like(scale[:2]), torch.empty_like(scale[:2])
        layers = _Layers(scale, taps, filtered, after_scale, narrow)
        found = _Layers(by_scale, by_taps, filtered, by_after, by_narrow)
        by_maps, by_expand = ctx.back(kept, layers, ctx.strides, maps_of(gradient), found, ctx.needs_input_grad[0])
        by_images = None if by_maps is None else by_maps.permute(0, 3, 1, 2)
        by_layers = (*by_scale, _filters(by_taps), *by_after)
        return by_images, by_expand, by_narrow[..., None, None], *by_layers, None, None, None


class _Layers(NamedTuple):
    """What comes after the expansion, or the gradients by it: normalisation, filters (9, channels), what they make
    (n, height, width, channels), its normalisation, and the projection (outputs, channels)."""

    scale: Tensor
    taps: Tensor
    filtered: Tensor
    after_scale: Tensor
    narrow: Tensor


class _Kept:
    """Images (n, height, width, inputs), and what a convolution of 1 x 1 expands them to."""

    def __init__(self, maps: Tensor, expand: Tensor, stride: int) -> None:
        self._rows, self._wide = maps.view(-1, maps.shape[3]), expand.flatten(1)
        self.size = maps.shape[1:3]
        self._expanded = product(self._rows, self._wide, turned_b=True).view(*maps.shape[:3], -1)

    def moments(self) -> Tensor:
        return moments_of(self._expanded.view(-1, len(self._wide)))

    def filtered(self, scale: Tensor, taps: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        out, moments = _room(len(self._expanded), self.size, taps, stride)
        given = (self._expanded.numpy(), scale.numpy(), taps.numpy(), stride)
        _core.depthwise(*given, out.numpy(), moments.numpy(), torch.get_num_threads())
        return out, moments

    def kept(self) -> tuple[Tensor, ...]:
        return self._rows, self._wide, self._expanded

    @staticmethod
    def back(
        kept: list[Tensor],
        layers: _Layers,
        strides: tuple[int, int],
        gradient: Tensor,
        found: _Layers,
        to_images: bool,
    ) -> tuple[Tensor | None, Tensor]:
        """Of the gradient by the projected images those by the images and the expansion; `found` takes the others."""
        (rows, wide, expanded), threads = kept, torch.get_num_threads()
        outer = gradient.view(-1, len(layers.narrow))
        hidden = torch.empty(len(outer), len(wide))
        filtered = layers.filtered.view(hidden.shape).numpy()
        _core.normalise_relu6(filtered, layers.after_scale.numpy(), hidden.numpy(), threads)
        _core.product(outer.numpy(), hidden.numpy(), True, False, found.narrow.numpy(), threads)
        by_hidden, by_expanded = product(outer, layers.narrow).view(layers.filtered.shape), torch.empty_like(expanded)
        before = (expanded.numpy(), layers.scale.numpy(), layers.taps.numpy(), strides[1])
        after = (layers.filtered.numpy(), layers.after_scale.numpy(), by_hidden.numpy(), by_expanded.numpy())
        by_layers = (found.taps.numpy(), found.scale.numpy(), found.after_scale.numpy())
        _core.depthwise_backward(*before, *after, *by_layers, threads)
        by_rows = by_expanded.view(len(rows), -1)
        by_maps = product(by_rows, wide).view(*expanded.shape[:3], -1) if to_images else None
        return by_maps, product(by_rows, rows, turned_a=True)[..., None, None]


class _Anew:
    """Images (n, height, width, channels) and a convolution of 1 x 1 or 3 x 3 that expands them, whenever it is asked
    for what it makes of them, and once more on the way back."""

    def __init__(self, maps: Tensor, expand: Tensor, stride: int) -> None:
        self._maps, self._stride = maps, stride
        self.size = [(side - 1) // stride + 1 for side in maps.shape[1:3]]
        # Of each row and column of the kernel, and channel.
        self._wide = expand.permute(2, 3, 1, 0).flatten(0, 2).contiguous()

    def moments(self) -> Tensor:
        inputs, channels = self._wide.shape
        moments, self._of_inputs = torch.empty(2, channels), torch.empty(inputs, 1 + channels, dtype=torch.float64)
        given = (self._maps.numpy(), self._wide.numpy(), self._stride)
        _core.expanded_moments(*given, self._of_inputs.numpy(), moments.numpy(), torch.get_num_threads())
        return moments

    def filtered(self, scale: Tensor, taps: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        out, moments = _room(len(self._maps), self.size, taps, stride)
        given = (self._maps.numpy(), self._wide.numpy(), self._stride, scale.numpy(), taps.numpy(), stride)
        _core.expanded_depthwise(*given, out.numpy(), moments.numpy(), torch.get_num_threads())
        return out, moments

    def kept(self) -> tuple[Tensor, ...]:
        return self._maps, self._wide, self._of_inputs

    @staticmethod
    def back(
        kept: list[Tensor],
        layers: _Layers,
        strides: tuple[int, int],
        gradient: Tensor,
        found: _Layers,
        to_images: bool,
    ) -> tuple[Tensor | None, Tensor]:
        """As _Kept does."""
        maps, wide, of_inputs = kept
        by_maps, by_wide = torch.empty_like(maps) if to_images else None, torch.empty_like(wide)
        expansion = (maps.numpy(), wide.numpy(), strides[0], of_inputs.numpy())
        after = (layers.filtered.numpy(), layers.after_scale.numpy(), layers.narrow.numpy(), gradient.numpy())
        by_expansion = (None if by_maps is None else by_maps.numpy(), by_wide.numpy())
        by_layers = (found.taps.numpy(), found.narrow.numpy(), found.scale.numpy(), found.after_scale.numpy())
        before = (*expansion, layers.scale.numpy(), layers.taps.numpy(), strides[1])
        _core.bottleneck_backward(*before, *after, *by_expansion, *by_layers, torch.get_num_threads())
        kernel = 1 if len(wide) == maps.shape[3] else 3
        return by_maps, by_wide.view(kernel, kernel, -1, wide.shape[1]).permute(3, 2, 0, 1)


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


def _room(count: int, size: Sequence[int], taps: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """For what filters make of so many images, (n, height, width, channels), and for its moments (2, channels)."""
    height, width = ((side - 1) // stride + 1 for side in size)
    return torch.empty(count, height, width, taps.shape[1]), torch.empty(2, taps.shape[1])
