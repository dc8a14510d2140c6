"""Predict attribute scores with the fastest available backend.

`load_predictor` chooses it: PyTorch on GPUs and on CPUs that multiply in bfloat16; ONNX Runtime on other CPUs, for few
images, and where torch is not installed. Other backbones than MobileNetV2 need PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from facetools.images.batches import image_batches
from facetools.network.checkpoint import read_checkpoint
from facetools.prediction.backend import PROBE_IMAGES, Failed, Predictor
from facetools.runtime import extras, hardware

#: Up to this many images are scored before torch would be imported.
FEW_IMAGES = 64


def load_predictor(
    path: Path, device: str = "auto", *, images: int | None = None, local_rank: int = 0, bfloat16: bool | None = None
) -> Predictor:
    """The network of the checkpoint in the file `path`, on a `device` as in hardware.choose_device.

    `images` is the number of images to score, where it is known; `local_rank` that of the process on its machine.
    `bfloat16` None takes bfloat16 for more than FEW_IMAGES where the hardware has it and `choose_precision` finds that
    it changes scores by less than 0.02. Raises CheckpointError if the file holds no such network, ValueError if there
    is no such device, MissingExtraError if the network or device needs torch and it is not installed.
    """
    few = images is not None and images <= FEW_IMAGES
    on_cpu = device == "cpu" or (device == "auto" and (few or not hardware.uses_gpu(device)))
    wants_bfloat16 = hardware.cpu_supports_bfloat16() and not few if bfloat16 is None else bfloat16
    if on_cpu and not (wants_bfloat16 and extras.is_installed("torch")):
        checkpoint = read_checkpoint(path)
        if checkpoint.config.backbone == "mobilenet_v2":
            from facetools.prediction.onnx_runtime import OnnxPredictor

            return OnnxPredictor(checkpoint)
    chosen = hardware.choose_device(device, local_rank)
    from facetools.prediction.pytorch import CpuPredictor, CudaPredictor

    return (CpuPredictor if chosen.type == "cpu" else CudaPredictor)(path, chosen, bfloat16)


def choose_precision(predictor: Predictor, paths: Sequence[str], *, jobs: int) -> None:
    """Lets `predictor` choose its precision from the first of `paths`, decoded by `jobs` threads on the CPU, so that
    all processes of a job choose alike."""
    first, size = paths[: predictor.probes], predictor.config.image_size
    for _, pixels in image_batches(first, size, PROBE_IMAGES, jobs=jobs, on_failure=lambda path, reason: None):
        predictor.choose_precision(pixels)


def predict_images(
    predictor: Predictor, paths: Sequence[str], batch: int, *, jobs: int, on_failure: Failed
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yields paths and scores, float32 (n, attributes), of consecutive batches of `paths`, in their order.

    `jobs` threads read, decode and, without a GPU, score. An image that cannot be read or decoded is missing from its
    batch and passed to `on_failure` with the reason.
    """
    return predictor.predict(paths, batch, jobs=jobs, on_failure=on_failure)
