"""Batch normalisation in training, the ReLU6 after it and the depthwise convolution after that as one layer, computed
by the compiled core.

They are all that MobileNetV2 does between two convolutions of 1 x 1. Apart, they read and write every image about twice
as often as together, and memory is what they wait for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core


def relu6(images: Tensor, norm: nn.Module) -> Tensor:
    """relu6(norm(images)) of float (n, channels, height, width); `norm` is batch normalisation (Ioffe and Szegedy
    2015) or what took its place. By the core in training, for float32 in memory, channels last and in sixteens; else by
    torch."""
    if not _fits(images, norm):
        return F.relu6(norm(images), inplace=True)
    batch: Any = norm
    out, moments = _Relu6.apply(images, batch.weight, batch.bias, batch.eps)
    _count(images, batch, moments)
    return out


def depthwise(images: Tensor, norm: nn.Module, convolution: nn.Module) -> Tensor:
    """convolution(relu6(norm(images))) for a depthwise `convolution` of 3 x 3 in strides of 1 or 2, without bias; by
    the core where it computes relu6."""
    if not _fits(images, norm):
        return convolution(relu6(images, norm))
    batch: Any = norm
    filters: Any = convolution
    out, moments = _Depthwise.apply(images, batch.weight, batch.bias, batch.eps, filters.weight, filters.stride[0])
    _count(images, batch, moments)
    return out


def _fits(images: Tensor, norm: nn.Module) -> bool:
    return (
        type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and images.device.type == "cpu"
        and images.dtype == torch.float32
        and images.is_contiguous(memory_format=torch.channels_last)
        and images.shape[1] % 16 == 0
        and images.numel() > images.shape[1]
    )


def _count(images: Tensor, norm: nn.BatchNorm2d, moments: Tensor) -> None:
    """Has the moving averages of `norm` follow the `moments` (2, channels) of `images`."""
    batch: Any = norm
    places = images.numel() // images.shape[1]
    batch.num_batches_tracked.add_(1)
    batch.running_mean.lerp_(moments[0], batch.momentum)
    batch.running_var.lerp_(moments[1] * (places / (places - 1)), batch.momentum)


class _Relu6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        rows, threads = _rows(images), torch.get_num_threads()
        moments, scale = _scale(rows, weight, bias, eps)
        out = torch.empty_like(rows)
        _core.normalise_relu6(rows.numpy(), scale.numpy(), out.numpy(), threads)
        ctx.save_for_backward(images, scale)
        ctx.mark_non_differentiable(moments)
        return _images(out, images), moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, scale = ctx.saved_tensors
        rows, threads = _rows(images), torch.get_num_threads()
        by_rows, by_scale = torch.empty_like(rows), torch.empty(2, rows.shape[1])
        outer = _rows(gradient).numpy()
        _core.normalise_relu6_backward(rows.numpy(), scale.numpy(), outer, by_rows.numpy(), by_scale.numpy(), threads)
        return _images(by_rows, images), by_scale[0], by_scale[1], None


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float, filters: Tensor, stride: int
    ) -> tuple[Tensor, Tensor]:
        moments, scale = _scale(_rows(images), weight, bias, eps)
        maps = images.permute(0, 2, 3, 1)
        count, height, width, channels = maps.shape
        out = torch.empty(count, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)
        taps = filters.view(channels, 9).t().contiguous()
        _core.depthwise(maps.numpy(), scale.numpy(), taps.numpy(), stride, out.numpy(), torch.get_num_threads())
        ctx.save_for_backward(images, scale, taps)
        ctx.stride = stride
        ctx.mark_non_differentiable(moments)
        return out.permute(0, 3, 1, 2), moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        images, scale, taps = ctx.saved_tensors
        maps, channels = images.permute(0, 2, 3, 1), images.shape[1]
        outer = gradient.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()
        by_maps, by_taps, by_scale = torch.empty_like(maps), torch.empty_like(taps), torch.empty(2, channels)
        inner = (by_maps.numpy(), by_taps.numpy(), by_scale.numpy())
        threads = torch.get_num_threads()
        _core.depthwise_backward(maps.numpy(), scale.numpy(), taps.numpy(), ctx.stride, outer, *inner, threads)
        return by_maps.permute(0, 3, 1, 2), *by_scale, None, by_taps.t().reshape(channels, 1, 3, 3), None


def _scale(rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The mean and the variance of `rows` (places, channels) and what the core normalises them by, by channel."""
    moments = torch.empty(2, rows.shape[1])
    _core.moments(rows.numpy(), moments.numpy(), torch.get_num_threads())
    return moments, torch.stack((weight, bias, moments[0], torch.rsqrt(moments[1] + eps)))


def _rows(images: Tensor) -> Tensor:
    """Images (n, channels, height, width), channels last, as (places, channels)."""
    last = images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    return last.reshape(-1, images.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
