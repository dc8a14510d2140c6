"""What keeps a GPU busy: work that is recorded once and replayed, and input that nobody waits for.

A small network is hundreds of kernels of a few microseconds each, and to launch one takes the processor longer than the
GPU to compute it. Recorded as a CUDA graph and replayed, all of them are launched together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

#: Calls of each kind before it is recorded: libraries choose their algorithms in the first ones.
EAGER_CALLS = 2


T = TypeVar("T")


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """`array` as a tensor on `device`; a GPU does it in its turn."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def download(tensor: Tensor) -> Callable[[], np.ndarray]:
    """Has the GPU that `tensor` is on copy it to memory in its turn; what is given waits for that and gives the copy.

    Meanwhile other threads may ask the GPU for more. They could not if the copy were to memory that may be moved, and
    hardly if it were waited for in a loop.
    """
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event(blocking=True)
    done.record(torch.cuda.current_stream(tensor.device))

    def wait() -> np.ndarray:
        done.synchronize()
        return copy.numpy().copy()

    return wait


def graphed(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    """`function` as it is called most quickly on `device`: Replayed on a GPU."""
    return GraphedFunction(function, device) if device.type == "cuda" else function


class GraphedFunction:
    """`function` of tensors on `device`, a GPU, that gives a tensor: recorded for each kind of inputs (shapes and
    dtypes) that comes more than BEFORE times, and replayed for those from then on.

    What it does besides, to tensors that stay where they are, is done each time; but Python runs while it is recorded
    alone: a number that changes has to be a tensor. What is given is good until the next call.
    """

    def __init__(self, function: Callable[..., Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._recorded: dict[tuple[object, ...], _CapturedCall] = {}
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, *inputs: Tensor) -> Tensor:
        with torch.cuda.device(self._device):
            return self._called(inputs)

    def _called(self, inputs: tuple[Tensor, ...]) -> Tensor:
        kind = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in inputs)
        self._seen[kind] += 1
        if self._seen[kind] <= EAGER_CALLS:
            # On the stream of the recording, with which what backward passes keep is to agree.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                found = self._function(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return found
        if kind not in self._recorded:
            self._recorded[kind] = _CapturedCall(self._function, inputs, self._stream, self._pool)
        return self._recorded[kind](inputs)


class _CapturedCall:
    """A call with its inputs and its output, which stay in their places."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        inputs: tuple[Tensor, ...],
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        # Other threads go on meanwhile, and take memory.
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for place, given in zip(self._inputs, inputs, strict=True):
            place.copy_(given)
        self._graph.replay()
        return self._output
