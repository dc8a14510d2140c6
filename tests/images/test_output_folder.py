"""Folders and archives of images made from other images: names, earlier runs, and files of others."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from facetools.images.output_folder import EarlierImages, ImageArchive, ImageFolder, NestedNames, check_replaceable
from facetools.images.writing import encode_image
from tests.images.cases import gradient

FIRST, SECOND, OTHER = (encode_image(gradient(height, 30, 3), ".jpg") for height in (20, 21, 22))


def names(paths: list[str]) -> list[str]:
    return [Path(path).name for path in paths]


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_names_derive_from_the_source_and_are_unique(tmp_path: Path) -> None:
    folder = ImageFolder(str(tmp_path / "out"), [])
    assert names(folder.write("a/x~2.jpg", [FIRST], ".jpg")) == ["x~2-1.jpg"]
    assert names(folder.write("b/x.jpg", [FIRST, SECOND], ".jpg")) == ["x-1.jpg", "x-2.jpg"]
    assert names(folder.write("c/x.png", [FIRST], ".jpg")) == ["x~3-1.jpg"]
    assert names(folder.write("faces.zip/d/x", [FIRST], ".jpg")) == ["x~4-1.jpg"]
    assert folder.replaced == 0


def test_a_second_run_replaces_the_images_of_the_same_sources_only(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for content in (FIRST, SECOND):
        folder = ImageFolder(str(out), [])
        assert names(folder.write("one/x.jpg", [content], ".jpg")) == ["x-1.jpg"]
    assert folder.replaced == 1
    assert len(files_in(out)["x-1.jpg"]) > len(SECOND)
    assert names(ImageFolder(str(out), []).write("two/x.jpg", [FIRST], ".jpg")) == ["x~2-1.jpg"]
    assert names(ImageFolder(str(out), []).write("two/x.jpg", [FIRST, FIRST], ".jpg")) == ["x~2-1.jpg", "x~2-2.jpg"]


def test_sources_are_recognized_after_everything_has_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    ImageFolder(str(tmp_path / "in" / "out"), []).write(f"{tmp_path}/in/x.jpg", [FIRST], ".jpg")
    (tmp_path / "in").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert names(ImageFolder("out", []).write("x.jpg", [SECOND], ".jpg")) == ["x-1.jpg"]
    assert names(ImageFolder("./out/", []).write("out/../x.jpg", [SECOND], ".jpg")) == ["x-1.jpg"]


@pytest.mark.parametrize("content", [OTHER, b"no image", b"", "changed", "link", "folder"])
def test_files_of_others_are_not_replaced(content: bytes | str, tmp_path: Path) -> None:
    path = tmp_path / "x-2.jpg"
    if content == "changed":
        ImageFolder(str(tmp_path), []).write("x.jpg", [FIRST, FIRST], ".jpg")
        path.write_bytes(path.read_bytes() + b"!")
    elif content == "link":
        path.symlink_to("elsewhere")
    elif content == "folder":
        path.mkdir()
    else:
        path.write_bytes(content)  # type: ignore[arg-type]
    before = path.read_bytes() if path.is_file() else b""
    written = ImageFolder(str(tmp_path), []).write("x.jpg", [SECOND, SECOND], ".jpg")
    assert names(written) == ["x~2-1.jpg", "x~2-2.jpg"]
    assert (path.read_bytes() if path.is_file() else b"") == before
    assert not (tmp_path / "elsewhere").exists()


def test_sources_are_not_replaced_even_if_they_are_images_of_an_earlier_run(tmp_path: Path) -> None:
    (copy,) = ImageFolder(str(tmp_path), []).write("x.jpg", [FIRST], ".jpg")
    before = Path(copy).read_bytes()
    (tmp_path / "link.jpg").symlink_to(copy)
    for source in (copy, str(tmp_path / "link.jpg")):
        folder = ImageFolder(str(tmp_path), ["x.jpg", "none.jpg", source])
        assert names(folder.write("x.jpg", [SECOND], ".jpg")) == ["x~2-1.jpg"]
    assert Path(copy).read_bytes() == before


def test_long_names_are_cut(tmp_path: Path) -> None:
    written = ImageFolder(str(tmp_path), []).write("é" * 125 + ".jpg", [FIRST] * 2, ".jpg")
    assert names(written) == [f"{'é' * 110}-{number}.jpg" for number in (1, 2)]
    written = ImageFolder(str(tmp_path), []).write("x" + "é" * 125 + ".jpg", [FIRST], ".jpg")
    assert names(written) == [f"x{'é' * 109}-1.jpg"]


def test_an_archive_holds_the_same_images_as_a_folder(tmp_path: Path) -> None:
    folder = ImageFolder(str(tmp_path / "out"), [])
    sources = ["a/x.jpg", "b/x.jpg"]
    for source in sources:
        folder.write(source, [FIRST], ".jpg")
    with ImageArchive.create(str(tmp_path / "out.zip")) as archive:
        paths = [archive.write(source, [FIRST], ".jpg") for source in sources]
    assert paths == [[f"{tmp_path}/out.zip/x-1.jpg"], [f"{tmp_path}/out.zip/x~2-1.jpg"]]
    with zipfile.ZipFile(tmp_path / "out.zip") as opened:
        contents = {name: opened.read(name) for name in opened.namelist()}
    assert contents.keys() == files_in(tmp_path / "out").keys()


def test_earlier_images_are_excluded_only_where_the_output_lies_in_a_source(tmp_path: Path) -> None:
    source, out, elsewhere = (tmp_path / name for name in ("in", "in/out", "elsewhere"))
    source.mkdir()
    original = source / "x.jpg"
    original.write_bytes(FIRST)
    (copy,) = ImageFolder(str(out), []).write(str(original), [FIRST], ".jpg")
    with ImageArchive.create(str(source / "out.zip")) as archive:
        archive.write(str(original), [FIRST], ".jpg")
    for output in (out, out / "deeper", source, source / "new.zip", source / "out.zip"):
        earlier = EarlierImages(str(output), [str(source), "none"])
        assert earlier(copy) and earlier(str(source / "out.zip")) and not earlier(str(original))
        assert earlier.count == 2
    for output, sources in ((elsewhere, [source]), (tmp_path, [source]), (tmp_path / "in2", [source])):
        assert not EarlierImages(str(output), [str(path) for path in sources])(copy)
    assert EarlierImages(str(out), ["list.txt"])(copy)
    assert not EarlierImages(str(out), ["list.txt"])(str(original))
    assert not EarlierImages(str(source), [str(source)])(str(source / "none.jpg"))


def test_fixed_names_are_replaced_only_if_the_file_is_own(tmp_path: Path) -> None:
    (own,) = ImageFolder(str(tmp_path), []).write("x.jpg", [FIRST], ".jpg")
    check_replaceable([Path(own), tmp_path / "none"])
    (tmp_path / "other.png").write_bytes(OTHER)
    (tmp_path / "link").symlink_to("none")
    for name in ("other.png", "link"):
        with pytest.raises(FileExistsError, match="not written by facetools"):
            check_replaceable([Path(own), tmp_path / name])


def stems(sources: list[str], containers: list[str]) -> list[str]:
    """The first stem that NestedNames gives each source."""
    nested = NestedNames(sources, containers)
    return [next(nested.stems(source)) for source in sources]


@pytest.mark.parametrize(
    ("sources", "containers", "expected"),
    [
        (["in/a.jpg", "in/x/a.jpg"], ["in"], ["a", "x/a"]),
        (["in/a.jpg", "in/a.png", "in/a~2.jpg"], ["in"], ["a", "a~2", "a~2~2"]),
        (["in/a~2.jpg", "in/a.jpg", "in/a.png"], ["in"], ["a~2", "a", "a~3"]),
        (["in/a.jpg", "in/a.jpg"], ["in"], ["a", "a"]),
        (["one/a.jpg", "two/a.jpg"], ["one", "two"], ["a", "a~2"]),
        (["in/x/a.jpg", "in/b.jpg"], ["in", "in/x"], ["a", "b"]),  # the innermost container
        (["in/x/a.jpg", "inx/a.jpg"], ["in"], ["x/a", "a"]),
        (["f.zip/x/a.jpg"], ["f.zip"], ["x/a"]),
        (["in/f.zip/a.jpg", "in/f/a.jpg"], ["in"], ["f.zip/a", "f/a"]),
        (["./a.jpg", "./x/b.jpg"], ["."], ["a", "x/b"]),
        (["/a.jpg"], ["/"], ["a"]),
        (["in/ .jpg", "in/a.b.jpg", "in/-x.jpg", "in/ü\n.jpg"], ["in/"], [" ", "a.b", "-x", "ü\n"]),
        # Names without a container lie below the folder that they have in common.
        (["p/x/a.jpg", "p/y/a.jpg"], ["list.txt"], ["x/a", "y/a"]),
        (["p/x/a.jpg"], ["p/x/a.jpg"], ["a"]),
        (["//p/x/a.jpg", "/p/y/a.jpg"], [], ["x/a", "y/a"]),
        (["//p/x/a.jpg"], [], ["a"]),
        (["p/x/a.jpg", "/b.jpg"], [], None),
        (["../a.jpg", "p/../../a.jpg"], [], ["a", "a~2"]),
    ],
)
def test_nested_names(sources: list[str], containers: list[str], expected: list[str] | None) -> None:
    found = stems(sources, containers)
    if expected is None:  # the common folder is the root
        assert found == [str(Path("p/x/a").resolve())[1:], "b"]
    else:
        assert found == expected


@pytest.mark.parametrize(
    "source", ["in///a.jpg", "in//a.jpg", "in/../a.jpg", "//a.jpg", "///a.jpg", "in/..", "in/...jpg"]
)
@pytest.mark.parametrize("containers", [["in"], ["in//"], [], ["/"], ["//"]])
def test_nested_names_stay_in_the_output(source: str, containers: list[str]) -> None:
    (stem,) = stems([source], containers)
    assert stem and not {"", ".", ".."}.intersection(stem.split("/"))


@pytest.mark.parametrize("trailing", ["", "/", "//", "/."])
@pytest.mark.parametrize("folder", ["in", "./in", "x/../in", "/tmp/in", "//tmp/in"])
def test_the_spelling_of_a_folder_does_not_change_names(folder: str, trailing: str) -> None:
    container = folder + trailing
    separator = "" if container.endswith("/") else "/"
    assert stems([f"{container}{separator}y/a.jpg", f"{container}{separator}b.jpg"], [container]) == ["y/a", "b"]


def test_long_nested_names_are_cut_and_stay_unique() -> None:
    long = "é" * 200
    found = stems([f"in/{long}/{long}1.jpg", f"in/{long}/{long}2.jpg", f"in/{long}x/{long}.jpg"], ["in"])
    cut = "é" * 110
    assert found == [f"{cut}/{cut}", f"{cut}/{cut}~2", f"{cut}/{cut}~3"]


def test_other_stems_of_a_source_belong_to_no_other_source() -> None:
    nested = NestedNames(["in/a.jpg", "in/a~2.jpg"], ["in"])
    candidates = nested.stems("in/a.jpg")
    assert [next(candidates) for _ in range(3)] == ["a", "a~3", "a~4"]
    assert nested.number("x/a", 2, ".png") == ["x/a-0.png", "x/a-1.png"]


def test_many_named_files_are_named_in_linear_time() -> None:
    sources = [f"photos/{number}.jpg" for number in range(50_000)]
    start = time.process_time()
    NestedNames(sources, sources)
    assert time.process_time() - start < 20  # comparing each with each takes minutes


def test_images_of_a_source_that_is_named_twice_are_written_once(tmp_path: Path) -> None:
    sources = ["in/x.jpg", "in/x.jpg"]
    for earlier in (0, 1):
        folder = ImageFolder(str(tmp_path / "out"), sources, NestedNames(sources, ["in"]))
        for source in sources:
            assert folder.write(source, [FIRST], ".jpg") == [f"{tmp_path}/out/x-0.jpg"]
        assert folder.replaced == earlier
    with ImageArchive.create(str(tmp_path / "out.zip"), NestedNames(sources, ["in"])) as archive:
        for source in sources:
            assert archive.write(source, [FIRST], ".jpg") == [f"{tmp_path}/out.zip/x-0.jpg"]
    with zipfile.ZipFile(tmp_path / "out.zip") as opened:
        assert opened.namelist() == ["x-0.jpg"]
