"""Muon (Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein 2024) for convolutions and matrices, else AdamW.

torch.optim.Muon takes 2-D parameters only; here a weight (outputs, ...) counts as a matrix (outputs, inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

#: Coefficients of the Newton-Schulz iteration (Jordan et al.); singular values end near 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


MOMENTUM = 0.95


#: CUDA streams that share the matrices.
STREAMS = 8


#: The root mean square of an update, in learning rates; AdamW's is usually 0.2 to 0.4 (Liu et al. 2025).
UPDATE_RMS = 0.4


class Muon(torch.optim.AdamW):
    """AdamW whose `matrices` take orthogonalised steps instead, with the same learning rate and weight decay."""

    def __init__(
        self, groups: list[dict[str, Any]], matrices: Iterable[Tensor], lr: float, capturable: bool = False
    ) -> None:
        super().__init__(groups, lr=lr, fused=True, capturable=capturable)
        self._matrices = set(matrices)
        device = next(iter(self._matrices)).device
        # None of the matrices fills a GPU.
        self._streams = [torch.cuda.Stream(device) for _ in range(STREAMS)] if device.type == "cuda" else []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Takes one step; the gradients of the matrices are set to None, so that AdamW skips them."""
        loss = closure() if closure is not None else None
        pairs = [(weight, group) for group in self.param_groups for weight in group["params"]]
        pairs = [(weight, group) for weight, group in pairs if weight in self._matrices and weight.grad is not None]
        for stream in self._streams:
            stream.wait_stream(torch.cuda.current_stream())
        for number, (weight, group) in enumerate(pairs):
            # torch.cuda.stream(None) does nothing.
            with torch.cuda.stream(self._streams[number % STREAMS] if self._streams else None):
                self._step_matrix(weight, weight.grad, group["lr"], group["weight_decay"])
        for stream in self._streams:
            torch.cuda.current_stream().wait_stream(stream)
        for weight, _ in pairs:
            weight.grad = None
        super().step()
        return loss

    def _step_matrix(self, weight: Tensor, gradient: Tensor, rate: float, decay: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW expects it when a state is loaded
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        direction = gradient.lerp(state["momentum"], MOMENTUM)
        update = orthogonalize(direction.reshape(len(weight), -1)).reshape(weight.shape)
        scale = UPDATE_RMS * max(len(weight), weight[0].numel()) ** 0.5
        weight.mul_(1 - rate * decay).sub_(update.mul_(rate * scale))


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """About U V' of a `matrix` U S V', float (m, n), by the Newton-Schulz iteration X <- a X + (b G + c G G) X, where
    G = X X'."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
