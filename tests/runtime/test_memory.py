"""Available and peak memory."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from facetools.runtime import memory
from tests.runtime.trees import V1, V2, write_tree

MEMORY = {"proc/meminfo": "MemTotal: 4000 kB\nMemAvailable: 3000 kB\n"}


def test_available_memory_is_that_of_the_machine_or_less_within_control_groups(tmp_path: Path) -> None:
    assert memory.available(write_tree(tmp_path, MEMORY)) == 3000 * 1024
    write_tree(tmp_path, V2 | {"sys/fs/cgroup/job/memory.max": "2000000", "sys/fs/cgroup/job/memory.current": "500000"})
    assert memory.available(tmp_path) == 1500000


@pytest.mark.parametrize(
    ("statistics", "used", "expected"),
    [
        ("anon 7\nactive_file 30000\ninactive_file 70000\n", "500000", 1600000),
        ("inactive_file 100000\n", "2500000", 0),
        ("inactive_file 900000\n", "500000", 2000000),
    ],
)
def test_cached_files_are_available(tmp_path: Path, statistics: str, used: str, expected: int) -> None:
    group = {"memory.max": "2000000", "memory.current": used, "memory.stat": statistics}
    write_tree(tmp_path, MEMORY | V2 | {f"sys/fs/cgroup/job/{name}": text for name, text in group.items()})
    assert memory.available(tmp_path) == expected


def test_version_1_counts_the_groups_below(tmp_path: Path) -> None:
    group = {
        "memory.limit_in_bytes": "2000000",
        "memory.usage_in_bytes": "500000",
        "memory.stat": "inactive_file 1\ntotal_inactive_file 100000\ntotal_active_file 100000\n",
    }
    write_tree(tmp_path, MEMORY | V1 | {f"sys/fs/cgroup/memory/box/{name}": text for name, text in group.items()})
    assert memory.available(tmp_path) == 1700000


def test_a_limit_of_the_process_bounds_available_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, MEMORY | {"proc/self/status": "Name: python\nVmSize:\t  1000 kB\nVmData:\t  10 kB\n"})
    limits = {resource.RLIMIT_AS: 2048000, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    assert memory.available(tmp_path) == 1000 * 1024
    limits[resource.RLIMIT_DATA] = 20 * 1024
    assert memory.available(tmp_path) == 10 * 1024
    limits[resource.RLIMIT_AS] = 1
    assert memory.available(tmp_path) == 0


def test_peak_memory_includes_freed_memory() -> None:
    allocate_and_free = "block = b'x' * 200_000_000; del block"
    program = f"from facetools.runtime import memory; {allocate_and_free}; print(memory.peak())"
    peak = int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
    # A process inherits the peak of the one that starts it on Linux, so the upper bound is loose.
    assert 200_000_000 < peak < 100_000_000_000
