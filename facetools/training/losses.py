"""Losses of multi-label prediction: each maps logits and labels, both float (n, a), to one number to be made small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def cosine(logits: Tensor, labels: Tensor) -> Tensor:
    """The paper's equation 1, the mean over faces of -y . p / (|y| |p|) with p = sigmoid(logits); -1 is perfect."""
    return -F.cosine_similarity(torch.sigmoid(logits), labels, dim=1, eps=1e-7).mean()


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Focal loss without class weights, -(1 - q)^2 log q with q the score of the truth (Lin et al. 2017)."""
    scores = torch.sigmoid(logits)
    missing = 1 - (scores * labels + (1 - scores) * (1 - labels))
    return (missing**2 * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")).mean()


def mse(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error of the scores; the paper shows that it fails on rare attributes."""
    return F.mse_loss(torch.sigmoid(logits), labels)


def mae(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean absolute error of the scores; the paper shows that it fails on rare attributes."""
    return F.l1_loss(torch.sigmoid(logits), labels)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine,
    "bce": F.binary_cross_entropy_with_logits,
    "focal": focal,
    "mse": mse,
    "mae": mae,
}
