"""EXIF data that is not by the book costs no image (python-pillow/Pillow #8965, #8348, #7839)."""

from __future__ import annotations

from pathlib import Path

from tests.cases.faces import differing, draw_face, predict_folder
from tests.conftest import Run
from tests.images.cases import encode
from tests.images.files import EXIF, insert_segment, png_chunk


def test_images_with_broken_exif_are_scored_without_a_word(tmp_path: Path, run: Run) -> None:
    face = draw_face()
    jpeg, png = encode(face, "jpeg", quality=98, subsampling=0), encode(face)
    upright, turned = set(), set()
    for kind, (exif, orientation) in EXIF.items():
        stem = kind.replace(" ", "-")
        contents = {
            f"{stem}.jpg": insert_segment(jpeg, 0xE1, exif),
            f"{stem}.png": png[:33] + png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")) + png[33:],
            f"{stem}.webp": encode(face, "webp", lossless=True, exif=exif),
        }
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        (turned if orientation == 6 else upright).update(contents)
    scores, messages = predict_folder(run, tmp_path)
    assert messages == ""
    assert scores.keys() == upright | turned
    assert differing(scores, "upright.jpg") == turned
    assert differing(scores, "turned.jpg") == upright
