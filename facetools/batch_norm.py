"""Batch normalisation, with the ReLU6 after it as one layer, computed by the compiled core.

Layer by layer they read and write every image about twice as often, and memory is what they wait for.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core
from facetools.products import plain

#: What normalised values are kept between: by ReLU6, or not at all.
RELU6, LINEAR = (0.0, 6.0), (-math.inf, math.inf)


def relu6(images: Tensor, norm: nn.Module) -> Tensor:
    """relu6(norm(images)) of float (n, channels, height, width); `norm` is batch normalisation (Ioffe and Szegedy
    2015) or what took its place. By the core in training, and in use without gradients, for float32 in memory, channels
    last and in sixteens; else by torch."""
    if not fits(images, norm):
        return F.relu6(norm(images), inplace=True)
    batch: Any = norm
    if not batch.training:
        return images_of(normalised(maps_of(images), scale_in_use(batch), RELU6))
    out: Tensor = _Relu6.apply(images, batch.weight, batch.bias, batch)
    return out


def fits(images: Tensor, norm: nn.Module) -> bool:
    """Whether the core computes what `norm` and ReLU6 make of such images, or of what a convolution makes of them."""
    return (
        usual(norm)
        and norm.num_features % 16 == 0
        and plain(images)
        and images.is_contiguous(memory_format=torch.channels_last)
        and images.numel() > images.shape[1]
    )


def usual(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether it is batch normalisation as the core computes it: in training, or in use without gradients."""
    return (
        type(norm) is nn.BatchNorm2d
        and (norm.training or not torch.is_grad_enabled())
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
    )


class _Relu6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        maps = maps_of(images)
        scale = scale_of(norm, moments_of(maps), maps[..., 0].numel())
        ctx.save_for_backward(maps, scale)
        return images_of(normalised(maps, scale, RELU6))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        maps, scale = ctx.saved_tensors
        by_maps, by_scale = led_back(maps, scale, RELU6, maps_of(gradient))
        return images_of(by_maps), *by_scale, None


def scaled(images: Tensor, scale: Tensor) -> Tensor:
    """`images`, float32 (n, channels, height, width), to which no gradient is led, by the weight and the bias of each
    channel in a scale (4, channels) of mean 0 and deviation 1; by the core for images in memory, channels last and in
    sixteens, else by torch."""
    last = images.is_contiguous(memory_format=torch.channels_last) and images.numel() > 0
    if plain(images) and last and images[:, 0].numel() % 16 == 0 and not images.requires_grad:
        return images_of(normalised(maps_of(images), scale, LINEAR))
    weight, bias = scale[:2].unflatten(1, (-1, 1, 1))
    return torch.addcmul(bias, images, weight)


def moments_of(maps: Tensor) -> Tensor:
    """The mean and the variance of each channel of `maps` (..., channels), a row each."""
    moments = torch.empty(2, maps.shape[-1])
    _core.moments(maps, moments, torch.get_num_threads())
    return moments


def scale_of(norm: Any, moments: Tensor, places: int) -> Tensor:
    """What the core normalises values by, (4, channels), that have such moments (2, channels) over so many places; the
    moving averages of `norm` follow those."""
    scale = torch.empty(4, norm.num_features)
    averages = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    _core.take_moments(moments, places, norm.weight, norm.bias, *averages, norm.eps, norm.momentum, scale)
    return scale


def scale_in_use(norm: Any) -> Tensor:
    """The same of a normalisation that is in use: by its moving averages."""
    return torch.stack((norm.weight, norm.bias, norm.running_mean, torch.rsqrt(norm.running_var + norm.eps)))


def normalised(maps: Tensor, scale: Tensor, bounds: tuple[float, float], added: Tensor | None = None) -> Tensor:
    """`maps` (..., channels), normalised and kept between the bounds, and with what there is to be added."""
    out = torch.empty_like(maps)
    _core.normalise(maps, scale, *bounds, added, out, torch.get_num_threads())
    return out


def led_back(maps: Tensor, scale: Tensor, bounds: tuple[float, float], gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Of the gradient by what is `normalised` those by the maps and by weight and bias, (2, channels)."""
    by_maps, by_scale = torch.empty_like(maps), torch.empty(2, maps.shape[-1])
    _core.normalise_backward(maps, scale, *bounds, gradient, by_maps, by_scale, torch.get_num_threads())
    return by_maps, by_scale


def maps_of(images: Tensor) -> Tensor:
    """Images (n, channels, height, width) as (n, height, width, channels), one after another."""
    return images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def images_of(maps: Tensor) -> Tensor:
    """The other way round."""
    return maps.permute(0, 3, 1, 2)
