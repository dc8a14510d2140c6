"""find_images: which paths each kind of source yields, and in which order."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from pathlib import Path

import pytest

from facetools.images.reading import ImageReader
from facetools.images.sources import SourceError, find_images
from tests.images.cases import ARCHIVE_NAMES, gray_png, make_archive, make_zip

IMAGES_IN_ORDER = ["a/10/x.tiff", "a/y.webp", "a/z.jpg", "b.PNG", "c.jpeg"]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder `faces` of images, hidden images and other files."""
    for name in [*reversed(IMAGES_IN_ORDER), ".hidden.jpg", ".git/x.jpg", "notes.md", "._b.png"]:
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_are_searched_in_order_without_hidden_files(tree: Path) -> None:
    assert list(find_images(["faces"])) == [f"faces/{name}" for name in IMAGES_IN_ORDER]
    assert list(find_images([f"{tree}/faces"])) == [f"{tree}/faces/{name}" for name in IMAGES_IN_ORDER]
    assert list(find_images(["faces/a", "faces/b.PNG", "faces/notes.md"])) == [
        "faces/a/10/x.tiff",
        "faces/a/y.webp",
        "faces/a/z.jpg",
        "faces/b.PNG",
        "faces/notes.md",
    ]


def test_an_empty_folder_has_no_images(tmp_path: Path) -> None:
    assert list(find_images([str(tmp_path)])) == []


def test_a_link_to_a_parent_folder_is_not_followed_forever(tree: Path) -> None:
    (tree / "faces" / "a" / "up").symlink_to(tree / "faces")
    assert sorted(find_images(["faces"])) == sorted(f"faces/{name}" for name in IMAGES_IN_ORDER)


@pytest.mark.parametrize("name", ARCHIVE_NAMES)
def test_archive_members_are_listed_in_archive_order(name: str, tmp_path: Path) -> None:
    members = ["z/2.jpg", "z/1.png", "readme.txt", "__MACOSX/z/2.jpg", "z/._1.png", ".x.png", "0.bmp"]
    archive = make_archive(tmp_path / name, {member: member.encode() for member in members})
    if archive.suffix.lower() == ".zip":
        with zipfile.ZipFile(archive, "a") as zip_file:
            zip_file.mkdir("folder.jpg")
    paths = list(find_images([str(archive)]))
    assert paths == [f"{archive}/{member}" for member in ("z/2.jpg", "z/1.png", "0.bmp")]
    with ImageReader() as reader:
        assert [reader.read(path) for path in reversed(paths)] == [b"0.bmp", b"z/1.png", b"z/2.jpg"]


@pytest.mark.parametrize("name", ["f.zip", "f.tar.gz"])
def test_an_archive_member_can_be_a_source(name: str, tmp_path: Path) -> None:
    path = f"{make_archive(tmp_path / name, {'a/1.png': gray_png(7)})}/a/1.png"
    assert list(find_images([path])) == [path]
    with ImageReader() as reader:
        assert reader.read(path) == gray_png(7)


def test_a_folder_can_have_the_name_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "faces.zip").mkdir()
    (tmp_path / "faces.zip" / "1.png").write_bytes(gray_png(1))
    (path,) = find_images([str(tmp_path / "faces.zip")])
    assert path == str(tmp_path / "faces.zip" / "1.png")
    with ImageReader() as reader:
        assert reader.read(path) == gray_png(1)


def test_path_lists_name_sources_of_any_kind(tree: Path) -> None:
    make_zip(tree / "f.zip", {"1.jpg": b"x"})
    (tree / "list.txt").write_bytes(b"faces/c.jpeg\r\n\nf.zip\nfaces/a/10\ninner.txt")
    (tree / "inner.txt").write_text("faces/b.PNG\n")
    expected = ["faces/c.jpeg", "f.zip/1.jpg", "faces/a/10/x.tiff", "faces/b.PNG"]
    assert list(find_images(["list.txt"])) == expected
    assert list(find_images(["-"], io.BytesIO(b"list.txt\nfaces/c.jpeg"))) == [*expected, "faces/c.jpeg"]


@pytest.mark.parametrize(("null", "separator"), [(False, b"\n"), (True, b"\0")])
@pytest.mark.parametrize("ends_with_separator", [True, False])
def test_paths_are_read_from_a_pipe(
    null: bool, separator: bytes, ends_with_separator: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Long enough that the blocks read from the pipe end in the middle of names.
    names = [f"{'n' * 50}{number}.png" for number in range(3000)] + ["ä b.png"]
    if null:
        names.append("two\nlines.png")
    for name in names:
        Path(name).touch()
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as stream:
            stream.write(separator.join(map(os.fsencode, names)) + (separator if ends_with_separator else b""))

    thread = threading.Thread(target=write)
    thread.start()
    with os.fdopen(read_end, "rb") as stdin:
        assert list(find_images(["-"], stdin, null=null)) == names
    thread.join()


@pytest.mark.parametrize(
    "source", ["missing.png", "missing", "missing.zip", "missing.txt", "faces/b.PNG/x.png", "missing.zip/1.png"]
)
def test_a_missing_source_raises_an_error_with_its_name(source: str, tree: Path) -> None:
    with pytest.raises(SourceError, match=f"^{source}: no such file or folder$"):
        list(find_images([source]))


def test_a_missing_source_in_a_path_list_is_yielded_as_an_image(tree: Path) -> None:
    names = ["missing.png", "faces/b.PNG", "missing.zip/1.png", "missing.zip", "missing.txt", "missing"]
    (tree / "list.txt").write_text("\n".join(names))
    assert list(find_images(["list.txt"])) == names
    assert list(find_images(["-"], io.BytesIO("\n".join(names).encode()))) == names


def test_a_path_list_cannot_name_stdin(tree: Path) -> None:
    (tree / "list.txt").write_text("-\n")
    with pytest.raises(SourceError, match="a path list cannot contain '-'"):
        list(find_images(["list.txt"]))
