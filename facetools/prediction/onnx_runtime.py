"""Prediction with ONNX Runtime on the CPU. It avoids importing torch, which takes longer than scoring a few faces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from facetools.images.batches import compute_batches
from facetools.images.decoding import TruncatedCallback
from facetools.network.checkpoint import Checkpoint
from facetools.network.onnx import build_onnx_model
from facetools.prediction.backend import FailureCallback, split_batch
from facetools.runtime import memory
from facetools.runtime.inference import create_session


class OnnxPredictor:
    """A MobileNetV2 checkpoint in one ONNX Runtime session, which all threads share. It computes in float32."""

    probe_count = 0

    def __init__(self, checkpoint: Checkpoint) -> None:
        memory.keep_freed_memory()
        self.config, self.entries = checkpoint.config, checkpoint.entries
        self._session = create_session(build_onnx_model(checkpoint).SerializeToString())

    def scores(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([self._session.run(None, {"pixels": part})[0] for part in split_batch(images)])

    def choose_precision(self, images: np.ndarray) -> None: ...

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
