"""Muon (Jordan, Jin, Boza, You, Cesista, Newhouse and Bernstein 2024): steps that go equally far in all directions.

Of the momentum of a hidden layer, as a matrix U S V', the step keeps U V': what many faces ask for does not drown what
few ask for. From random weights it comes as far as AdamW in half of the epochs (benchmarks/recipes.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from facetools.model import in_one_thread
from facetools.products import times

#: Coefficients of the iteration, chosen to rise fast from 0 (Jordan et al.); singular values end near 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)

MOMENTUM = 0.95

#: Streams of a GPU on which matrices are turned.
STREAMS = 8

#: The root of the mean square of a step, in learning rates; AdamW's is usually 0.2 to 0.4 (Liu et al. 2025).
REACH = 0.4


class Muon(torch.optim.AdamW):
    """AdamW, but that each of `matrices`, (outputs, ...) with the rest as one side, takes orthogonal steps, with the
    same learning rate, which may be a tensor, and weight decay."""

    def __init__(
        self, groups: list[dict[str, Any]], matrices: Iterable[Tensor], lr: float, capturable: bool = False
    ) -> None:
        super().__init__(groups, lr=lr, fused=True, capturable=capturable)
        self._matrices = set(matrices)
        devices = {matrix.device for matrix in self._matrices if matrix.is_cuda}
        self._streams = [torch.cuda.Stream(device) for device in devices for _ in range(STREAMS)]

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Makes one step; the gradients of the matrices are used up by it."""
        loss = closure() if closure is not None else None
        given = [(weight, group) for group in self.param_groups for weight in group["params"]]
        turned = [(weight, group) for weight, group in given if weight in self._matrices and weight.grad is not None]
        turned.sort(key=lambda turn: -turn[0].numel())
        if turned and turned[0][0].device.type == "cpu":
            # Each by one thread: most are so small that threads which share one wait for each other.
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                list(pool.map(self._turn_alone, *zip(*turned, strict=True)))
        elif turned:
            self._turn_at_once(turned)
        for weight, _ in turned:
            weight.grad = None  # so that AdamW passes over it
        super().step()
        return loss

    def _turn_alone(self, weight: Tensor, group: dict[str, Any]) -> None:
        with in_one_thread():
            self._turn(weight, group)

    def _turn_at_once(self, turned: list[tuple[Tensor, dict[str, Any]]]) -> None:
        """On several streams, since none of the matrices fills a GPU."""
        current = torch.cuda.current_stream(turned[0][0].device)
        for number, stream in enumerate(self._streams):
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                for weight, group in turned[number::STREAMS]:
                    self._turn(weight, group)
        for stream in self._streams:
            current.wait_stream(stream)

    @torch.no_grad()
    def _turn(self, weight: Tensor, group: dict[str, Any]) -> None:
        gradient, rate, decay = weight.grad, group["lr"], group["weight_decay"]
        assert gradient is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # for which AdamW looks when a state is loaded
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        direction = gradient.lerp(state["momentum"], MOMENTUM)
        step = orthogonal(direction.reshape(len(weight), -1)).reshape(weight.shape)
        reach = REACH * max(len(weight), weight[0].numel()) ** 0.5
        weight.mul_(1 - rate * decay).sub_(step.mul_(rate * reach))


def orthogonal(matrix: Tensor, iterations: int = 5) -> Tensor:
    """About U V' of a `matrix` U S V', float (m, n), by a Newton-Schulz iteration of the fifth order.

    Each iteration multiplies X by a I + b G + c G G with G = X X'. All of that is in powers of the first G, which are
    multiplied among themselves, and X once: less to compute, the longer one side is than the other.
    """
    matrix = matrix / (matrix.norm() + 1e-7)
    tall = matrix.shape[0] > matrix.shape[1]
    square = times(matrix, matrix, turned_a=tall, turned_b=not tall)
    product = factor = _polynomial(square)
    for _ in range(iterations - 1):
        square = times(times(factor, square), factor)
        factor = _polynomial(square)
        product = times(factor, product)
    return times(matrix, product) if tall else times(product, matrix)


def _polynomial(square: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    found = times(square, square).mul_(c).add_(square, alpha=b)
    found.diagonal().add_(a)
    return found
