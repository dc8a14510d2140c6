"""Batch normalisation and the ReLU6 after it as one layer, computed by the compiled core.

Layer by layer they read and write every image about twice as often, and memory is what they wait for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core


def relu6(images: Tensor, norm: nn.Module) -> Tensor:
    """relu6(norm(images)) of float (n, channels, height, width); `norm` is batch normalisation (Ioffe and Szegedy
    2015) or what took its place. By the core in training, and in use without gradients, for float32 in memory, channels
    last and in sixteens; else by torch."""
    if not fits(images, norm):
        return F.relu6(norm(images), inplace=True)
    batch: Any = norm
    if not batch.training:
        return _images(_normalised(rows_of(images), scale_in_use(batch)), images)
    out, moments = _Relu6.apply(images, batch.weight, batch.bias, batch.eps)
    follow(batch, moments, images.numel() // images.shape[1])
    return out


def fits(images: Tensor, norm: nn.Module) -> bool:
    """Whether the core computes what `norm` makes of such images, or of what a convolution makes of them."""
    return (
        type(norm) is nn.BatchNorm2d
        and (norm.training or not torch.is_grad_enabled())
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.num_features % 16 == 0
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and images.is_contiguous(memory_format=torch.channels_last)
        and images.numel() > images.shape[1]
    )


def follow(norm: nn.BatchNorm2d, moments: Tensor, places: int) -> None:
    """Has the moving averages of `norm` follow the `moments` (2, channels) of so many places."""
    batch: Any = norm
    batch.num_batches_tracked.add_(1)
    batch.running_mean.lerp_(moments[0], batch.momentum)
    batch.running_var.lerp_(moments[1] * (places / (places - 1)), batch.momentum)


class _Relu6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        rows = rows_of(images)
        moments = moments_of(rows)
        scale = scale_by(moments, weight, bias, eps)
        ctx.save_for_backward(images, scale)
        ctx.mark_non_differentiable(moments)
        return _images(_normalised(rows, scale), images), moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, scale = ctx.saved_tensors
        rows, threads = rows_of(images), torch.get_num_threads()
        by_rows, by_scale = torch.empty_like(rows), torch.empty(2, rows.shape[1])
        outer = rows_of(gradient).numpy()
        _core.normalise_relu6_backward(rows.numpy(), scale.numpy(), outer, by_rows.numpy(), by_scale.numpy(), threads)
        return _images(by_rows, images), by_scale[0], by_scale[1], None


def moments_of(rows: Tensor) -> Tensor:
    """The mean and the variance of each channel of `rows` (places, channels), a row each."""
    moments = torch.empty(2, rows.shape[1])
    _core.moments(rows.numpy(), moments.numpy(), torch.get_num_threads())
    return moments


def scale_by(moments: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """What the core normalises values of such moments by, by channel."""
    return torch.stack((weight, bias, moments[0], torch.rsqrt(moments[1] + eps)))


def scale_in_use(norm: Any) -> Tensor:
    """The same of a normalisation that is in use: by its moving averages."""
    return scale_by(torch.stack((norm.running_mean, norm.running_var)), norm.weight, norm.bias, norm.eps)


def maps_of(images: Tensor) -> Tensor:
    """Images (n, channels, height, width) as (n, height, width, channels), one after another."""
    return images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def rows_of(images: Tensor) -> Tensor:
    """The same as (places, channels)."""
    return maps_of(images).reshape(-1, images.shape[1])


def _normalised(rows: Tensor, scale: Tensor) -> Tensor:
    out = torch.empty_like(rows)
    _core.normalise_relu6(rows.numpy(), scale.numpy(), out.numpy(), torch.get_num_threads())
    return out


def _images(rows: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
