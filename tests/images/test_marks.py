"""Marks that tell the files of facetools from those of others."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools.images.decoding import decode_image
from facetools.images.marks import NO_ORIGIN, ZIP_COMMENT, add_mark, is_marked_zip, origin_of, read_mark
from facetools.images.writing import encode_image
from tests.images.cases import gradient

SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>\n'
CONTENTS = {
    "color.jpg": encode_image(gradient(20, 30, 3), ".jpg"),
    "gray.jpg": encode_image(gradient(20, 30, 1), ".jpg"),
    "color.png": encode_image(gradient(20, 30, 3), ".png"),
    "gray.png": encode_image(gradient(20, 30, 1), ".png"),
    "figure.svg": SVG,
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_mark_is_read_back_and_changes_no_pixel(name: str, tmp_path: Path) -> None:
    path, plain = tmp_path / name, CONTENTS[name]
    origin = origin_of("dir/face.jpg")
    marked = add_mark(plain, origin)
    path.write_bytes(marked)
    assert read_mark(path) == origin != NO_ORIGIN
    assert add_mark(plain) == add_mark(plain) != marked
    if name.endswith(".svg"):
        assert marked.startswith(b"<?xml") and marked.endswith(b"/>\n")
        return
    np.testing.assert_array_equal(decode_image(marked), decode_image(plain))
    with Image.open(io.BytesIO(marked)) as image:
        image.verify()


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_was_changed_is_not_marked(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    marked = add_mark(CONTENTS[name])
    changed = bytearray(marked)
    changed[-3] ^= 1
    for content in (CONTENTS[name], bytes(changed), marked + b"x", marked[:-1], b"", marked[:60]):
        path.write_bytes(content)
        assert read_mark(path) is None


def test_an_editor_that_keeps_the_comment_removes_the_mark(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png"):
        path = tmp_path / f"copy{suffix}"
        path.write_bytes(add_mark(encode_image(gradient(20, 30, 3), suffix)))
        with Image.open(path) as image:
            comment = image.info.get("comment") or image.info["Software"].encode()
            assert comment.startswith(b"facetools ")
            edited = image.rotate(180)
        edited.save(path, comment=comment)
        assert read_mark(path) is None


def test_zip_archives_are_marked_by_their_comment(tmp_path: Path) -> None:
    for comment, expected in ((ZIP_COMMENT, True), (b"", False), (b"x" + ZIP_COMMENT, False)):
        path = tmp_path / f"{len(comment)}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", b"x")
            archive.comment = comment
        assert is_marked_zip(path) == expected
    (tmp_path / "short").write_bytes(ZIP_COMMENT)
    assert not is_marked_zip(tmp_path / "short")
