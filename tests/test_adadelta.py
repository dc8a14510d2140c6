"""AdaDelta by the core takes torch's steps, and either goes on where the other was."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from facetools import _core
from facetools.adadelta import AdaDelta
from facetools.muon import Muon

SETTINGS = {"lr": 0.7, "rho": 0.95, "eps": 1e-7, "weight_decay": 0.01}


def network() -> nn.Module:
    """Weights of which one is more than a task of the core, and one has its channels last."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last), nn.Flatten(), nn.Linear(8 * 6 * 6, 300)
    )


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(steps)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3, 8, 8, generator=rng)).square().mean().backward()
        optimizer.step()
    return [weight.detach() for weight in model.parameters()]


def test_it_takes_torchs_steps() -> None:
    ours, theirs = network(), network()
    optimizers = AdaDelta(ours.parameters(), **SETTINGS), torch.optim.Adadelta(theirs.parameters(), **SETTINGS)
    start = deepcopy(list(ours.parameters()))
    for found, expected, before in zip(
        learn(ours, optimizers[0], 6), learn(theirs, optimizers[1], 6), start, strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(found, before)


@pytest.mark.parametrize("first", [AdaDelta, torch.optim.Adadelta])
def test_either_goes_on_from_the_other(first: type[torch.optim.Optimizer]) -> None:
    second = torch.optim.Adadelta if first is AdaDelta else AdaDelta
    one, whole = network(), network()
    started = first(one.parameters(), **SETTINGS)
    learn(one, started, 3)
    going_on = second(one.parameters(), **SETTINGS)
    going_on.load_state_dict(deepcopy(started.state_dict()))
    undivided = torch.optim.Adadelta(whole.parameters(), **SETTINGS)
    learn(whole, undivided, 3)
    for found, expected in zip(learn(one, going_on, 2), learn(whole, undivided, 2), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    assert all(state["step"] == 5 for state in going_on.state.values())


@pytest.mark.parametrize("weights_lie", [torch.channels_last, torch.contiguous_format])
def test_means_that_lie_otherwise_than_their_weights_are_torchs(weights_lie: torch.memory_format) -> None:
    (means_lie,) = {torch.channels_last, torch.contiguous_format} - {weights_lie}
    one, whole = (network().to(memory_format=weights_lie) for _ in range(2))
    optimizers = AdaDelta(one.parameters(), **SETTINGS), torch.optim.Adadelta(whole.parameters(), **SETTINGS)
    learn(one, optimizers[0], 2)
    learn(whole, optimizers[1], 2)
    for state in optimizers[0].state.values():
        if state["square_avg"].ndim == 4:
            lying = {name: state[name].contiguous(memory_format=means_lie) for name in ("square_avg", "acc_delta")}
            state.update(lying)
    for found, expected in zip(learn(one, optimizers[0], 3), learn(whole, optimizers[1], 3), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", [AdaDelta, Muon])
def test_a_closure_is_computed_once_for_one_step(optimizer: Any) -> None:
    model = network()
    weights = list(model.parameters())
    given = {"params": weights}
    by = AdaDelta([given], **SETTINGS) if optimizer is AdaDelta else Muon([given], weights[:1], lr=0.1)

    def closure() -> float:
        asked.append(1)
        by.zero_grad()
        loss = model(torch.ones(5, 3, 8, 8)).square().mean()
        loss.backward()
        return loss.item()

    asked: list[int] = []
    assert by.step(closure) > 0
    assert len(asked) == 1 and all(by.state[weight]["step"] == 1 for weight in weights[1:])


def test_the_core_takes_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    compute = _core.adadelta
    monkeypatch.setattr(_core, "adadelta", lambda *given: [sizes.extend(w.numel() for w in given[0]), compute(*given)])
    model = network()
    model[2].bias.requires_grad_(False)
    learn(model, AdaDelta(model.parameters(), **SETTINGS), 1)
    assert sizes == [216, 8, 8 * 6 * 6 * 300]
    sizes.clear()
    others = nn.Linear(8, 5).double()
    optimizer = AdaDelta(others.parameters(), **SETTINGS)
    others(torch.ones(2, 8, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert sizes == []
    assert all(state["step"] == 1 for state in optimizer.state.values())


def test_threads_change_nothing_and_sizes_must_fit() -> None:
    rng = np.random.default_rng(0)
    settings = (1.0, 0.95, 1e-7, 0.1)
    start = [[rng.random(size, np.float32) for size in (200_000, 7)] for _ in range(4)]
    found = []
    for threads in (1, 3):
        arrays = [[array.copy() for array in some] for some in start]
        taken = [np.zeros(1, np.float32), np.ones(1, np.float32)]
        _core.adadelta(*arrays, taken, *settings, threads)
        assert taken == [1, 2]
        found.append([array for some in arrays for array in some])
    assert all(np.array_equal(*pair) for pair in zip(*found, strict=True))
    parameters, gradients, *means = start
    with pytest.raises(ValueError, match="not as many as parameters"):
        _core.adadelta(parameters, gradients[:1], *means, taken, *settings, 1)
    with pytest.raises(ValueError, match="not of the size of their parameters"):
        _core.adadelta(parameters, [gradients[0][:5], gradients[1]], *means, taken, *settings, 1)
    with pytest.raises(ValueError, match="not one number of steps taken"):
        _core.adadelta(parameters, gradients, *means, means[0], *settings, 1)
