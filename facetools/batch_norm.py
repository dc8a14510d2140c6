"""Batch normalisation in training and the ReLU6 after it as one layer, and what MobileNetV2 does between two of its
bottlenecks as one, computed by the compiled core.

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
    2015) or what took its place. By the core in training, for float32 in memory, channels last and in sixteens; else by
    torch."""
    if not _fits(images, norm):
        return F.relu6(norm(images), inplace=True)
    batch: Any = norm
    out, moments = _Relu6.apply(images, batch.weight, batch.bias, batch.eps)
    _count(batch, moments, images.numel() // images.shape[1])
    return out


def hidden(images: Tensor, expand: nn.Module, norm: nn.Module, filters: nn.Module, after: nn.Module) -> Tensor:
    """relu6(after(filters(relu6(norm(expand(images)))))): what a bottleneck is expanded to by a convolution of 1 x 1,
    filtered by a depthwise one of 3 x 3 in strides of 1 or 2, both without bias; by the core where it computes
    relu6."""
    if not (_fits(images, norm) and _fits(images, after) and len(images) > 1):
        return relu6(filters(relu6(expand(images), norm)), after)
    first: Any = norm
    second: Any = after
    widening: Any = expand
    depthwise: Any = filters
    weights = (widening.weight, first.weight, first.bias, depthwise.weight, second.weight, second.bias)
    out, moments, filtered = _Hidden.apply(images, *weights, (first.eps, second.eps), depthwise.stride[0])
    _count(first, moments, images.numel() // images.shape[1])
    _count(second, filtered, out.numel() // out.shape[1])
    return out


def _fits(images: Tensor, norm: nn.Module) -> bool:
    return (
        type(norm) is nn.BatchNorm2d
        and norm.training
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


def _count(norm: nn.BatchNorm2d, moments: Tensor, places: int) -> None:
    """Has the moving averages of `norm` follow the `moments` (2, channels) of so many places."""
    batch: Any = norm
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


class _Hidden(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        expand: Tensor,
        weight: Tensor,
        bias: Tensor,
        filters: Tensor,
        after_weight: Tensor,
        after_bias: Tensor,
        eps: tuple[float, float],
        stride: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        threads = torch.get_num_threads()
        expanded = F.conv2d(images, expand)
        moments, scale = _scale(_rows(expanded), weight, bias, eps[0])
        count, channels, height, width = expanded.shape
        filtered = torch.empty(count, (height - 1) // stride + 1, (width - 1) // stride + 1, channels)
        taps = filters.view(channels, 9).t().contiguous()
        _core.depthwise(_maps(expanded).numpy(), scale.numpy(), taps.numpy(), stride, filtered.numpy(), threads)
        rows = filtered.view(-1, channels)
        after_moments, after_scale = _scale(rows, after_weight, after_bias, eps[1])
        out = torch.empty_like(filtered)
        _core.normalise_relu6(rows.numpy(), after_scale.numpy(), out.view(rows.shape).numpy(), threads)
        ctx.save_for_backward(images, expand, expanded, scale, taps, filtered, after_scale)
        ctx.stride = stride
        ctx.mark_non_differentiable(moments, after_moments)
        return out.permute(0, 3, 1, 2), moments, after_moments

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        images, expand, expanded, scale, taps, filtered, after_scale = ctx.saved_tensors
        maps, channels = _maps(expanded), expanded.shape[1]
        by_maps, by_taps = torch.empty_like(maps), torch.empty_like(taps)
        by_scale, by_after = torch.empty(2, channels), torch.empty(2, channels)
        before = (maps.numpy(), scale.numpy(), taps.numpy(), ctx.stride, filtered.numpy(), after_scale.numpy())
        found = (by_maps.numpy(), by_taps.numpy(), by_scale.numpy(), by_after.numpy())
        _core.depthwise_backward(*before, _maps(gradient).numpy(), *found, torch.get_num_threads())
        outer = by_maps.permute(0, 3, 1, 2)
        geometry = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)  # stride, padding, dilation, not transposed, one group
        by_images, by_expand, _ = torch.ops.aten.convolution_backward(
            outer, images, expand, None, *geometry, [True, True, False]
        )
        return by_images, by_expand, *by_scale, by_taps.t().reshape(channels, 1, 3, 3), *by_after, None, None


def _scale(rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The mean and the variance of `rows` (places, channels) and what the core normalises them by, by channel."""
    moments = torch.empty(2, rows.shape[1])
    _core.moments(rows.numpy(), moments.numpy(), torch.get_num_threads())
    return moments, torch.stack((weight, bias, moments[0], torch.rsqrt(moments[1] + eps)))


def _maps(images: Tensor) -> Tensor:
    """Images (n, channels, height, width) as (n, height, width, channels), one after another."""
    return images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)


def _rows(images: Tensor) -> Tensor:
    """The same as (places, channels)."""
    return _maps(images).reshape(-1, images.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
