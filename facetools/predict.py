"""Scores of images from a checkpoint, by what computes them fastest here.

That is torch on GPUs and on CPUs that multiply in bfloat16. On other CPUs, and for FEW images, it is ONNX Runtime, if
the backbone is MobileNetV2: benchmarks/throughput.py has the ratio. torch is then not even imported, for which one face
would wait.
Threads of a CPU take each its own batch, from bytes to scores: to share one they would wait for each other at every
layer, and for those that decode. A GPU also decodes JPEGs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from facetools import checkpoint, hardware, images, memory
from facetools.architecture import ModelConfig

if TYPE_CHECKING:
    import torch

#: Pixels of the images that a CPU computes at a time: the layers of more do not stay in its caches.
TOGETHER = 8 * 224**2

#: Images that the CPU has scored before torch is imported.
FEW = 64

#: Images whose scores decide whether bfloat16 is near enough.
PROBES = 16

T = TypeVar("T")


class Predictor(Protocol):
    """The network of a checkpoint, ready to score images, and what else the checkpoint holds."""

    config: ModelConfig
    parts: dict[str, Any]
    #: Whether it computes on the CPU: then threads may score at the same time, each by itself.
    on_cpu: bool
    #: How many images `settle` looks at; 0 where there is nothing to decide.
    probes: int

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The scores, float32 (n, attributes), of `images`, uint8 (n, height, width, 3)."""

    def settle(self, images: np.ndarray) -> None:
        """Decides by `images` how roughly all are computed; until then in float32."""


def predictor(
    path: Path, device: str = "auto", *, images: int | None = None, number: int = 0, bfloat16: bool | None = None
) -> Predictor:
    """The network of the checkpoint in a file, on the `device` of model.choose_device, for so many `images` if that is
    known; `number` is that of the process on its machine.

    `bfloat16` None takes it where the hardware has it and `settle` finds that it moves scores by less than 0.02, for
    more than FEW images. A CheckpointError if the file holds no such network, a ValueError if there is no such device.
    """
    few = images is not None and images <= FEW
    on_cpu = device == "cpu" or (device == "auto" and (few or not hardware.gpus()))
    if on_cpu and not (hardware.cpu_has_bfloat16() and not few if bfloat16 is None else bfloat16):
        found = checkpoint.read(path)
        if found.config.backbone == "mobilenet_v2":
            return _Onnx(found)
    from facetools import model

    chosen = model.choose_device(device, number)
    return (_Cpu if chosen.type == "cpu" else _Gpu)(path, chosen, bfloat16)


def settle(network: Predictor, paths: Sequence[str], *, jobs: int) -> None:
    """Decides by the first of the `paths`, read in `jobs` threads, how roughly all are computed, wherever that is."""
    first, size = paths[: network.probes], network.config.image_size
    for _, pixels in images.batches(first, size, PROBES, jobs=jobs, failed=lambda path, reason: None):
        network.settle(pixels)


def scored(
    network: Predictor, paths: Sequence[str], rows: int, *, jobs: int, failed: Callable[[str, str], None]
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Batches of `rows` of the `paths`, in their order: paths and scores, float32 (n, attributes).

    `jobs` threads of the CPU read, decode and, where there is no GPU, score. An image that cannot be had is missing
    from its batch and told to `failed` by its path and the reason.
    """
    if isinstance(network, _Gpu):
        yield from network.scored(paths, rows, jobs=jobs, failed=failed)
    else:
        size = network.config.image_size
        yield from images.computed(paths, size, rows, network.scores, jobs=jobs, failed=failed)


class _Onnx:
    on_cpu = True
    probes = 0

    def __init__(self, found: checkpoint.Checkpoint) -> None:
        import onnxruntime

        from facetools.graph import graph

        memory.keep_freed()
        self.config, self.parts = found.config, found.parts
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        content = graph(found).SerializeToString()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def scores(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([self._session.run(None, {"pixels": part})[0] for part in _parts(images)])

    def settle(self, images: np.ndarray) -> None: ...


class _Torch:
    def __init__(self, path: Path, device: torch.device, bfloat16: bool | None) -> None:
        from facetools import model

        memory.keep_freed()
        self._device = device
        network, self.parts = model.load_checkpoint(path)
        self.config, self.on_cpu = network.config, device.type == "cpu"
        self._model, self._bfloat16 = model.ready(network, device), bool(bfloat16)
        self.probes = PROBES if bfloat16 is None and model.has_bfloat16(device) else 0

    def settle(self, images: np.ndarray) -> None:
        from facetools import model

        if self.probes:
            pixels = model.to_pixels(images[: self.probes], self._device)
            self._bfloat16 = model.bfloat16_agrees(self._model, pixels)


class _Cpu(_Torch):
    def scores(self, images: np.ndarray) -> np.ndarray:
        from facetools import model

        with model.in_one_thread():
            pixels = (model.to_pixels(part, self._device) for part in _parts(images))
            return np.concatenate([model.scores(self._model, part, self._bfloat16) for part in pixels])


class _Gpu(_Torch):
    def __init__(self, path: Path, device: torch.device, bfloat16: bool | None) -> None:
        from facetools import gpu, model

        super().__init__(path, device, bfloat16)
        self._replayed = gpu.Replayed(lambda pixels: model.probabilities(self._model, pixels, self._bfloat16), device)

    def scores(self, images: np.ndarray) -> np.ndarray:
        from facetools import model

        ((_, scores),) = self.scores_of([(None, model.to_pixels(images, self._device))])
        return scores

    def scores_of(self, batches: Iterable[tuple[T, torch.Tensor]]) -> Iterator[tuple[T, np.ndarray]]:
        """What comes with batches of pixels, float (n, 3, height, width), 0 to 255, on the GPU, and their scores. A
        batch is asked for, and computed, while the scores of the one before are waited for."""
        from facetools import gpu

        begun: deque[tuple[T, Callable[[], np.ndarray]]] = deque()
        for about, pixels in batches:
            begun.append((about, gpu.download(self._replayed(pixels))))
            if len(begun) > 1:
                about, wait = begun.popleft()
                yield about, wait()
        for about, wait in begun:
            yield about, wait()

    def scored(
        self, paths: Sequence[str], rows: int, *, jobs: int, failed: Callable[[str, str], None]
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """As the function."""
        from facetools import nvjpeg

        size, device = self.config.image_size, self._device
        return self.scores_of(nvjpeg.batches(paths, size, rows, device=device, jobs=jobs, failed=failed))


def _parts(images: np.ndarray) -> Iterator[np.ndarray]:
    """`images` in parts of about so many pixels as are computed together; one empty part of none."""
    some = max(4, TOGETHER // math.prod(images.shape[1:3]))
    return (images[start : start + some] for start in range(0, max(1, len(images)), some))
