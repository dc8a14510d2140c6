"""Whatever Pillow decodes counts as an image, and what is left out is told (facerecognition #348, deepface #862)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image, features

from tests.cases.faces import draw_face
from tests.conftest import Run
from tests.images.cases import encode, make_zip

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)

#: Files without a suffix that Pillow knows, or with one that few programs write: format of each.
FILES = {
    "a.jpg": "jpeg",
    "c.jpg_large": "jpeg",
    "d": "jpeg",
    "e.JPG": "jpeg",
    "f.tga": "tga",
    "g.ico": "ico",
    "h.apng": "png",
    "i.dds": "dds",
    "j.jpg": "webp",
    "k.pcx": "pcx",
    "l.sgi": "sgi",
    "m.jp2": "jpeg2000",
    "n.1": "gif",
}
if features.check("avif"):
    FILES["b.avif"] = "avif"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder `mixed` of faces in many formats and a HEIC image."""
    (tmp_path / "mixed").mkdir()
    face = draw_face()
    for name, format in FILES.items():
        (tmp_path / "mixed" / name).write_bytes(encode(face.convert("P") if format == "gif" else face, format))
    (tmp_path / "mixed" / "IMG_0001.HEIC").write_bytes(HEIC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(run: Run, *arguments: str, check: int = 0) -> tuple[list[str], list[str]]:
    """The paths of the faces, and the lines on stderr."""
    completed = run("predict", *arguments, check=check)
    rows = [json.loads(line)["path"] for line in completed.stdout.splitlines()]
    return rows, completed.stderr.decode().splitlines()


def test_every_image_of_a_folder_is_decoded_and_heic_is_named(folder: Path, run: Run) -> None:
    paths, messages = predict(run, "mixed", check=3)
    assert paths == [f"mixed/{name}" for name in sorted(FILES)]
    assert [message for message in messages if "HEIC" in message] == [
        "fa-predict: left out mixed/IMG_0001.HEIC: HEIC images cannot be decoded; "
        "pip install pillow-heif, or convert it to JPEG"
    ]


def test_folders_and_archives_without_any_suffix_are_read(folder: Path, run: Run) -> None:
    (folder / "bare").mkdir()
    for number in range(3):
        (folder / "bare" / f"face{number}").write_bytes(encode(draw_face(number), "jpeg"))
    make_zip(folder / "bare.zip", {"face": encode(draw_face()), "b.tga": encode(draw_face(), "tga"), "c.xyz": b"text"})
    paths, messages = predict(run, "bare", "bare.zip")
    assert paths == ["bare/face0", "bare/face1", "bare/face2", "bare.zip/face", "bare.zip/b.tga"]
    assert "fa-predict: passed over 1 file that is not an image: 1 .xyz" in messages


def test_a_heic_image_is_named_whatever_its_suffix(folder: Path, run: Run) -> None:
    for name in ("x.heic", "x.jpg", "x"):
        Path(name).write_bytes(HEIC)
        _, messages = predict(run, name, "-q", check=1)
        assert "HEIC images cannot be decoded" in messages[0]


def test_what_is_passed_over_is_counted_and_named_on_request(folder: Path, run: Run) -> None:
    for name in ("notes.txt", "more.txt", "table.json", ".hidden.txt", "movie.mp4", "README"):
        (folder / "mixed" / name).write_text("text")
    os.mkfifo(folder / "mixed" / "pipe.jpg")
    (folder / "mixed" / "IMG_0001.HEIC").unlink()
    paths, messages = predict(run, "mixed", "-v")
    assert len(paths) == len(FILES)
    assert (
        "fa-predict: passed over 6 files that are not images: 2 .txt, 1 without a known suffix, 1 .mp4, 1 named pipe, "
        "1 .json" in messages
    )
    named = {message for message in messages if message.endswith(")")}
    assert "fa-predict: passed over mixed/notes.txt (.txt)" in named
    assert "fa-predict: passed over mixed/pipe.jpg (named pipe)" in named
    assert not any("hidden" in message for message in messages)
    assert predict(run, "mixed", "-q")[1] == []


def test_a_folder_without_images_says_what_it_has(folder: Path, run: Run) -> None:
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").touch()
    _, messages = predict(run, "texts", "-q", check=1)
    assert messages == ["fa-predict: there are no images in texts (passed over 1 file that is not an image: 1 .txt)"]


def test_a_link_to_a_folder_above_is_no_loop(folder: Path, run: Run) -> None:
    (folder / "mixed" / "IMG_0001.HEIC").unlink()
    (folder / "mixed" / "up").symlink_to("..")
    (folder / "mixed" / "self").symlink_to("self")
    paths, messages = predict(run, "mixed", "-q", check=3)
    assert paths == [f"mixed/{name}" for name in sorted(FILES)]
    assert messages[0] == "fa-predict: left out mixed/self: Too many levels of symbolic links"


def test_drawings_and_documents_named_as_sources_are_refused(folder: Path, run: Run) -> None:
    """Pillow would start Ghostscript for an EPS file."""
    Image.new("RGB", (8, 8)).save("a.eps")
    Path("b.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    Path("c.pdf").write_text("%PDF-1.7\n")
    for name in ("a.eps", "b.svg", "c.pdf"):
        _, messages = predict(run, name, "-q", check=1)
        assert messages[0].startswith(f"fa-predict: left out {name}: not an image")
