"""Muon's steps: orthogonal for matrices, AdamW's for the rest."""

from copy import deepcopy

import pytest
import torch

from facetools.training.muon import COEFFICIENTS, MOMENTUM, UPDATE_RMS, Muon, orthogonalize


@pytest.mark.parametrize("shape", [(16, 16), (24, 96), (96, 24), (1, 9)])
def test_orthogonal_matrices_keep_the_directions(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, sizes, v = torch.linalg.svd(orthogonalize(1e-3 * matrix), full_matrices=False)
    assert ((sizes > 0.6) & (sizes < 1.3)).all()
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    # Where U V' is the same, so is the matrix up to the sizes, which the iteration brings near 1 only.
    assert torch.linalg.norm(u @ v - left @ right) < 1e-3 * len(sizes)


@pytest.mark.parametrize("shape", [(32, 32), (20, 90), (90, 20), (64, 112), (112, 80)])
def test_the_iterations_are_those_of_the_formula(shape: tuple[int, int]) -> None:
    """X <- a X + (b G + c G G) X with G = X X', one after the other and in double, of a nearly singular matrix."""
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


def test_nothing_is_orthogonal_to_nothing() -> None:
    assert not orthogonalize(torch.zeros(3, 5)).any()


def test_matrices_step_equally_far_whatever_the_gradient() -> None:
    weight = torch.nn.Parameter(torch.ones(8, 4, 3, 3))
    optimizer = Muon([{"params": [weight], "weight_decay": 0.5}], [weight], lr=0.1)
    for size in (1e-6, 1e3):
        before = weight.detach().clone()
        weight.grad = size * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        optimizer.step()
        assert weight.grad is None
        step = before * (1 - 0.1 * 0.5) - weight.detach()
        sizes = torch.linalg.svdvals(step.reshape(8, 36)) / (0.1 * UPDATE_RMS * 36**0.5)
        assert ((sizes > 0.6) & (sizes < 1.3)).all()


def test_momentum_turns_the_step_slowly() -> None:
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
    assert torch.linalg.norm(orthogonalize(second) - expected) > 1  # where the second gradient alone would lead
    # The iteration multiplies what is lost by rounding by some hundred.
    torch.testing.assert_close((before - weight.detach()) / (0.1 * UPDATE_RMS * 2**0.5), expected, rtol=0, atol=0.02)


def test_the_rest_steps_by_adamw() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix, rest = (torch.nn.Parameter(torch.randn(4, 6, generator=generator)) for _ in range(2))
    other = deepcopy(rest)
    ours = Muon([{"params": [matrix, rest], "weight_decay": 0.1}], [matrix], lr=0.01)
    adamw = torch.optim.AdamW([other], lr=0.01, weight_decay=0.1, fused=True)
    for _ in range(3):
        for weight in (matrix, rest):
            weight.grad = torch.randn(4, 6, generator=generator)
        assert rest.grad is not None
        other.grad = rest.grad.clone()
        ours.step()
        adamw.step()
    torch.testing.assert_close(rest, other, rtol=0, atol=0)
