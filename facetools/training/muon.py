"""Muon (Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein 2024) for weight matrices, AdamW for other parameters.

Muon replaces the momentum of a weight matrix by the nearest orthogonal matrix, so that all directions are learned at
the same rate. torch.optim.Muon accepts 2-D parameters only; here a convolution weight (outputs, inputs, height, width)
counts as a matrix (outputs, inputs * height * width).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

#: Coefficients (a, b, c) of the Newton-Schulz iteration (Jordan et al.). Singular values end near 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


#: Decay of the moving average of gradients.
MOMENTUM = 0.95


#: CUDA streams that compute the steps of matrices in parallel. No matrix alone fills a GPU.
STREAMS = 8


#: The root mean square of an update, relative to the learning rate. AdamW's is usually 0.2 to 0.4 (Liu et al. 2025),
#: so both can share one learning rate.
UPDATE_RMS = 0.4


class Muon(torch.optim.AdamW):
    """AdamW that takes Muon steps for the parameters in `matrices`, with the same learning rate and weight decay.

    `groups` are parameter groups as for AdamW, and contain the matrices. `capturable` allows CUDA graphs.
    """

    def __init__(
        self, groups: list[dict[str, Any]], matrices: Iterable[Tensor], lr: float, capturable: bool = False
    ) -> None:
        super().__init__(groups, lr=lr, fused=True, capturable=capturable)
        self._matrices = set(matrices)
        device = next(iter(self._matrices)).device
        self._streams = [torch.cuda.Stream(device) for _ in range(STREAMS)] if device.type == "cuda" else []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Take one step. The gradients of the matrices are set to None, so that AdamW skips them."""
        loss = closure() if closure is not None else None
        pairs = [(weight, group) for group in self.param_groups for weight in group["params"]]
        pairs = [(weight, group) for weight, group in pairs if weight in self._matrices and weight.grad is not None]
        for stream in self._streams:
            stream.wait_stream(torch.cuda.current_stream())
        for number, (weight, group) in enumerate(pairs):
            # On a CPU there are no streams, and torch.cuda.stream(None) does nothing.
            with torch.cuda.stream(self._streams[number % STREAMS] if self._streams else None):
                self._step_matrix(weight, weight.grad, group["lr"], group["weight_decay"])
        for stream in self._streams:
            torch.cuda.current_stream().wait_stream(stream)
        for weight, _ in pairs:
            weight.grad = None
        super().step()
        return loss

    def _step_matrix(self, weight: Tensor, gradient: Tensor, learning_rate: float, weight_decay: float) -> None:
        """Update `weight` (outputs, ...) in place, with Nesterov momentum and decoupled weight decay."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW.load_state_dict expects it
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        direction = gradient.lerp(state["momentum"], MOMENTUM)
        update = orthogonalize(direction.reshape(len(weight), -1)).reshape(weight.shape)
        # An orthogonal m x n matrix has a root mean square of 1 / sqrt(max(m, n)).
        scale = UPDATE_RMS * max(len(weight), weight[0].numel()) ** 0.5
        weight.mul_(1 - learning_rate * weight_decay).sub_(update.mul_(learning_rate * scale))


def orthogonalize(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Approximately U V' of `matrix` = U S V', float (m, n), in O(iterations * m n min(m, n)) time.

    The Newton-Schulz iteration is X <- a X + (b G + c G G) X with G = X X', from X = matrix / |matrix|.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T  # (min(m, n), min(m, n))
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
