"""The machine that a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from facetools.clustering import codes
from facetools.runtime import hardware, memory


def machine() -> dict[str, Any]:
    """Hardware and versions, as plain values."""
    return {
        "processor": hardware.processor_name(),
        "threads": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory.available() / 1e9, 1),
        "simd": codes.simd(),
        "gpus": _gpus(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _gpus() -> list[str]:
    if not hardware.gpu_count():
        return []
    from torch import cuda

    return [cuda.get_device_name(number) for number in range(cuda.device_count())]


PACKAGES = (
    *("facetools", "numpy", "scipy", "scikit-learn", "faiss-gpu", "faiss-cpu", "stepmix"),
    *("torch", "torchvision", "onnxruntime"),
)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
