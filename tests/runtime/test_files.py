"""Atomic files: complete or absent, and where they cannot be written."""

from __future__ import annotations

import os
import re
import stat
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
