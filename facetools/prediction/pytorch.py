"""Prediction with PyTorch: one batch per thread on CPUs; CUDA graphs and nvJPEG on GPUs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from facetools.images.batches import compute_batches
from facetools.images.decoding import TruncatedCallback
from facetools.network import cuda, inference, model
from facetools.prediction.backend import PROBE_IMAGES, FailureCallback, split_batch
from facetools.runtime import hardware, memory

T = TypeVar("T")


class _TorchPredictor:
    def __init__(self, path: Path, device: torch.device, bfloat16: bool | None) -> None:
        memory.keep_freed_memory()
        self._device = device
        network, self.entries = model.load_checkpoint(path)
        self.config = network.config
        self._model, self._bfloat16 = inference.prepare_for_inference(network, device), bool(bfloat16)
        self.probe_count = PROBE_IMAGES if bfloat16 is None and hardware.supports_bfloat16(device) else 0

    def choose_precision(self, images: np.ndarray) -> None:
        if self.probe_count:
            pixels = inference.upload_as_float(images[: self.probe_count], self._device)
            self._bfloat16 = inference.bfloat16_agrees(self._model, pixels)


class CpuPredictor(_TorchPredictor):
    """A checkpoint on the CPU. Each thread scores its own batch: threads that share one would wait at every layer."""

    def scores(self, images: np.ndarray) -> np.ndarray:
        with hardware.single_threaded():
            parts = (inference.upload_as_float(part, self._device) for part in split_batch(images))
            return np.concatenate([inference.predict_scores(self._model, part, self._bfloat16) for part in parts])

    def predict(
        self,
        paths: Sequence[str],
        batch: int,
        *,
        jobs: int,
        on_failure: FailureCallback,
        on_truncated: TruncatedCallback | None = None,
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        yield from compute_batches(
            paths,
            self.config.image_size,
            batch,
            self.scores,
            jobs=jobs,
            on_failure=on_failure,
            on_truncated=on_truncated,
        )


class CudaPredictor(_TorchPredictor):
    """A checkpoint on a GPU, which also decodes most JPEGs. Scores are computed by a CUDA graph per batch shape."""

    def __init__(self, path: Path, device: torch.device, bfloat16: bool | None) -> None:
        super().__init__(path, device, bfloat16)
        self._graphed = cuda.GraphedFunction(
            lambda pixels: inference.predict_probabilities(self._model, pixels, self._bfloat16), device
        )

    def scores(self, images: np.ndarray) -> np.ndarray:
        ((_, scores),) = self.score_batches([(None, inference.upload_as_float(images, self._device))])
        return scores

    def score_batches(self, batches: Iterable[tuple[T, torch.Tensor]]) -> Iterator[tuple[T, np.ndarray]]:
        """Yield (tag, scores) for each (tag, pixels) of `batches`.

        Pixels are float (n, 3, height, width), 0 to 255, on the GPU. The next batch is requested and launched while the
        scores of the current one are downloaded.
        """
        pending: deque[tuple[T, Callable[[], np.ndarray]]] = deque()
        for tag, pixels in batches:
            pending.append((tag, cuda.download(self._graphed(pixels))))
            if len(pending) > 1:
                tag, wait = pending.popleft()
                yield tag, wait()
        for tag, wait in pending:
            yield tag, wait()

    def predict(
        self,
        paths: Sequence[str],
        batch: int,
        *,
        jobs: int,
        on_failure: FailureCallback,
        on_truncated: TruncatedCallback | None = None,
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        from facetools.prediction import nvjpeg

        size, device = self.config.image_size, self._device
        yield from self.score_batches(
            nvjpeg.decode_batches(
                paths, size, batch, device=device, jobs=jobs, on_failure=on_failure, on_truncated=on_truncated
            )
        )
