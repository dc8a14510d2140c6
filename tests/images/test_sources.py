"""find_images: which paths each kind of source yields, and in which order."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


# What fails, and what is passed over


@dataclass
class Found:
    """What a search has found, what failed with which reason, and what was passed over."""

    images: list[str]
    failures: dict[str, str]
    passed_over: dict[str, str]


def find(*sources: str, stdin: bytes | None = None, **options: Any) -> Found:
    failures: dict[str, str] = {}
    passed_over: dict[str, str] = {}
    stream = None if stdin is None else io.BytesIO(stdin)
    callbacks = {"on_failure": failures.__setitem__, "on_passed_over": passed_over.__setitem__}
    images = list(find_images(sources, stream, **callbacks, **options))  # type: ignore[arg-type]
    return Found(images, failures, passed_over)


def test_by_default_a_failure_raises_an_error(tree: Path) -> None:
    (tree / "f.zip").write_bytes(b"no archive")
    with pytest.raises(SourceError, match=r"^f\.zip: not a readable archive: "):
        list(find_images(["f.zip"]))


def test_a_missing_source_in_a_path_list_costs_only_its_line(tree: Path) -> None:
    names = ["missing.png", "faces/b.PNG", "b.PNG/1.png", "missing.zip", "missing.txt", "faces/c.jpeg", "gone"]
    (tree / "list.txt").write_text("\n".join(names))
    for found in (find("list.txt"), find("-", stdin="\n".join(names).encode())):
        assert found.images == ["faces/b.PNG", "faces/c.jpeg"]
        assert list(found.failures) == ["missing.png", "b.PNG/1.png", "missing.zip", "missing.txt", "gone"]
        assert set(found.failures.values()) == {"no such file or folder"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"a\0b.png", "it contains a NUL"),
        (b"x" * 300 + b".png", "File name too long"),
        (b"x/" * 3000, "File name too long"),
        (b"x" * 200_000, "it is longer than 131,072 bytes"),
        (b"-", "a list cannot contain - (standard input)"),
        (b"loop.png", "Too many levels of symbolic links"),
        (b"pipe", "it is a named pipe, not a file"),
        (b"pipe.txt", "it is a named pipe, not a file"),
        (b"f.zip", "not a readable archive: there is no zip directory at its end; it may be incomplete"),
        (b"self.txt", "the list names itself, or a list that names it"),
        (b"IMG.HEIC", "HEIC images cannot be decoded; pip install pillow-heif, or convert it to JPEG"),
    ],
)
def test_a_bad_line_costs_only_itself(line: bytes, reason: str, tree: Path) -> None:
    (tree / "loop.png").symlink_to("loop.png")
    os.mkfifo(tree / "pipe")
    os.mkfifo(tree / "pipe.txt")
    (tree / "f.zip").write_bytes(b"no archive")
    (tree / "IMG.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500))
    data = b"faces/b.PNG\n" + line + b"\nfaces/c.jpeg\n"
    (tree / "self.txt").write_bytes(data)
    for found in (find("self.txt"), find("-", stdin=data)) if line != b"self.txt" else (find("self.txt"),):
        assert found.images == ["faces/b.PNG", "faces/c.jpeg"]
        (failure,) = found.failures.values()
        assert failure == reason


def test_lists_that_name_each_other_end(tree: Path) -> None:
    (tree / "a.txt").write_text("b.txt\nfaces/b.PNG\n")
    (tree / "b.txt").write_text("a.txt\nfaces/c.jpeg\n")
    found = find("a.txt")
    assert found.images == ["faces/c.jpeg", "faces/b.PNG"]
    assert found.failures == {"a.txt": "the list names itself, or a list that names it"}
    for number in range(20):
        (tree / f"{number}.txt").write_text(f"{number + 1}.txt\n")
    assert list(find("0.txt").failures.values()) == ["more than 16 lists lie in each other"]


def test_a_list_that_names_nothing_is_reported_once(tree: Path) -> None:
    (tree / "list.txt").write_text("".join(f"{number:06}.jpg 0\n" for number in range(1000)))
    found = find("list.txt", "faces/b.PNG")
    assert found.images == ["faces/b.PNG"]
    assert found.failures == {
        "list.txt": "none of its 1,000 lines names a file or folder; the first is 000000.jpg 0",
    }
    (tree / "attributes.txt").write_text("1\nSmiling Male Young\n")
    assert "it looks like a list of attributes" in find("attributes.txt").failures["attributes.txt"]


def test_an_image_or_archive_is_no_list(tree: Path) -> None:
    for content, label in (
        (gray_png(1), "a PNG image"),
        (make_zip(tree / "f.zip", {"a": b""}).read_bytes(), "a zip archive"),
    ):
        (tree / "list.txt").write_bytes(content)
        reason = f"it is {label}, not a list of paths; name the file itself"
        assert find("list.txt").failures == {"list.txt": reason}
        assert find("-", stdin=content).failures == {"standard input": reason}


def test_a_wrong_end_of_lines_is_named(tree: Path) -> None:
    names = [b"faces/b.PNG", b"faces/c.jpeg"]
    for number in (1, 2):
        found = find("-", stdin=b"".join(name + b"\0" for name in names[:number]))
        assert found.failures == {"standard input": "its paths end with NUL, as find -print0 writes them; add -0"}
    found = find("-", stdin=b"\n".join(names), null=True)
    assert found.failures == {"standard input": "its paths end with newlines, not with NUL; leave out -0"}


def test_an_empty_list_is_passed_over(tree: Path) -> None:
    (tree / "list.txt").write_text("\n\n")
    assert find("list.txt", "-", stdin=b"").passed_over == {"list.txt": "empty list", "standard input": "empty list"}
    assert find("-").failures == {"standard input": "it is closed"}


def test_files_that_are_no_images_are_passed_over_by_kind(tree: Path) -> None:
    make_zip(tree / "faces" / "inner.zip", {"x.jpg": b"", "y.json": b"{}", "d/z.zip": b"", "__MACOSX/x.jpg": b""})
    (tree / "faces" / "table.json").touch()
    (tree / "faces" / "bare").write_bytes(b"text")
    os.mkfifo(tree / "faces" / "pipe.jpg")
    (tree / "faces" / "broken.md").symlink_to("gone")
    found = find("faces")
    assert found.passed_over == {
        "faces/notes.md": ".md",
        "faces/table.json": ".json",
        "faces/bare": "without a known suffix",
        "faces/pipe.jpg": "named pipe",
        "faces/broken.md": "broken link",
        "faces/inner.zip/y.json": ".json",
        "faces/inner.zip/d/z.zip": "archive inside an archive",
    }
    assert found.images == [f"faces/{name}" for name in [*IMAGES_IN_ORDER, "inner.zip/x.jpg"]]
    assert not found.failures


def test_images_of_unsupported_kinds_and_broken_links_in_folders_fail(tree: Path) -> None:
    (tree / "faces" / "d.nef").write_bytes(b"II*\0" + bytes(600))
    (tree / "faces" / "e.7z").write_bytes(bytes(600))
    (tree / "faces" / "f.jpg").symlink_to("gone.jpg")
    (tree / "faces" / "g").symlink_to("g")
    (tree / "faces" / "h.tar").write_bytes(b"no archive")
    assert list(find("faces").failures) == [f"faces/{name}" for name in ("d.nef", "e.7z", "f.jpg", "g", "h.tar")]


def test_images_without_a_telling_suffix_are_found(tree: Path) -> None:
    for name in ("d", "e.jpg_large", "f.1"):
        (tree / "faces" / name).write_bytes(gray_png(1))
    make_zip(tree / "f.zip", {"bare": gray_png(1), "text": b"text"})
    assert find("faces").images == [f"faces/{name}" for name in [*IMAGES_IN_ORDER, "d", "e.jpg_large", "f.1"]]
    assert find("f.zip").images == ["f.zip/bare"]


def test_a_member_whose_kind_cannot_be_told_fails(tree: Path) -> None:
    data = bytearray(make_zip(tree / "f.zip", {"bare": gray_png(1), "a.json": b"{}"}).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    (tree / "f.zip").write_bytes(data)
    found = find("f.zip")
    assert found.failures == {"f.zip/bare": "the archive member is encrypted"}
    assert found.passed_over == {"f.zip/a.json": ".json"}


def test_folders_of_shards_are_read_in_order(tree: Path) -> None:
    (tree / "shards").mkdir()
    for number in (1, 0):
        make_archive(tree / "shards" / f"0000{number}.tar", {f"{number}{n}.jpg": b"" for n in (1, 0)})
        (tree / "shards" / f"0000{number}_stats.json").touch()
    assert find("shards").images == [
        f"shards/{name}" for name in ("00000.tar/01.jpg", "00000.tar/00.jpg", "00001.tar/11.jpg", "00001.tar/10.jpg")
    ]


def test_excluded_files_are_not_opened(tree: Path) -> None:
    (tree / "faces" / "out.zip").write_bytes(b"no archive")
    found = find("faces", exclude=lambda path: path in ("faces/out.zip", "faces/b.PNG"))
    assert found.images == [f"faces/{name}" for name in IMAGES_IN_ORDER if name != "b.PNG"]
    assert not found.failures


def test_folders_of_any_depth_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    depth = 1100  # deeper than Python recurses
    try:
        for _ in range(depth):
            Path("d").mkdir()
            os.chdir("d")
        Path("x.png").touch()
        os.chdir(tmp_path)
        assert find(".").images == ["./" + "d/" * depth + "x.png"]
    finally:  # pytest's own clean-up recurses
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_costs_only_itself(tree: Path) -> None:
    (tree / "faces" / "a").chmod(0)
    try:
        found = find("faces")
        listed = find("-", stdin=b"faces/a/y.webp\nfaces/b.PNG\n")
    finally:
        (tree / "faces" / "a").chmod(0o755)
    assert found.images == ["faces/b.PNG", "faces/c.jpeg"]
    assert found.failures == {"faces/a": "Permission denied"}
    assert listed.images == ["faces/b.PNG"]
    assert listed.failures == {"faces/a/y.webp": "Permission denied"}


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.EIO])
def test_a_folder_that_cannot_be_listed_costs_only_itself(
    number: int, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def fail(path: str) -> Any:
        if path == "faces/a":
            raise OSError(number, os.strerror(number), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    found = find("faces")
    assert found.images == ["faces/b.PNG", "faces/c.jpeg"]
    assert found.failures == {"faces/a": os.strerror(number)}
