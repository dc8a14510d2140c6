"""What this machine computes with: CPUs, GPUs, bfloat16 and torch devices.

Functions that answer about torch import it; the others answer without.
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from facetools.runtime import cgroups, extras, memory

if TYPE_CHECKING:
    import torch


def usable_cpus(root: Path = cgroups.ROOT) -> int:
    """The number of CPUs for this process: SLURM_CPUS_PER_TASK, else its share of the CPUs that it may use, which
    other processes that torchrun started on this machine use too. A container's quota of CPU time limits both.

    `root` is the root folder of the file system.
    """
    quota = cgroups.cpu_quota(root)
    limit = sys.maxsize if quota is None else max(1, math.ceil(quota))
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit() and int(slurm) > 0:
        return min(int(slurm), limit)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    share = max(1, int(processes)) if processes.isdigit() else 1
    return max(1, min(cpus, limit) // share)


def processor_name() -> str:
    """The model name of the CPU."""
    names = (line.partition(":")[2].strip() for line in _cpuinfo().splitlines() if line.startswith("model name"))
    return next(names, platform.processor())


@functools.cache
def cpu_supports_bfloat16() -> bool:
    """Whether the CPU multiplies in bfloat16, according to Linux."""
    return bool(re.search(r"^flags\s*:.*\b(avx512_bf16|amx_bf16)\b", _cpuinfo(), re.MULTILINE))


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


@functools.cache
def gpu_count() -> int:
    """The number of GPUs that the CUDA driver shows this process; 0 without a driver. Does not import torch."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def uses_gpu(device: str) -> bool:
    """Whether `device` (auto, cpu, cuda or cuda:N) means a GPU; `auto` takes one if torch is installed."""
    return device.startswith("cuda") or (device == "auto" and gpu_count() > 0 and extras.is_installed("torch"))


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The torch device called `auto` (CUDA if there is a GPU), `cpu`, `cuda` or `cuda:N`.

    Processes on one machine, told apart by `local_rank`, take its GPUs in turn unless N is given. Raises ValueError if
    there is no such device, MissingExtraError if torch is not installed.
    """
    extras.require("torch", f"the device {name}" if name.startswith("cuda") else "this network")
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and local_rank and torch.cuda.device_count():
        name = f"cuda:{local_rank % torch.cuda.device_count()}"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"'{name}' is no device; give auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no device {name} here: {torch.cuda.device_count()} CUDA devices are seen")
    return device


def supports_bfloat16(device: torch.device) -> bool:
    """Whether `device` computes faster in bfloat16 than in float32."""
    if device.type == "cpu":
        return cpu_supports_bfloat16()
    import torch

    return torch.cuda.get_device_capability(device) >= (8, 0)


def set_torch_threads(count: int) -> None:
    """Lets torch use `count` CPU threads, and keeps the memory that it frees."""
    import torch

    memory.keep_freed_memory()
    torch.set_num_threads(count)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within the block, torch computes in the calling thread alone."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cuda_version() -> str:
    """The version of CUDA that torch uses, or `none` without torch or GPU."""
    if not (gpu_count() and extras.is_installed("torch")):
        return "none"
    import torch

    return (torch.version.cuda or "none") if torch.cuda.is_available() else "none"
