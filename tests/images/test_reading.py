"""ImageReader: reasons why files cannot be read, and several threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from facetools.images.batches import decode_images
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
