"""Losses of multi-label prediction. Each maps logits and targets, both float (n, attributes), to a scalar."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine(logits: Tensor, targets: Tensor) -> Tensor:
    """Cosine proximity, the paper's equation 1: the mean over faces of -y . p / (|y| |p|) with p = sigmoid(logits).
    -1 is perfect."""
    return -F.cosine_similarity(torch.sigmoid(logits), targets, dim=1, eps=1e-7).mean()


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss with gamma 2 and without class weights (Lin et al. 2017): the mean of -(1 - q)^2 log q, where q is
    the score of the true class."""
    scores = torch.sigmoid(logits)
    error = 1 - (scores * targets + (1 - scores) * (1 - targets))
    return (error**2 * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")).mean()


def mse(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of the scores. The paper shows that it fails on rare attributes."""
    return F.mse_loss(torch.sigmoid(logits), targets)


def mae(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error of the scores. The paper shows that it fails on rare attributes."""
    return F.l1_loss(torch.sigmoid(logits), targets)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine,
    "bce": F.binary_cross_entropy_with_logits,
    "focal": focal,
    "mse": mse,
    "mae": mae,
}
