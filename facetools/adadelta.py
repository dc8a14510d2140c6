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
            for weight in taken:
                self._take(weight, weight.grad, group)
                weight.grad = None  # so that torch passes over it
            if taken:
                torch._foreach_add_([self.state[weight]["step"] for weight in taken], 1)
        return super().step(closure)

    def _take(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            zeros = {name: torch.zeros_like(weight) for name in ("square_avg", "acc_delta")}
            state.update(step=torch.tensor(0.0), **zeros)
        means = (state["square_avg"].numpy(), state["acc_delta"].numpy())
        settings = (group["lr"], group["rho"], group["eps"], group["weight_decay"], torch.get_num_threads())
        _core.adadelta(weight.detach().numpy(), gradient.numpy(), *means, *settings)


def _fits(values: Tensor | None) -> bool:
    return values is not None and values.is_cpu and values.dtype == torch.float32 and values.is_contiguous()
