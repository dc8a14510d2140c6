"""Predict attribute scores with the fastest available backend.

`load_predictor` chooses the backend, `predict_images` scores image files. The rule, in this order:

1. Backbones other than MobileNetV2 need PyTorch.
2. A small job, or a machine without torch, uses ONNX Runtime on the CPU.
3. A GPU, or a CPU that multiplies in bfloat16, uses PyTorch.
4. Other CPUs use ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from facetools.images.batches import image_batches
from facetools.images.decoding import TruncatedCallback
from facetools.network.checkpoint import read_checkpoint
from facetools.prediction.backend import PROBE_IMAGES, FailureCallback, Predictor
from facetools.runtime import extras, hardware

#: Scoring up to this many images with ONNX Runtime takes less time than importing torch.
SMALL_JOB_IMAGES = 64


def load_predictor(
    path: Path, device: str = "auto", *, images: int | None = None, local_rank: int = 0, bfloat16: bool | None = None
) -> Predictor:
    """Load the network of the checkpoint `path` on a `device` as in hardware.choose_device.

    images: the number of images to score, None if unknown.
    local_rank: the rank of this process among those on its machine.
    bfloat16: whether to compute in bfloat16. None lets `choose_precision` use it for more than SMALL_JOB_IMAGES images,
        if the hardware supports it and it changes scores by less than 0.02.

    Raises CheckpointError if the file is not a checkpoint, ValueError if there is no such device, MissingExtraError if
    the network or device needs torch and it is not installed.
    """
    small_job = images is not None and images <= SMALL_JOB_IMAGES
    on_cpu = device == "cpu" or (device == "auto" and (small_job or not hardware.uses_gpu(device)))
    wants_bfloat16 = (hardware.cpu_supports_bfloat16() and not small_job) if bfloat16 is None else bfloat16
    if on_cpu and not (wants_bfloat16 and extras.is_installed("torch")):
        checkpoint = read_checkpoint(path)
        if checkpoint.config.backbone == "mobilenet_v2":
            from facetools.prediction.onnx_runtime import OnnxPredictor

            return OnnxPredictor(checkpoint)
    chosen = hardware.choose_device(device, local_rank)
    from facetools.prediction.pytorch import CpuPredictor, CudaPredictor

    return (CpuPredictor if chosen.type == "cpu" else CudaPredictor)(path, chosen, bfloat16)


def choose_precision(predictor: Predictor, paths: Sequence[str], *, jobs: int) -> None:
    """Let `predictor` choose its precision by the first of `paths`, decoded by `jobs` CPU threads.

    All processes of a job that pass the same paths make the same choice.
    """
    first, size = paths[: predictor.probe_count], predictor.config.image_size
    for _, pixels in image_batches(first, size, PROBE_IMAGES, jobs=jobs, on_failure=lambda path, reason: None):
        predictor.choose_precision(pixels)


def predict_images(
    predictor: Predictor,
    paths: Sequence[str],
    batch: int,
    *,
    jobs: int,
    on_failure: FailureCallback,
    on_truncated: TruncatedCallback | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Yield paths and scores, float32 (n, attributes), of consecutive batches of `paths`, in order.

    `jobs` threads read, decode and, without a GPU, score. An image that cannot be read or decoded is missing from its
    batch and passed to `on_failure` with the reason. Truncated images are refused, unless on_truncated(path) is to be
    called for each, in any thread.
    """
    return predictor.predict(paths, batch, jobs=jobs, on_failure=on_failure, on_truncated=on_truncated)
