"""The number of CPUs for a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facetools.runtime.hardware import usable_cpus
from tests.runtime.trees import V1, V2, write_tree


@pytest.fixture(autouse=True)
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 16 CPUs, outside of batch jobs."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16))
    for name in ("SLURM_CPUS_PER_TASK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16),
        (V2 | {"sys/fs/cgroup/job/step/cpu.max": "max 100000"}, 16),
        (V2 | {"sys/fs/cgroup/job/step/cpu.max": "250000 100000"}, 3),
        (V2 | {"sys/fs/cgroup/job/step/cpu.max": "10000 100000"}, 1),
        (V2 | {"sys/fs/cgroup/job/step/cpu.max": "800000 100000", "sys/fs/cgroup/job/cpu.max": "400000 100000"}, 4),
        (V2 | {"sys/fs/cgroup/job/step/cpu.max": "3200000 100000"}, 16),
        # In a cgroup namespace the group of the process is the mounted one.
        (V2 | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        (V2 | {"proc/self/cgroup": "0::/../other\n", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        (V1, 16),
        (V1 | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1"}, 16),
        (
            V1
            | {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000",
            },
            3,
        ),
        ({"proc/self/cgroup": "nonsense\n\n::\n", "proc/self/mountinfo": "1 2\n - cgroup\n"}, 16),
    ],
)
def test_a_quota_of_cpu_time_limits_the_number_of_cpus(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert usable_cpus(write_tree(tmp_path, files)) == expected


def test_processes_on_one_machine_divide_its_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert usable_cpus(tmp_path) == 5
    write_tree(tmp_path, V2 | {"sys/fs/cgroup/job/cpu.max": "600000 100000"})
    assert usable_cpus(tmp_path) == 2


def test_slurm_sets_the_number_of_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "32")
    assert usable_cpus(tmp_path) == 32
    write_tree(tmp_path, V2 | {"sys/fs/cgroup/job/cpu.max": "400000 100000"})
    assert usable_cpus(tmp_path) == 4
