"""How training steps: the optimizer of a recipe, its learning rate over time, the moving average of the network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facetools.model import AttributeNet
from facetools.muon import Muon
from facetools.recipes import Recipe


def optimizer(model: AttributeNet, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer; weight decay spares biases and normalisations. On a GPU its steps can be recorded, if the
    learning rate is a tensor."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    on_gpu = parameters[0].is_cuda
    # Which torch says of the steps before the recording.
    warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
    if recipe.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=recipe.rate, rho=0.95, eps=1e-7, capturable=on_gpu)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate, fused=True, capturable=on_gpu)
    if recipe.optimizer == "muon":
        # Filters of one channel, or of pixels, lead from no features to others.
        matrices = [p for p in model.backbone.parameters() if p.ndim > 1 and p.shape[1] > 3]
        return Muon(groups, matrices, lr=recipe.rate, capturable=on_gpu)
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=0.9, nesterov=True, fused=True)


class Average(nn.Module):
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
def take_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
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


def rate_factor(schedule: str, done: float, final: float = 0.0) -> float:
    """What the learning rate is multiplied by when the share `done` of all steps lies behind; `final` at the end, where
    it is not constant."""
    if schedule == "constant":
        return 1.0
    # Both warm up and then follow half a cosine down; one-cycle (Smith 2018) climbs for longer, and along a cosine.
    rise = 0.3 if schedule == "onecycle" else 0.05
    if done < rise:
        climbed = done / rise
        return 0.04 + 0.96 * ((1 - math.cos(math.pi * climbed)) / 2 if schedule == "onecycle" else climbed)
    return final + (1 - final) * (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2
