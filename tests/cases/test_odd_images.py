"""Odd images that are whole are scored, truncated ones if asked for (yolov5 #916, pytorch/vision #138)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cases.faces import differing, draw_face, predict_folder
from tests.conftest import TINY, Run
from tests.images.cases import encode, gradient
from tests.images.files import rgb_profile, tiff_file


def odd_images(face: Image.Image) -> dict[str, bytes]:
    """Files that all show `face`."""
    other = Image.fromarray(gradient(109, 89))
    jpeg = encode(face, "jpeg", quality=98, subsampling=0)
    color = np.asarray(face)
    # The colors of the face in a space in which red and blue are exchanged.
    primaries = np.array([[0.14307, 0.38515, 0.43607], [0.06061, 0.71687, 0.22249], [0.71410, 0.09708, 0.01392]])
    swapped = Image.fromarray(np.ascontiguousarray(color[:, :, ::-1]))
    white = np.dstack([color, np.full(color.shape[:2], 255, np.uint8)])
    return {
        "plain.png": encode(face),
        "plain.jpg": jpeg,
        "progressive.jpg": encode(face, "jpeg", quality=98, subsampling=0, progressive=True),
        "cmyk.jpg": encode(face.convert("CMYK"), "jpeg", quality=98),
        "several.jpg": encode(face, "mpo", save_all=True, append_images=[other], quality=98, subsampling=0),
        "no-end-marker.jpg": jpeg[:-2],
        "half-end-marker.jpg": jpeg[:-1],
        "junk-before.jpg": b"\n" + jpeg,
        "junk-behind.jpg": jpeg + bytes(999),
        "animation.webp": encode(face, "webp", save_all=True, append_images=[other], lossless=True),
        "animation.png": encode(face, save_all=True, append_images=[other]),
        "alpha.png": encode(Image.fromarray(white)),
        "lab.tif": encode(face.convert("LAB"), "tiff"),
        "ycbcr.tif": encode(face.convert("YCbCr"), "tiff", compression="jpeg", quality=98),
        "planes.tif": tiff_file(color.astype(np.uint16) * 257, planar=2),
        "lossless.jp2": encode(face, "jpeg2000"),
        "lossless.avif": encode(face, "avif", quality=100, subsampling="4:4:4"),
        "targa.tga": encode(face, "tga"),
        "surface.dds": encode(face, "dds"),
        "bitmap.bmp": encode(face, "bmp"),
        "profile.png": encode(swapped, icc_profile=rgb_profile(primaries)),
    }


def test_whole_images_are_scored_and_broken_ones_named(tmp_path: Path, run: Run) -> None:
    face = draw_face()
    files = odd_images(face)
    jpeg, png = files["plain.jpg"], files["plain.png"]
    broken = {
        "cut.jpg": (jpeg[: len(jpeg) // 2], "it is truncated; --truncated accepts it"),
        "cut.png": (png[: len(png) // 2], "it is truncated; --truncated accepts it"),
        "header.jpg": (jpeg[:200], "the JPEG ends before its pixels"),
        "empty.jpg": (b"", "the file is empty"),
        "html.jpg": (b"<html>404</html>", "not an image, but HTML or XML document"),
        "text.jpg": (b"404 not found\n", "not an image, but text"),
        "damaged.png": (png[:2000] + bytes(50) + png[2050:], "cannot be decoded: broken data stream"),
        "damaged.tif": (
            encode(face, "tiff", compression="tiff_lzw")[:900],
            "the TIFF is damaged: its directory has no image size",
        ),
        "huge.pgm": (b"P5 100000 100000 255\n", "100000 x 100000 pixels exceed the limit of 268435456 pixels"),
    }
    for name, content in (files | {name: content for name, (content, _) in broken.items()}).items():
        (tmp_path / name).write_bytes(content)
    scores, messages = predict_folder(run, tmp_path, check=3)
    lines = messages.splitlines()
    assert sorted(lines[:-1]) == sorted(
        f"fa-predict: left out {tmp_path}/{name}: {reason}" for name, (_, reason) in broken.items()
    )
    assert scores.keys() == files.keys()
    # Drawn faces have sharp lines, which JPEG changes.
    lossy = {name for name in files if name.endswith(".jpg")} | {"ycbcr.tif"}
    assert differing(scores, "plain.png") <= lossy
    assert differing(scores, "plain.jpg") <= files.keys() - lossy | {"cmyk.jpg", "ycbcr.tif"}
    assert differing(scores, "plain.jpg", 0.06) == set()


def test_truncated_images_are_accepted_and_counted(tmp_path: Path, run: Run) -> None:
    faces = [draw_face(number) for number in range(4)]
    (tmp_path / "faces").mkdir()
    for number, face in enumerate(faces):
        content = encode(face, "png" if number % 2 else "jpeg")
        (tmp_path / "faces" / f"{number}.{'png' if number % 2 else 'jpg'}").write_bytes(
            content[: len(content) * 3 // 4 if number else None]
        )
    (tmp_path / "faces" / "empty.jpg").write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF")
    completed = run("predict", tmp_path / "faces", "--truncated", "--verbose", "-o", tmp_path / "scores.npy", check=3)
    lines = completed.stderr.decode().splitlines()
    assert f"fa-predict: left out {tmp_path}/faces/empty.jpg: the JPEG ends before its pixels" in lines
    assert f"fa-predict: accepted {tmp_path}/faces/1.png, whose end is missing" in lines
    assert "fa-predict: 3 truncated images were accepted" in lines
    assert len(np.load(tmp_path / "scores.npy")) == 4


@pytest.mark.parametrize("name", ["augment", "eigenface", "report", "train"])
def test_every_command_that_reads_images_accepts_truncated_ones(name: str, tmp_path: Path, run: Run) -> None:
    faces = tmp_path / "faces"
    faces.mkdir()
    for number in range(4):
        content = encode(draw_face(number))
        (faces / f"{number}.png").write_bytes(content[: len(content) // 2] if number == 2 else content)
    table = tmp_path / "table.jsonl"
    table.write_text(
        "".join(f'{{"path": "{faces}/{n}.png", "labels": {{"A": {n % 2}}}, "cluster": 0}}\n' for n in range(4))
    )
    tiny = (*TINY, "--epochs", "1", "--valid-share", "0", "--attributes", "A")
    arguments = {
        "augment": (faces, "-o", tmp_path / "out"),
        "eigenface": (table, "-o", tmp_path / "out"),
        "report": (table, "-o", tmp_path / "out.html"),
        "train": (faces, "--labels", table, *tiny, "-o", tmp_path / "out"),
    }[name]
    refused = run(name, *arguments, check=3).stderr.decode()
    assert f"left out {faces}/2.png: it is truncated; --truncated accepts it" in refused
    for output in (tmp_path / "out", tmp_path / "out.html"):
        if output.exists():
            output.rename(tmp_path / f"refused-{output.name}")
    accepted = run(name, *arguments, "--truncated").stderr.decode()
    assert f"fa-{name}: 1 truncated image was accepted" in accepted
