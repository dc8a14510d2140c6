"""The optimizer of a recipe and its learning rate schedule."""

from __future__ import annotations

import math
import warnings

import torch

from facetools.network.model import AttributeNet
from facetools.training.muon import Muon
from facetools.training.recipes import Recipe


def build_optimizer(model: AttributeNet, recipe: Recipe) -> torch.optim.Optimizer:
    """The optimizer of `recipe` for the parameters of `model`. Biases and batch norm parameters have no weight decay.

    For a model on a GPU, CUDA graphs can capture its steps, provided that the learning rate is a tensor.
    """
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    on_gpu = parameters[0].is_cuda
    # torch warns about the steps that run before the capture.
    warnings.filterwarnings("ignore", "This instance was constructed with capturable=True")
    if recipe.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=recipe.peak_learning_rate, rho=0.95, eps=1e-7, capturable=on_gpu)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.peak_learning_rate, fused=True, capturable=on_gpu)
    if recipe.optimizer == "muon":
        # Depthwise filters (one input channel) and filters of pixels (three) are not maps between feature spaces.
        matrices = [p for p in model.backbone.parameters() if p.ndim > 1 and p.shape[1] > 3]
        return Muon(groups, matrices, lr=recipe.peak_learning_rate, capturable=on_gpu)
    return torch.optim.SGD(groups, lr=recipe.peak_learning_rate, momentum=0.9, nesterov=True, fused=True)


def learning_rate_factor(schedule: str, progress: float, final: float = 0.0) -> float:
    """The learning rate as a share of its peak, when the share `progress` (0 to 1) of all steps is complete.

    `constant` is always 1. `cosine` rises linearly during the first 5 % of the steps, `onecycle` (Smith 2018) along a
    cosine during the first 30 %, both from 0.04 to 1. Both then fall along a cosine to `final`.
    """
    if schedule == "constant":
        return 1.0
    warm_up = 0.3 if schedule == "onecycle" else 0.05
    if progress < warm_up:
        rise = progress / warm_up
        return 0.04 + 0.96 * ((1 - math.cos(math.pi * rise)) / 2 if schedule == "onecycle" else rise)
    return final + (1 - final) * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up))) / 2
