"""Losses against their formulas in NumPy."""

import numpy as np
import pytest
import torch

from facetools.training.losses import LOSSES

rng = np.random.default_rng(0)
LOGITS = rng.normal(0, 3, (5, 37))
LABELS = (rng.random((5, 37)) < 0.3).astype(np.float64)
LABELS[:, 0] = 1
SCORES = 1 / (1 + np.exp(-LOGITS))


def value(loss: str, logits: np.ndarray, labels: np.ndarray) -> float:
    return LOSSES[loss](torch.from_numpy(logits), torch.from_numpy(labels)).item()


def test_cosine_equals_equation_1_of_the_paper() -> None:
    by_face = [
        -sum(y * p for y, p in zip(labels, scores, strict=True))
        / (np.sqrt(sum(y**2 for y in labels)) * np.sqrt(sum(p**2 for p in scores)))
        for labels, scores in zip(LABELS, SCORES, strict=True)
    ]
    assert value("cosine", LOGITS, LABELS) == pytest.approx(np.mean(by_face), rel=1e-12)


def test_cosine_of_known_vectors() -> None:
    # p = (3/4, 1/4) and y = (1, 0) have the cosine 3 / sqrt(10).
    assert value("cosine", np.log([[3.0, 1 / 3]]), np.array([[1.0, 0.0]])) == pytest.approx(-3 / np.sqrt(10))
    assert value("cosine", np.array([[40.0, -40.0]]), np.array([[1.0, 0.0]])) == pytest.approx(-1)
    assert value("cosine", np.array([[-40.0, 40.0]]), np.array([[1.0, 0.0]])) == pytest.approx(0)


def test_focal_equals_its_formula() -> None:
    true_class = np.where(LABELS == 1, SCORES, 1 - SCORES)
    assert value("focal", LOGITS, LABELS) == pytest.approx(
        np.mean(-((1 - true_class) ** 2) * np.log(true_class)), rel=1e-12
    )


def test_other_losses_equal_their_formulas() -> None:
    true_class = np.where(LABELS == 1, SCORES, 1 - SCORES)
    assert value("bce", LOGITS, LABELS) == pytest.approx(-np.mean(np.log(true_class)), rel=1e-12)
    assert value("mse", LOGITS, LABELS) == pytest.approx(np.mean((SCORES - LABELS) ** 2), rel=1e-12)
    assert value("mae", LOGITS, LABELS) == pytest.approx(np.mean(np.abs(SCORES - LABELS)), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_value_and_gradient_are_finite_for_extreme_logits(loss: str) -> None:
    """Logits whose float32 sigmoid is exactly 0 or 1, and faces with no or all attributes."""
    for label in (0.0, 1.0):
        for extreme in (-1e4, 0.0, 1e4):
            logits = torch.full((2, 4), extreme, requires_grad=True)
            result = LOSSES[loss](logits, torch.full((2, 4), label))
            result.backward()
            assert torch.isfinite(result)
            assert torch.isfinite(logits.grad).all()


def test_cosine_of_a_face_without_attributes_has_no_gradient() -> None:
    logits = torch.from_numpy(LOGITS).requires_grad_()
    labels = torch.from_numpy(LABELS.copy())
    labels[2] = 0
    loss = LOSSES["cosine"](logits, labels)
    loss.backward()
    others = [0, 1, 3, 4]
    assert loss.item() == pytest.approx(value("cosine", LOGITS[others], LABELS[others]) * 4 / 5)
    assert (logits.grad[2] == 0).all()
    assert (logits.grad[others] != 0).all()
