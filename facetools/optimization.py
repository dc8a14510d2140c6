"""How training steps: the optimizer of a recipe, its learning rate over time, the moving average of the network."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from facetools.model import AttributeNet
from facetools.muon import Muon
from facetools.recipes import Recipe

_Tensors = tuple[Tensor, ...] | list[Tensor]


def optimizer(model: AttributeNet, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer; weight decay spares biases and normalisations."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=recipe.rate, rho=0.95, eps=1e-7)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate, fused=True)
    if recipe.optimizer == "muon":
        # Filters of one channel, or of pixels, lead from no features to others.
        return Muon(groups, [p for p in model.backbone.parameters() if p.ndim > 1 and p.shape[1] > 3], lr=recipe.rate)
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=0.9, nesterov=True, fused=True)


def average(model: AttributeNet, decay: float) -> AveragedModel | None:
    """The moving average of a network, its batch statistics included, that its `update_parameters` keeps."""
    if not decay:
        return None

    def blend(averaged: _Tensors, current: _Tensors, steps: Tensor | int) -> None:
        # At first over fewer steps, so that the random start is soon forgotten.
        share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, share)
        else:
            torch._foreach_copy_(averaged, current)

    return AveragedModel(model, multi_avg_fn=blend, use_buffers=True)


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


def rate_factor(schedule: str, done: float) -> float:
    """What the learning rate is multiplied by when the share `done` of all steps lies behind."""
    if schedule == "constant":
        return 1.0
    # Both warm up and then follow half a cosine to 0; one-cycle (Smith 2018) climbs for longer, and along a cosine.
    rise = 0.3 if schedule == "onecycle" else 0.05
    if done < rise:
        climbed = done / rise
        return 0.04 + 0.96 * ((1 - math.cos(math.pi * climbed)) / 2 if schedule == "onecycle" else climbed)
    return (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2
