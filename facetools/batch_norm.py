"""Batch normalisation in training and the ReLU6 after it as one layer, computed by the compiled core.

They are all that MobileNetV2 does between two convolutions. Apart, they read and write every image about twice as often
as together, and memory is what they wait for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core


def relu6(images: Tensor, norm: nn.Module) -> Tensor:
    """relu6(norm(images)) of float (n, channels, height, width); `norm` is batch normalisation (Ioffe and Szegedy 2015)
    or what took its place. By the core in training, for float32 in memory and channels last; else by torch."""
    if not _fits(images, norm):
        return F.relu6(norm(images), inplace=True)
    batch: Any = norm
    out, (mean, variance) = _Relu6.apply(images, batch.weight, batch.bias, batch.eps)
    places = images.numel() // images.shape[1]
    batch.num_batches_tracked.add_(1)
    batch.running_mean.lerp_(mean, batch.momentum)
    batch.running_var.lerp_(variance * (places / (places - 1)), batch.momentum)
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
        and images.numel() > images.shape[1]
    )


class _Relu6(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        rows, threads = _rows(images), torch.get_num_threads()
        out, moments = torch.empty_like(rows), torch.empty(2, rows.shape[1])
        _core.moments(rows.numpy(), moments.numpy(), threads)
        mean, variance = moments
        scale = torch.stack((weight, bias, mean, torch.rsqrt(variance + eps)))
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


def _rows(images: Tensor) -> Tensor:
    """Images (n, channels, height, width), channels last, as (places, channels)."""
    last = images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    return last.reshape(-1, images.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    count, channels, height, width = like.shape
    return rows.view(count, height, width, channels).permute(0, 3, 1, 2)
