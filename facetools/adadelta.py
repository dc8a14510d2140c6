"""AdaDelta (Zeiler 2012), whose steps on a CPU the compiled core takes: memory is gone through once, not once for each
operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from facetools import _core

#: What torch calls the decaying means of the squares of gradients and of steps.
AVERAGES = ("square_avg", "acc_delta")


class AdaDelta(torch.optim.Adadelta):
    """torch's, whose state it has."""

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Makes one step; the gradients in memory are used up by it."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            taken = [weight for weight in group["params"] if _fits(weight, self.state.get(weight, {}))]
            if taken:
                self._take(taken, group)
        super().step()
        return loss

    def _take(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        states = [self.state[weight] for weight in weights]
        for weight, state in zip(weights, states, strict=True):
            if not state:
                state.update(step=torch.tensor(0.0), **{name: torch.zeros_like(weight) for name in AVERAGES})
        gradients: list[Any] = [weight.grad for weight in weights]
        averages = ([state[name] for state in states] for name in AVERAGES)
        arrays = ([_in_order(values) for values in some] for some in (weights, gradients, *averages))
        parameters, slopes, squares, steps = arrays
        taken = [state["step"] for state in states]
        settings = (group["lr"], group["rho"], group["eps"], group["weight_decay"])
        _core.adadelta(parameters, slopes, squares, steps, taken, *settings, torch.get_num_threads())
        for weight in weights:
            weight.grad = None  # so that torch passes over it


def _fits(weight: Tensor, state: dict[str, Tensor]) -> bool:
    """Whether the core learns this weight: all that it learns by lies as it does itself."""
    if weight.grad is None or not (weight.is_cpu and weight.dtype == weight.grad.dtype == torch.float32):
        return False
    others = weight.grad, *(state[name] for name in AVERAGES if name in state)
    if weight.is_contiguous():
        return all(values.is_contiguous() for values in others)
    last = weight.is_contiguous(memory_format=torch.channels_last)
    return last and all(values.stride() == weight.stride() for values in others)


def _in_order(values: Tensor) -> Tensor:
    """The same, its sides in the order in which they lie: channels last where they lie last."""
    return values if values.is_contiguous() else values.detach().permute(0, 2, 3, 1)
