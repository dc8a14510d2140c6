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
            self._take(group)
        super().step()
        return loss

    def _take(self, group: dict[str, Any]) -> None:
        weights: list[Tensor] = []
        arrays: list[list[Tensor]] = []
        taken: list[Tensor] = []
        for weight in group["params"]:
            gradient = weight.grad
            if gradient is None or not (weight.is_cpu and weight.dtype == gradient.dtype == torch.float32):
                continue
            state = self.state[weight]
            if not state:
                state.update(step=torch.tensor(0.0), **{name: torch.zeros_like(weight) for name in AVERAGES})
            lying = _in_order([weight, gradient, *(state[name] for name in AVERAGES)])
            if lying is not None:
                weights.append(weight)
                arrays.append(lying)
                taken.append(state["step"])
        if not weights:
            return
        settings = (group["lr"], group["rho"], group["eps"], group["weight_decay"])
        parameters, gradients, squares, steps = zip(*arrays, strict=True)
        _core.adadelta(parameters, gradients, squares, steps, taken, *settings, torch.get_num_threads())
        for weight in weights:
            weight.grad = None  # so that torch passes over it


def _in_order(values: list[Tensor]) -> list[Tensor] | None:
    """The same, their sides in the order in which they lie, if all of them lie alike."""
    if all(tensor.is_contiguous() for tensor in values):
        return values
    if all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in values):
        return [tensor.detach().permute(0, 2, 3, 1) for tensor in values]
    return None
