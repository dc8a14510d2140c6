"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import faiss

from facetools import codes, memory


def machine() -> dict[str, Any]:
    """Hardware and versions, as plain values."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    gpus = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    return {
        "processor": next(names, platform.processor()),
        "threads": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory.available() / 1e9, 1),
        "simd": codes.simd(),
        "gpus": gpus,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
    }


PACKAGES = (
    *("facetools", "numpy", "scipy", "scikit-learn", "faiss-gpu", "faiss-cpu"),
    *("torch", "torchvision", "onnxruntime"),
)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
