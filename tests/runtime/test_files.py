"""Files that are complete or absent; the memory that may still be used."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetools.runtime import files, memory


@pytest.mark.parametrize("old", [None, b"old"])
def test_the_new_content_is_there_only_when_complete(old: bytes | None, tmp_path: Path) -> None:
    target = tmp_path / "table.npy"
    if old is not None:
        target.write_bytes(old)
    with files.atomic_writer(target) as stream:
        stream.write(b"new")
        stream.flush()
        assert (target.read_bytes() if target.exists() else None) == old
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["table.npy"]


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_leaves_what_was_there(old: bytes | None, stop: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "table.npy"
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(stop), files.atomic_writer(str(target)) as stream:
        stream.write(b"half")
        raise stop
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == ({} if old is None else {"table.npy": old})


@pytest.fixture
def umask() -> Iterator[int]:
    mask = 0o027
    before = os.umask(mask)
    yield mask
    os.umask(before)


def test_permissions_follow_the_umask(umask: int, tmp_path: Path) -> None:
    files.write_atomically(tmp_path / "new", b"x")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o666 & ~umask


def test_a_device_is_written_to_as_it_is() -> None:
    files.write_atomically("/dev/null", b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_named_pipe_is_written_to_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_atomically(pipe, b"through")
        assert os.read(reading, 100) == b"through"
    finally:
        os.close(reading)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written(there: bool, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    if there:
        target.write_bytes(b"old")
    link.symlink_to(target)
    files.write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("path", ["missing/out.npy", "file/out.npy", "folder"])
def test_a_place_that_cannot_be_written_is_named(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    target = tmp_path / path
    with pytest.raises(OSError, match=re.escape(str(target))) as caught, files.atomic_writer(target):
        pytest.fail("nothing can be written")
    assert caught.value.filename == str(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=re.escape(str(tmp_path / "out"))):
        files.write_atomically(tmp_path / "out", b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_fails() -> None:
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically("/dev/full", b"x")


def test_make_folder(tmp_path: Path) -> None:
    for _ in range(2):
        assert files.make_folder(str(tmp_path / "a" / "b")).is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file"):
        files.make_folder(tmp_path / "file")


def test_the_memory_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
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
    # A batch system's limit is on the group of the job, above the one the process is in.
    lines |= {"/proc/self/cgroup": ["0::/job_7/step_0"], "/sys/fs/cgroup/job_7/memory.max": ["1000000"]}
    lines["/sys/fs/cgroup/job_7/memory.current"] = ["400000"]
    assert memory.available() == 600000


def test_the_peak_is_in_bytes_and_remembers() -> None:
    taken = "block = b'x' * 200_000_000; del block"
    program = f"from facetools.runtime import memory; {taken}; print(memory.peak())"
    peak = int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)
    # Linux hands the peak of the process that starts a program on to it, so there is no sharp upper bound.
    assert 200_000_000 < peak < 100_000_000_000
