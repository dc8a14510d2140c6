"""AdaDelta (Zeiler 2012), whose steps on a CPU the compiled core takes: memory is gone through once, not once for each
operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from facetools import _core


class AdaDelta(torch.optim.Adadelta):
    """torch's, whose state it has."""

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Makes one step; the gradients in memory are used up by it."""
        for group in self.param_groups:
            taken = [weight for weight in group["params"] if _fits(weight) and _fits(weight.grad)]
            if taken:
                self._take(taken, group)
        return super().step(closure)

    def _take(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        states = [self.state[weight] for weight in weights]
        for weight, state in zip(weights, states, strict=True):
            if not state:
                zeros = {name: torch.zeros_like(weight) for name in ("square_avg", "acc_delta")}
                state.update(step=torch.tensor(0.0), **zeros)
        squares, steps, taken = ([state[name] for state in states] for name in ("square_avg", "acc_delta", "step"))
        gradients: list[Any] = [weight.grad for weight in weights]
        settings = (group["lr"], group["rho"], group["eps"], group["weight_decay"])
        _core.adadelta(weights, gradients, squares, steps, taken, *settings, torch.get_num_threads())
        for weight in weights:
            weight.grad = None  # so that torch passes over it


def _fits(values: Tensor | None) -> bool:
    return values is not None and values.is_cpu and values.dtype == torch.float32 and values.is_contiguous()
