"""Scores of images from a checkpoint, by what computes them fastest here.

That is torch on GPUs and on CPUs that multiply in bfloat16. On other CPUs it is ONNX Runtime, if the backbone is
MobileNetV2: benchmarks/throughput.py has the ratio. torch is then not even imported, for which one face would wait.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from facetools import checkpoint, hardware, memory
from facetools.architecture import ModelConfig

#: Pixels of the images that ONNX Runtime computes at a time: more take memory and gain nothing.
TOGETHER = 2**17

#: Images whose scores decide whether bfloat16 is near enough.
PROBES = 16


class Predictor(Protocol):
    """The network of a checkpoint, ready to score images, and what else the checkpoint holds."""

    config: ModelConfig
    parts: dict[str, Any]

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The scores, float32 (n, attributes), of `images`, uint8 (n, height, width, 3)."""

    def settle(self, images: np.ndarray) -> None:
        """Decides by `images` how roughly all are computed; else the first ones that are scored decide."""


def predictor(
    path: Path, device: str = "auto", *, number: int = 0, threads: int = 1, bfloat16: bool | None = None
) -> Predictor:
    """The network of the checkpoint in a file, on the `device` of model.choose_device (`number` is that of the process
    on its machine) or in so many `threads` of the CPU.

    `bfloat16` None takes it where the hardware has it and it moves the scores of the first images by less than 0.01. A
    CheckpointError if the file holds no such network, a ValueError if there is no such device.
    """
    on_cpu = device == "cpu" or (device == "auto" and not hardware.gpus())
    if on_cpu and not (hardware.cpu_has_bfloat16() if bfloat16 is None else bfloat16):
        found = checkpoint.read(path)
        if found.config.backbone == "mobilenet_v2":
            return _Onnx(found, threads)
    return _Torch(path, device, number, threads, bfloat16)


class _Onnx:
    def __init__(self, found: checkpoint.Checkpoint, threads: int) -> None:
        import onnxruntime

        from facetools.graph import graph

        memory.keep_freed()
        self.config, self.parts = found.config, found.parts
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that wait for work would keep those that decode images from theirs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        content = graph(found).SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def scores(self, images: np.ndarray) -> np.ndarray:
        height, width = self.config.image_size
        some = max(4, TOGETHER // (height * width))
        parts = [images[start : start + some] for start in range(0, max(1, len(images)), some)]
        return np.concatenate([self._session.run(None, {"pixels": part})[0] for part in parts])

    def settle(self, images: np.ndarray) -> None: ...


class _Torch:
    def __init__(self, path: Path, device: str, number: int, threads: int, bfloat16: bool | None) -> None:
        from facetools import model

        model.use_threads(threads)
        self._device = model.choose_device(device, number)
        network, self.parts = model.load_checkpoint(path)
        self.config = network.config
        self._model, self._bfloat16 = model.ready(network, self._device), bfloat16

    def settle(self, images: np.ndarray) -> None:
        from facetools import model

        if self._bfloat16 is None:
            pixels = model.to_pixels(images[:PROBES], self._device)
            self._bfloat16 = model.has_bfloat16(self._device) and model.bfloat16_agrees(self._model, pixels)

    def scores(self, images: np.ndarray) -> np.ndarray:
        from facetools import model

        self.settle(images)
        return model.scores(self._model, model.to_pixels(images, self._device), bool(self._bfloat16))
