"""Exponential moving average of a network's weights, and precise batch norm statistics for it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class MovingAverage(nn.Module):
    """The exponential moving average `module` of a network: its parameters and its batch norm statistics.

    Call `next_weight` and then `update` with it, once per step.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(model)
        self.n_averaged: Tensor
        self.register_buffer("n_averaged", torch.tensor(0))
        self._decay = decay

    def next_weight(self) -> float:
        """Count a step and return the weight of the network in its update.

        The weight of step t, from 0, is max(1 - decay, 9 / (10 + t)), and 1 for t = 0, so that the random initial
        weights are soon forgotten.
        """
        steps = int(self.n_averaged)
        self.n_averaged += 1
        return 1 - min(self._decay, (1 + steps) / (10 + steps)) if steps else 1.0

    @torch.no_grad()
    def update(self, model: nn.Module, weight: float | Tensor) -> None:
        """average <- average + weight * (model - average). `weight` may be a tensor (), as CUDA graphs need."""
        averaged, current = _float_tensors(self.module), _float_tensors(model)
        if isinstance(weight, float):
            torch._foreach_lerp_(averaged, current, weight)
        else:
            differences = torch._foreach_sub(current, averaged)
            torch._foreach_mul_(differences, weight)
            torch._foreach_add_(averaged, differences)
        torch._foreach_copy_(_integer_buffers(self.module), _integer_buffers(model))


def _float_tensors(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_floating_point()]


def _integer_buffers(model: nn.Module) -> list[Tensor]:
    return [buffer for buffer in model.buffers() if not buffer.is_floating_point()]


@torch.no_grad()
def recompute_batch_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of batch norm layers to their means over `batches` of pixels, float (n, 3, height,
    width), and leave `model` in eval mode.

    This is precise batch norm (Wu and Johnson 2021). Averaged weights need it, because the average of the statistics
    of several networks is not that of the averaged network (Izmailov et al. 2018).
    """
    norms = [module for module in model.eval().modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for number, pixels in enumerate(batches, 1):
        for norm in norms:
            norm.train().momentum = 1 / number  # a running mean with equal weights
        model(pixels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum
