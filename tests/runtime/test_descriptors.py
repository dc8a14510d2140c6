"""Outputs that name an open descriptor, and standard streams that are closed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from facetools.runtime import descriptors, files


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose writing end is inherited by programs, as the shell's are."""
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}", "/proc/{pid}/fd/{}", "{link}", "{relative}"])
def test_a_name_of_a_descriptor_is_written_through_it(name: str, pipe: tuple[int, int], tmp_path: Path) -> None:
    read_end, write_end = pipe
    (tmp_path / "first").symlink_to(f"/dev/fd/{write_end}")
    (tmp_path / "link").symlink_to("first")
    relative = os.path.relpath(tmp_path / "link")
    path = name.format(write_end, pid=os.getpid(), link=tmp_path / "link", relative=relative)
    assert descriptors.named_descriptor(path) == write_end
    files.write_atomically(path, b"through")
    assert os.read(read_end, 100) == b"through"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "link"]


@pytest.mark.parametrize("path", ["a", "5", "/dev/null", "/dev/fd", "/dev/fd/", "/dev/fd/x", "/none/fd/3", "", "loop"])
def test_other_names_are_no_descriptors(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert descriptors.named_descriptor(path) is None


@pytest.mark.parametrize(("append", "expected"), [(False, b"01new56789"), (True, b"0123456789new")])
def test_a_file_behind_a_descriptor_is_written_as_the_shell_opened_it(
    append: bool, expected: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"0123456789")
    descriptor = os.open(file, os.O_WRONLY | (os.O_APPEND if append else 0))
    os.set_inheritable(descriptor, True)
    os.lseek(descriptor, 2, os.SEEK_SET)
    inode = file.stat().st_ino
    files.write_atomically(f"/dev/fd/{descriptor}", b"new")
    os.write(descriptor, b"")  # it is still open
    os.close(descriptor)
    assert file.read_bytes() == expected
    assert file.stat().st_ino == inode


def test_a_zip_archive_can_be_appended_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"0123456789")
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.set_inheritable(descriptor, True)
    with files.atomic_writer(f"/dev/fd/{descriptor}") as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"content")
    os.close(descriptor)
    assert file.read_bytes().startswith(b"0123456789")
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.read("a") == b"content"


def test_descriptors_that_nobody_has_opened_for_writing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    own = os.open(tmp_path / "a", os.O_WRONLY)  # this process has opened it: it is closed by exec
    read_only = os.open(tmp_path / "a", os.O_RDONLY)
    os.set_inheritable(read_only, True)
    for number in (own, read_only, 9999):
        name = f"/dev/fd/{number}"
        with pytest.raises(OSError, match=f"Bad file descriptor: '{name}'"):
            files.write_atomically(name, b"x")
    os.close(own)
    os.close(read_only)
    assert (tmp_path / "a").read_bytes() == b""


def test_the_file_that_another_process_writes_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with file.open("wb") as log, subprocess.Popen(["sleep", "60"], stdout=log) as process:
        try:
            file.write_bytes(b"earlier")
            name = f"/proc/{process.pid}/fd/1"
            assert descriptors.named_descriptor(name) is None
            files.write_atomically(name, b"new")
        finally:
            process.kill()
    assert file.read_bytes() == b"earliernew"


def test_a_pipe_without_a_reader_raises_broken_pipe() -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        files.write_atomically(f"/dev/fd/{write_end}", b"x")
    os.close(write_end)


def test_a_full_non_blocking_pipe_is_waited_for() -> None:
    script = """
import os, threading, time
from facetools.runtime import files
read_end, write_end = os.pipe()
os.set_blocking(write_end, False)
os.set_inheritable(write_end, True)
received = []
def read():
    time.sleep(0.2)
    while block := os.read(read_end, 2**16):
        received.append(len(block))
thread = threading.Thread(target=read)
thread.start()
files.write_atomically(f"/dev/fd/{write_end}", b"x" * 10**6)
os.close(write_end)
thread.join()
print(sum(received))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.stdout == b"1000000\n", done.stderr.decode()


STREAMS = """
import os, sys
from facetools.runtime import descriptors
descriptors.open_standard_streams()
assert os.open("/dev/null", os.O_RDONLY) > 2
print("a message", file=sys.stderr)
print("data")
try:
    descriptors.close_stdout()
except OSError as error:
    os.write({report}, str(error).encode())
"""


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]])
def test_closed_standard_streams_are_opened_as_dev_null(closed: list[int]) -> None:
    read_end, write_end = os.pipe()
    redirections = "".join(f" {number}{'<' if number == 0 else '>'}&-" for number in closed)
    script = STREAMS.format(report=write_end)
    line = f'exec "$0" -c "$1"{redirections}'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, script], capture_output=True, pass_fds=[write_end], timeout=60
    )
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream:
        report = stream.read()
    assert done.returncode == 0
    assert done.stdout == (b"" if 1 in closed else b"data\n")
    assert done.stderr == (b"" if 2 in closed else b"a message\n")
    assert report == (b"[Errno 9] standard output is closed" if 1 in closed else b"")
