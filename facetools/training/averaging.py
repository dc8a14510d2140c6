"""Exponential moving average of a network's weights, and batch statistics recomputed for it."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class MovingAverage(nn.Module):
    """The moving average of a network, `module`, its batch statistics included."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = deepcopy(model)
        self.n_averaged: Tensor
        self.register_buffer("n_averaged", torch.tensor(0))
        self._decay = decay

    def next_share(self) -> float:
        """What the network will count for when it is followed next: all at first, and then for a while more than later,
        so that the random start is soon forgotten."""
        steps = int(self.n_averaged)
        self.n_averaged += 1
        return 1 - min(self._decay, (1 + steps) / (10 + steps)) if steps else 1.0

    @torch.no_grad()
    def follow(self, model: nn.Module, share: float | Tensor) -> None:
        """Takes that share of `model`, which may be a tensor, into the average."""
        averaged, current = _values(self.module), _values(model)
        if isinstance(share, float):
            torch._foreach_lerp_(averaged, current, share)
        else:
            differences = torch._foreach_sub(current, averaged)
            torch._foreach_mul_(differences, share)
            torch._foreach_add_(averaged, differences)
        torch._foreach_copy_(_counts(self.module), _counts(model))


def _values(model: nn.Module) -> list[Tensor]:
    return [tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_floating_point()]


def _counts(model: nn.Module) -> list[Tensor]:
    return [buffer for buffer in model.buffers() if not buffer.is_floating_point()]


@torch.no_grad()
def recompute_batch_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Has `model` normalise, in use, by the mean statistics of these batches of pixels, float (n, 3, height, width):
    precise batch normalisation (Wu and Johnson 2021), which an average of networks needs, as the statistics of none of
    them are its own (Izmailov et al. 2018)."""
    norms = [module for module in model.eval().modules() if isinstance(module, _BatchNorm)]
    usual = [norm.momentum for norm in norms]
    for number, pixels in enumerate(batches, 1):
        for norm in norms:
            norm.train().momentum = 1 / number
        model(pixels)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.eval().momentum = momentum
