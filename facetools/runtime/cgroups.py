"""Control groups of this process, versions 1 and 2: how many CPUs and how much memory a container or batch job allows.

Every function takes the root folder of the file system, so that tests can use another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy: its mount point, the group that is mounted there, and the controllers (none: version 2)."""

    point: Path
    group: Path
    controllers: frozenset[str]


def cpu_quota(root: Path = ROOT) -> float | None:
    """The number of CPUs whose time this process may use; None without a limit."""
    quotas = []
    for folder, version in _groups("cpu", root):
        if version == 2:
            quota, period = ([*_read(folder / "cpu.max").split(), "", ""])[:2]
        else:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(quota) and int(period):  # "max" and "-1" are no limits
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def available_memory(root: Path = ROOT) -> int | None:
    """The number of bytes that this process may still allocate; None without a limit."""
    free = []
    for folder, version in _groups("memory", root):
        if version == 2:
            limits, usage, prefix = ["memory.max", "memory.high"], "memory.current", ""
        else:
            # Version 1 counts the groups below only in the lines total_*.
            limits, usage, prefix = ["memory.limit_in_bytes"], "memory.usage_in_bytes", "total_"
        used, statistics = _read(folder / usage), _read(folder / "memory.stat")
        if not used.isdigit():
            continue
        # Cached files count as used, but are dropped when memory runs short.
        cached = sum(map(int, re.findall(rf"^{prefix}(?:in)?active_file (\d+)$", statistics, re.MULTILINE)))
        for limit in map(_read, (folder / name for name in limits)):
            if limit.isdigit():  # not "max"
                free.append(max(0, int(limit) - max(0, int(used) - cached)))
    return min(free, default=None)


def _groups(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """The folders of this process's group for `controller` and of the groups above it, each with its version."""
    mounts = list(_mounts(root))
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        for mount in mounts:
            if (controller in mount.controllers) if controllers else not mount.controllers:
                for folder in _folders_to_root(mount, Path(group)):
                    yield root / folder.relative_to("/"), 1 if controllers else 2
                break


def _folders_to_root(mount: _Mount, group: Path) -> Iterator[Path]:
    """The folder of `group` and the folders above it, up to the mount point."""
    # Within a container, the path may be that outside of it, of which only the container's group is mounted.
    below = group.relative_to(mount.group) if group.is_relative_to(mount.group) else Path()
    folder = mount.point / below
    while folder != mount.point and ".." not in below.parts:
        yield folder
        folder = folder.parent
    yield mount.point


def _mounts(root: Path) -> Iterator[_Mount]:
    for line in _read(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, types = before.split(), after.split()
        if len(fields) > 4 and len(types) > 2 and types[0] in ("cgroup", "cgroup2"):
            controllers = types[2].split(",") if types[0] == "cgroup" else ()
            yield _Mount(Path(_unescape(fields[4])), Path(_unescape(fields[3])), frozenset(controllers))


def _unescape(path: str) -> str:
    """A path of mountinfo, where a backslash and three octal digits stand for a blank or another special character."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
