"""The optimizer of a recipe and its learning-rate schedule."""

from __future__ import annotations

import math
import warnings

import torch

from facetools.network.model import AttributeNet
from facetools.training.muon import Muon
from facetools.training.recipes import Recipe


def build_optimizer(model: AttributeNet, recipe: Recipe) -> torch.optim.Optimizer:
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


def learning_rate_factor(schedule: str, done: float, final: float = 0.0) -> float:
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
