"""classify: what counts as an image, an archive or neither, and how little is read to tell."""

from __future__ import annotations

import io
import tarfile
import warnings
import zipfile

import pytest
from PIL import Image

from facetools.images import formats
from facetools.images.formats import FileKind, classify, classify_named, kind_of_content
from tests.images.cases import encode, gradient, gray_png

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(500)


def kind_of(name: str, data: bytes) -> FileKind:
    return classify(name, lambda size: data[:size])


def refuse_to_read(size: int) -> bytes:
    raise AssertionError("the file was opened")


def saved_formats() -> dict[str, bytes]:
    """An image in every format that this Pillow both writes and decodes."""
    Image.init()
    contents: dict[str, bytes] = {}
    for name in formats.decodable_formats():
        for mode in ("RGB", "L", "P", "1", "RGBA"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    contents[name] = encode(Image.fromarray(gradient(64, 64)).convert(mode), name)
                break
            except (OSError, KeyError, ValueError):
                continue
    return contents


@pytest.mark.parametrize(
    "name", ["a.jpg", "B.JPEG", "d/c.Png", "x.webp", "y.tif", "notes.txt", "a.json", "m.npy", "f.zip"]
)
def test_files_with_a_common_suffix_are_not_opened(name: str) -> None:
    classify(name, refuse_to_read)


def test_every_format_that_pillow_writes_is_an_image_by_its_content_or_its_suffix() -> None:
    contents = saved_formats()
    assert len(contents) >= 12
    by_content = {name for name, data in contents.items() if kind_of("face", data).role == "image"}
    # The others have no signature.
    assert contents.keys() - by_content <= {"TGA", "IM", "SPIDER", "MSP"}
    for suffix, name in Image.registered_extensions().items():
        if name in contents and name != "MSP":
            assert kind_of(f"face{suffix.upper()}", contents[name]).role == "image", suffix


@pytest.mark.parametrize("suffix", [".pdf", ".eps", ".mpg", ".h5", ".bufr", ".grib", ".wmf"])
def test_documents_and_stubs_are_no_images(suffix: str) -> None:
    assert kind_of(f"a{suffix}", b"\x89HDF\r\n\x1a\n").role == "other"


@pytest.mark.parametrize("suffix", [".fits", ".pcd", ".ras", ".vst", ".im"])
def test_suffixes_of_rare_formats_need_the_content(suffix: str) -> None:
    """A .pcd is more often a point cloud than a Photo CD."""
    assert kind_of(f"a{suffix}", b"# .PCD v.7 - Point Cloud Data\nVERSION .7\n" * 100) == FileKind("other", suffix)


@pytest.mark.parametrize(
    ("data", "role"),
    [
        (b"", "other"),
        (b"x", "other"),
        (b"BMW is a maker of cars", "other"),
        (b"P6 is a magic number", "other"),
        (b"\0" * 1000, "other"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "other"),
        (b"%PDF-1.7\n", "other"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "other"),
        (b"RIFF\0\0\0\0WAVEfmt ", "other"),
        (HEIC, "unsupported"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic" + bytes(99), "unsupported"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "unsupported"),
        (b"\xff\x0a" + bytes(50), "unsupported"),
        (b"FUJIFILMCCD-RAW 0201", "unsupported"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "unsupported"),
        (b"Rar!\x1a\x07\1\0", "unsupported"),
        (b"\x04\x22\x4d\x18" + bytes(9), "unsupported"),
        (b"\x1f\x8b\x08\0", "compressed"),
        (b"BZh91AY&SY", "compressed"),
        (b"\x28\xb5\x2f\xfd", "compressed"),
    ],
)
def test_files_without_a_suffix_are_told_by_their_first_bytes(data: bytes, role: str) -> None:
    assert kind_of("face", data).role == role


def test_archives_without_a_suffix_are_told_by_their_first_bytes() -> None:
    for mode in ("w", "w:gz"):
        for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode=mode, format=format) as archive:
                archive.addfile(tarfile.TarInfo("a.jpg"))
            assert kind_of("d", stream.getvalue()).role == ("archive" if mode == "w" else "compressed")
    v7 = bytearray(stream.getvalue() if mode == "w" else tarfile.TarInfo("a.jpg").tobuf(tarfile.USTAR_FORMAT))
    v7[257:265], v7[148:156] = bytes(8), b" " * 8
    v7[148:156] = b"%06o\0 " % sum(v7[:512])
    assert kind_of("d", bytes(v7)).role == "archive"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zip_file:
        assert kind_of("d", b"PK\5\6" + bytes(18)).role == "archive"
        zip_file.writestr("a.jpg", b"x")
    assert kind_of("d", stream.getvalue()).role == "archive"


@pytest.mark.parametrize("name", ["a.heic", "IMG.HEIF", "b.cr2", "c.nef", "d.dng", "e.jxl", "f.exr"])
def test_images_that_cannot_be_decoded_have_a_reason(name: str) -> None:
    kind = kind_of(name, bytes(600))
    assert kind.role == "unsupported"
    assert "cannot be decoded" in kind.reason


@pytest.mark.parametrize("name", ["a.7z", "a.rar", "a.tar.lz4", "a.TLZ4", "a.cb7", "a.cbr", "a.cpio"])
def test_archives_that_cannot_be_read_have_a_reason(name: str) -> None:
    kind = kind_of(name, bytes(600))
    assert kind.role == "unsupported"
    assert "cannot be read" in kind.reason


def test_content_decides_where_the_suffix_names_an_unsupported_kind() -> None:
    assert kind_of("a.heic", encode(gradient(8, 8), "jpeg")).role == "image"
    assert kind_of("a.cbr", b"PK\3\4" + bytes(50)).role == "archive"
    # A camera raw file is a TIFF with a small preview.
    assert kind_of("a.dng", encode(gradient(8, 8), "tiff")).role == "unsupported"


def test_a_compressed_text_is_no_archive() -> None:
    assert kind_of("a.json.lz4", b"\x04\x22\x4d\x18") == FileKind("other", ".lz4")
    assert kind_of("a.tar.lz4", b"\x04\x22\x4d\x18").role == "unsupported"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("a.xyz", ".xyz"),
        ("a.XYZ", ".xyz"),
        ("a", "without a known suffix"),
        ("a.", "without a known suffix"),
        ("a.b c", "without a known suffix"),
        ("a." + "x" * 99, "without a known suffix"),
    ],
)
def test_other_files_are_labelled_by_their_suffix(name: str, label: str) -> None:
    assert kind_of(f"d.d/{name}", b"text") == FileKind("other", label)


def test_the_suffix_of_a_text_says_nothing_about_a_file_that_the_user_names() -> None:
    data = gray_png(1)
    assert kind_of("a.json", data).role == "other"
    assert classify_named("a.json", lambda size: data[:size]).role == "image"


def test_avif_is_recognized_with_a_general_brand() -> None:
    assert kind_of_content(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(99)) == kind_of_content(
        b"\0\0\0\x1cftypavif\0\0\0\0mif1avif" + bytes(99)
    )
