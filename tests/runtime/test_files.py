"""Atomic files: complete or absent, and where they cannot be written."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetools.runtime import files


@pytest.mark.parametrize("old", [None, b"old"])
def test_new_content_appears_only_when_complete(old: bytes | None, tmp_path: Path) -> None:
    target = tmp_path / "table.npy"
    if old is not None:
        target.write_bytes(old)
    with files.atomic_writer(target) as stream:
        stream.write(b"new")
        stream.flush()
        assert (target.read_bytes() if target.exists() else None) == old
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["table.npy"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_keeps_the_old_content(old: bytes | None, error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "table.npy"
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(error), files.atomic_writer(str(target)) as stream:
        stream.write(b"half")
        raise error
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


def test_a_device_is_not_replaced() -> None:
    files.write_atomically("/dev/null", b"x")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_named_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read_end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_atomically(pipe, b"through")
        assert os.read(read_end, 100) == b"through"
    finally:
        os.close(read_end)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("target_exists", [True, False])
def test_a_link_stays_and_its_target_is_replaced(target_exists: bool, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    if target_exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    files.write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("path", ["missing/out.npy", "file/out.npy", "folder"])
def test_an_error_names_the_path_that_cannot_be_written(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    target = tmp_path / path
    with pytest.raises(OSError, match=re.escape(str(target))) as caught, files.atomic_writer(target):
        pytest.fail("the file was opened")
    assert caught.value.filename == str(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_error_names_a_file_in_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=re.escape(str(tmp_path / "out"))):
        files.write_atomically(tmp_path / "out", b"x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_raises_an_error() -> None:
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically("/dev/full", b"x")


def test_make_folder_creates_missing_parents(tmp_path: Path) -> None:
    for _ in range(2):
        assert files.make_folder(str(tmp_path / "a" / "b")).is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="file"):
        files.make_folder(tmp_path / "file")


def test_a_replaced_file_keeps_its_permissions(umask: int, tmp_path: Path) -> None:
    target = tmp_path / "shared"
    target.touch()
    target.chmod(0o664)
    files.write_atomically(target, b"x")
    assert stat.S_IMODE(target.stat().st_mode) == 0o664


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_write_protected_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "protected").touch(0o444)
    with pytest.raises(PermissionError, match="protected"):
        files.write_atomically(tmp_path / "protected", b"x")


def test_names_may_have_the_full_length(tmp_path: Path) -> None:
    name = "é" * 127 + "x"
    assert len(name.encode()) == 255
    files.write_atomically(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(OSError, match="File name too long"):
        files.write_atomically(tmp_path / f"{name}y", b"x")


def test_a_loop_of_links_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        files.write_atomically(tmp_path / "loop", b"x")
    assert (tmp_path / "loop").is_symlink()


@pytest.mark.parametrize(("owner", "operation"), [(os, "fsync"), (Path, "replace"), (files.OutputFile, "close")])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_when_the_file_is_completed_names_it_and_leaves_nothing(
    owner: object, operation: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(first: object, *others: object) -> None:
        if isinstance(first, io.FileIO):
            if first.closed:
                return
            io.FileIO.close(first)
        raise OSError(number, os.strerror(number))

    target = tmp_path / "out"
    with monkeypatch.context() as patches:
        patches.setattr(owner, operation, fail)
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            files.write_atomically(target, b"x")
    assert caught.value.filename == str(target)
    assert caught.value.errno == number
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [10, 10**6])
def test_an_error_while_writing_names_the_file_and_leaves_nothing(size: int, tmp_path: Path) -> None:
    script = f"""
import resource
from facetools.runtime import files
resource.setrlimit(resource.RLIMIT_FSIZE, (5, 5))
try:
    files.write_atomically("out", b"x" * {size})
except OSError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, timeout=60)
    assert done.stdout == f"[Errno {errno.EFBIG}] File too large: 'out'\n".encode()
    assert done.stderr == b""
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from facetools.runtime import files
with files.atomic_writer(sys.argv[1]) as stream:
    stream.write(b"x" * 10**6)
    print("writing", flush=True)
    if sys.argv[2] == "wait":
        sys.stdin.read()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_temporary_files_of_dead_runs_are_removed_and_those_of_live_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_cleaned_folders", set())
    line = [sys.executable, "-c", KILLED, str(tmp_path / "out")]
    assert subprocess.run([*line, "die"], stdout=subprocess.DEVNULL, timeout=60).returncode == -signal.SIGKILL
    (dead,) = tmp_path.iterdir()
    unrelated = [tmp_path / name for name in (".out.1234.part", ".out.part", "out.part", ".x.facetools-1.part")]
    for path in unrelated:
        path.touch()
    with subprocess.Popen([*line, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not dead.exists()  # the run that is waiting has removed it
        (alive,) = set(tmp_path.iterdir()) - set(unrelated)
        files.write_atomically(tmp_path / "other", b"other")
        files.write_atomically(tmp_path / "out", b"first")
        assert set(tmp_path.iterdir()) == {alive, tmp_path / "other", tmp_path / "out", *unrelated}
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "out").read_bytes() == b"x" * 10**6  # the last one wins
    assert not alive.exists()


def test_a_temporary_file_of_another_machine_is_removed_after_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_cleaned_folders", set())
    foreign = tmp_path / ".out.facetools-00000000-0123456789abcdef.part"
    foreign.touch()
    files.remove_dead_partials(tmp_path)
    assert foreign.exists()
    os.utime(foreign, (0, 0))
    files.write_atomically(tmp_path / "out", b"x")
    assert not foreign.exists()
