"""Muon: orthogonal steps for matrices, AdamW steps for other parameters."""

from copy import deepcopy

import pytest
import torch

from facetools.training.muon import COEFFICIENTS, MOMENTUM, UPDATE_RMS, Muon, orthogonalize


@pytest.mark.parametrize("shape", [(16, 16), (24, 96), (96, 24), (1, 9)])
def test_orthogonalize_keeps_the_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, singular_values, v = torch.linalg.svd(orthogonalize(1e-3 * matrix), full_matrices=False)
    assert ((singular_values > 0.6) & (singular_values < 1.3)).all()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    # The iteration brings singular values near 1 only, so U V' is compared instead of the result itself.
    assert torch.linalg.norm(u @ v - left @ right) < 1e-3 * len(singular_values)


@pytest.mark.parametrize("shape", [(32, 32), (20, 90), (90, 20), (64, 112), (112, 80)])
def test_orthogonalize_computes_its_formula(shape: tuple[int, int]) -> None:
    """Against X <- a X + (b G + c G G) X with G = X X' in double precision, for a nearly singular matrix."""
    generator = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator, dtype=torch.float64), full_matrices=False)
    matrix = u @ torch.diag(torch.logspace(0, -6, min(shape), dtype=torch.float64)) @ v
    a, b, c = COEFFICIENTS
    expected = matrix / torch.linalg.norm(matrix)
    for _ in range(5):
        square = expected @ expected.T
        expected = a * expected + (b * square + c * square @ square) @ expected
    assert torch.linalg.norm(orthogonalize(matrix) - expected) < 1e-6
    assert torch.linalg.norm(orthogonalize(matrix.float()) - expected) < 1e-3 * torch.linalg.norm(expected)


def test_orthogonalize_maps_zeros_to_zeros() -> None:
    assert not orthogonalize(torch.zeros(3, 5)).any()


def test_length_of_a_step_does_not_depend_on_the_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(8, 4, 3, 3))
    optimizer = Muon([{"params": [weight], "weight_decay": 0.5}], [weight], lr=0.1)
    for gradient_scale in (1e-6, 1e3):
        before = weight.detach().clone()
        weight.grad = gradient_scale * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        optimizer.step()
        assert weight.grad is None
        step = before * (1 - 0.1 * 0.5) - weight.detach()
        singular_values = torch.linalg.svdvals(step.reshape(8, 36)) / (0.1 * UPDATE_RMS * 36**0.5)
        assert ((singular_values > 0.6) & (singular_values < 1.3)).all()


def test_step_follows_nesterov_momentum() -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = Muon([{"params": [weight]}], [weight], lr=0.1)
    first, second = torch.tensor([[4.0, 0], [0, 4]]), torch.tensor([[0.0, 1], [1, 0]])
    weight.grad = first.clone()
    optimizer.step()
    before = weight.detach().clone()
    weight.grad = second.clone()
    optimizer.step()
    momentum = (1 - MOMENTUM) * (MOMENTUM * first + second)
    expected = orthogonalize((1 - MOMENTUM) * second + MOMENTUM * momentum)
    assert torch.linalg.norm(orthogonalize(second) - expected) > 1  # the momentum matters
    # The iteration amplifies rounding errors about a hundredfold.
    torch.testing.assert_close((before - weight.detach()) / (0.1 * UPDATE_RMS * 2**0.5), expected, rtol=0, atol=0.02)


def test_other_parameters_take_adamw_steps() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, other = (torch.nn.Parameter(torch.randn(4, 6, generator=generator)) for _ in range(2))
    reference = deepcopy(other)
    muon = Muon([{"params": [matrix, other], "weight_decay": 0.1}], [matrix], lr=0.01)
    adamw = torch.optim.AdamW([reference], lr=0.01, weight_decay=0.1, fused=True)
    for _ in range(3):
        for weight in (matrix, other):
            weight.grad = torch.randn(4, 6, generator=generator)
        assert other.grad is not None
        reference.grad = other.grad.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(other, reference, rtol=0, atol=0)
