"""CUDA graphs for repeated computations, and copies between host and GPU that do not block.

A small network launches hundreds of kernels of a few microseconds each, and launching one takes the CPU longer than
the GPU needs to compute it. `GraphedFunction` captures them as one CUDA graph and replays it with a single launch.
`upload` and `download` queue copies on the GPU's current stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

#: Calls per input signature before a graph is captured: libraries select their algorithms during the first calls.
EAGER_CALLS = 2


def upload(array: np.ndarray, device: torch.device) -> Tensor:
    """`array` as a tensor on `device`. The copy to a GPU is queued on its current stream and does not block."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def download(tensor: Tensor) -> Callable[[], np.ndarray]:
    """Queue a copy of `tensor` from its GPU to host memory; return a function that waits for it and returns the array.

    The host memory is pinned and the event blocks instead of spinning, so that other threads can launch work while the
    copy is in progress.
    """
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    done = torch.cuda.Event(blocking=True)
    done.record(torch.cuda.current_stream(tensor.device))

    def wait() -> np.ndarray:
        done.synchronize()
        return copy.numpy().copy()

    return wait


def use_cuda_graphs(function: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    """`function` as a GraphedFunction if `device` is a GPU, otherwise unchanged."""
    return GraphedFunction(function, device) if device.type == "cuda" else function


class GraphedFunction:
    """A function from tensors to a tensor that is captured as a CUDA graph and replayed.

    It captures one graph per input signature (shapes, strides and dtypes), after EAGER_CALLS ordinary calls. The
    returned tensor is overwritten by the next call. In-place updates of other tensors are repeated by every replay.
    Python code runs only during the capture, so a number that changes between calls must be a tensor.
    """

    def __init__(self, function: Callable[..., Tensor], device: torch.device) -> None:
        self._function, self._device = function, device
        self._calls: Counter[tuple[object, ...]] = Counter()
        self._graphs: dict[tuple[object, ...], _CapturedCall] = {}
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, *inputs: Tensor) -> Tensor:
        with torch.cuda.device(self._device):
            return self._call(inputs)

    def _call(self, inputs: tuple[Tensor, ...]) -> Tensor:
        signature = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in inputs)
        self._calls[signature] += 1
        if self._calls[signature] <= EAGER_CALLS:
            # On the capture stream, because autograd's accumulation nodes remember the stream of their creation.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                output = self._function(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return output
        if signature not in self._graphs:
            self._graphs[signature] = _CapturedCall(self._function, inputs, self._stream, self._pool)
        return self._graphs[signature](inputs)


class _CapturedCall:
    """A CUDA graph of one call, with its input and output tensors, whose addresses are fixed."""

    def __init__(
        self,
        function: Callable[..., Tensor],
        inputs: tuple[Tensor, ...],
        stream: torch.cuda.Stream,
        pool: Any,
    ) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may allocate GPU memory during the capture; the default error mode forbids that.
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._output = function(*self._inputs)

    def __call__(self, inputs: tuple[Tensor, ...]) -> Tensor:
        for static_input, tensor in zip(self._inputs, inputs, strict=True):
            static_input.copy_(tensor)
        self._graph.replay()
        return self._output
