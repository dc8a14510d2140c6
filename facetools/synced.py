"""Batch normalisation by the statistics of all processes of a job."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist


class _Summed(torch.autograd.Function):
    """The sum of every process's tensor; what depends on it in any process counts in the gradient of each."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the statistics of all processes' batches, on any device (torch's own needs a GPU).

    float (n, channels, ...) of any n, which may differ by process; all of them together hold over one value.
    """

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        others = [axis for axis in range(images.ndim) if axis != 1]
        shape = [1, -1] + [1] * (images.ndim - 2)
        values = images.to(self.weight.dtype)  # autocast may have made them bfloat16, too coarse for sums
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = _Summed.apply(torch.cat([values.sum(others), count]))
        mean, total = sums[:-1] / sums[-1], sums[-1].detach()
        deviations = values - mean.view(shape)
        variance = _Summed.apply((deviations * deviations).sum(others)) / total
        with torch.no_grad():
            assert (
                self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
            )
            self.num_batches_tracked.add_(1)
            share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(variance * total / (total - 1), share)
        scale = torch.rsqrt(variance + self.eps)
        return (deviations * (scale * self.weight).view(shape) + self.bias.view(shape)).to(images.dtype)

    def _check_input_dim(self, images: Tensor) -> None: ...


def synced(model: nn.Module, device: torch.device) -> nn.Module:
    """`model`, which learns on `device`, with its batch normalisations over all processes, the same parameters and
    names."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for name, child in model.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            norm = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
            norm.load_state_dict(child.state_dict())
            setattr(model, name, norm)
        else:
            synced(child, device)
    return model
