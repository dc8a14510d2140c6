"""ImageReader: reasons why files cannot be read, and several threads."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from facetools.images import reading
from facetools.images.batches import decode_images
from facetools.images.reading import ImageError, ImageReader, try_read
from tests.images.cases import gray_png, make_archive, make_zip, reason_for


def test_files_that_cannot_be_read_are_reported_with_the_reason(tmp_path: Path) -> None:
    assert reason_for(str(tmp_path / "missing.png")) == "No such file or directory"
    assert reason_for(str(tmp_path)) == "Is a directory"


def test_empty_images_are_reported(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert reason_for(str(tmp_path / "empty.jpg")) == "the file is empty"
    assert reason_for(f"{make_zip(tmp_path / 'f.zip', {'empty.jpg': b''})}/empty.jpg") == "the file is empty"


def test_a_file_name_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    try:
        Path(path).write_bytes(gray_png(1))
    except OSError:
        pytest.skip("this file system accepts only UTF-8 names")
    assert reason_for(path) == "the file name is not UTF-8"


def test_threads_share_a_reader(tmp_path: Path) -> None:
    members = {f"{number}.png": gray_png(number) for number in range(40)}
    archives = [make_archive(tmp_path / name, members) for name in ("a.zip", "b.tar", "c.tar.gz")]
    paths = [f"{archive}/{name}" for name in members for archive in archives]
    results = list(decode_images(paths, None, jobs=8))
    assert [path for path, _ in results] == paths
    assert [int(pixels[0, 0, 0]) for _, pixels in results] == [row // 3 for row in range(120)]


def test_names_that_no_file_can_have_are_reported() -> None:
    assert reason_for("a\0b.png") == "the file name contains a NUL"
    assert reason_for("x" * 300) == "File name too long"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_errors_of_the_file_system_cost_only_their_image(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(tmp_path / f"{n}.png") for n in range(3)]
    for path in paths:
        Path(path).write_bytes(gray_png(1))
    pread, open_file = os.pread, Path.open

    def fail(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "1.png":
            raise OSError(number, os.strerror(number), str(path))
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", fail)
    with ImageReader() as reader:
        results = [try_read(reader, path) for path in paths]
    assert [str(result) for result in results if isinstance(result, ImageError)] == [os.strerror(number)]

    def fail_to_read(descriptor: int, size: int, offset: int) -> bytes:
        if offset > 0:
            raise OSError(number, os.strerror(number))
        return pread(descriptor, size, offset)

    archive = make_archive(tmp_path / "f.tar", {"1.png": gray_png(1)})
    monkeypatch.setattr(os, "pread", fail_to_read)
    assert reason_for(f"{archive}/1.png") == os.strerror(number)


def test_huge_files_and_endless_devices_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.png").open("wb") as stream:
        stream.truncate(2**40)  # takes no space
    assert reason_for(str(tmp_path / "a.png")) == "the file is larger than 1 GiB"
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 2**22)
    assert reason_for("/dev/zero").startswith("the file is larger than")
