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
        return _images(normalised(rows_of(images), scale_in_use(batch), RELU6), images)
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
        rows = rows_of(images)
        scale = scale_of(norm, moments_of(rows), len(rows))
        ctx.save_for_backward(images, scale)
        return _images(normalised(rows, scale, RELU6), images)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, scale = ctx.saved_tensors
        by_rows, by_scale = led_back(rows_of(images), scale, RELU6, rows_of(gradient))
        return _images(by_rows, images), *by_scale, None


def moments_of(rows: Tensor) -> Tensor:
    """The mean and the variance of each channel of `rows` (places, channels), a row each."""
    moments = torch.empty(2, rows.shape[1])
    _core.moments(rows, moments, torch.get_num_threads())
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


def normalised(rows: Tensor, scale: Tensor, bounds: tuple[float, float], added: Tensor | None = None) -> Tensor:
    """`rows` (places, channels), normalised and kept between the bounds, and with what there is to be added."""
    out = torch.empty_like(rows)
    _core.normalise(rows, scale, *bounds, added, out, torch.get_num_threads())
    return out


def led_back(rows: Tensor, scale: Tensor, bounds: tuple[float, float], gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Of the gradient by what is `normalised` those by the rows and by weight and bias, (2, channels)."""
    by_rows, by_scale = torch.empty_like(rows), torch.empty(2, rows.shape[1])
    _core.normalise_backward(rows, scale, *bounds, gradient, by_rows, by_scale, torch.get_num_threads())
    return by_rows, by_scale


def maps_of(images: Tensor) -> Tensor:
    """Images (n, channels, height, width) as (n, height, width, channels), one after another."""
    return images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def rows_of(images: Tensor) -> Tensor:
    """The same as (places, channels)."""
    return maps_of(images).reshape(-1, images.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
