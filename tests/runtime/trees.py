"""File systems with control groups, as they look to a process in a container or a batch job."""

from __future__ import annotations

from pathlib import Path

#: Version 2: the group of the process is /job/step.
V2 = {
    "proc/self/cgroup": "0::/job/step\n",
    "proc/self/mountinfo": "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
}

#: Version 1 in a container that sees its path outside, /docker/box, of which only its group is mounted.
V1 = {
    "proc/self/cgroup": "4:memory:/docker/box\n2:cpu,cpuacct:/docker/box\n1:name=systemd:/docker/box\n0::/\n",
    "proc/self/mountinfo": (
        "32 31 0:29 /docker/box /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
        "35 31 0:32 /docker /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
        "36 31 0:33 /docker/box /sys/fs/cgroup/systemd ro - cgroup cgroup rw,name=systemd\n"
    ),
}


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Write `files` (path below the root folder: content) and return the root folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root
