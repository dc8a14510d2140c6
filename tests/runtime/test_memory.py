"""Available and peak memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

from facetools.runtime import memory


def test_available_memory_respects_control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"/proc/meminfo": ["MemTotal: 4000 kB", "MemAvailable: 3000 kB"]}
    monkeypatch.setattr(memory, "_lines", lambda path: lines.get(str(path), []))
    assert memory.available() == 3000 * 1024
    lines |= {"/sys/fs/cgroup/memory.max": ["2000000"], "/sys/fs/cgroup/memory.current": ["500000"]}
    assert memory.available() == 1500000
    lines["/sys/fs/cgroup/memory.stat"] = ["anon 7", "inactive_file 100000"]
    assert memory.available() == 1600000
    lines["/sys/fs/cgroup/memory.current"] = ["2500000"]
    assert memory.available() == 0
    lines["/sys/fs/cgroup/memory.max"] = ["max"]
    assert memory.available() == 3000 * 1024
    # A batch system limits the group of the job, which is a parent of the group of the process.
    lines |= {"/proc/self/cgroup": ["0::/job_7/step_0"], "/sys/fs/cgroup/job_7/memory.max": ["1000000"]}
    lines["/sys/fs/cgroup/job_7/memory.current"] = ["400000"]
    assert memory.available() == 600000


def test_peak_memory_includes_freed_memory() -> None:
    allocate_and_free = "block = b'x' * 200_000_000; del block"
    program = f"from facetools.runtime import memory; {allocate_and_free}; print(memory.peak())"
    peak = int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
    # A process inherits the peak of the one that starts it on Linux, so the upper bound is loose.
    assert 200_000_000 < peak < 100_000_000_000
