"""What this machine computes with, asked without torch."""

from __future__ import annotations

import ctypes
import functools
import re
from pathlib import Path


@functools.cache
def gpus() -> int:
    """How many GPUs the driver of CUDA has for this process; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


@functools.cache
def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16, as Linux tells."""
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return bool(re.search(r"^flags\s*:.*\b(avx512_bf16|amx_bf16)\b", about, re.MULTILINE))
