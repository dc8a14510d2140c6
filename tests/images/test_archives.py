"""Zip and tar archives: members of every kind, and damaged archives."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from facetools.images.archives import ArchiveError
from facetools.images.reading import ImageError, ImageReader, try_read
from facetools.images.sources import find_images
from tests.images.cases import ARCHIVE_NAMES, gray_png, make_archive, make_tar, make_zip, reason_for

CENTRAL_DIRECTORY = b"PK\x01\x02"


@pytest.mark.parametrize("name", ARCHIVE_NAMES)
@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "garbled"])
def test_a_damaged_archive_is_reported_with_its_name(damage: str, name: str, tmp_path: Path) -> None:
    path = make_archive(tmp_path / name, {f"{n}.jpg": random.Random(n).randbytes(2000) for n in range(50)})
    data = path.read_bytes()
    path.write_bytes(
        {
            "text": b"no archive\n" * 100,
            "empty": b"",
            "truncated": data[: len(data) // 2],
            "garbled": data[:1000] + random.Random(7).randbytes(5000) + data[6000:],
        }[damage]
    )
    # Some members may still be readable. Reading the others must not raise any other exception.
    try:
        for member in find_images([str(path)]):
            with ImageReader() as reader:
                try_read(reader, member)
    except ArchiveError as error:
        assert str(error).startswith(f"{path}: not a readable archive: ")
    else:
        assert damage in ("truncated", "garbled")


@pytest.mark.parametrize("damage", ["garbled header", "truncated header"])
def test_a_damaged_tar_header_does_not_end_the_list_silently(damage: str, tmp_path: Path) -> None:
    path = make_tar(tmp_path / "f.tar", {f"{n}.jpg": bytes([n]) * 1000 for n in range(50)})
    data, header = path.read_bytes(), 20 * 1536
    assert data[header:].startswith(b"20.jpg")
    if damage == "garbled header":
        data = data[:header] + random.Random(0).randbytes(512) + data[header + 512 :]
    else:
        data = data[: header + 100]
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=f"^{path}: not a readable archive: "):
        list(find_images([str(path)]))


def set_zip_flags(data: bytes, flags: int) -> bytes:
    """Set flags of the only member of a zip archive, in its local header and in the central directory."""
    changed = bytearray(data)
    changed[6] |= flags
    changed[data.index(CENTRAL_DIRECTORY) + 8] |= flags
    return bytes(changed)


def test_members_that_cannot_be_read_are_reported_with_the_reason(tmp_path: Path) -> None:
    members = {"1.png": gray_png(3, 64)}
    encrypted, corrupt = tmp_path / "encrypted.zip", tmp_path / "corrupt.zip"
    encrypted.write_bytes(set_zip_flags(make_zip(tmp_path / "a.zip", members).read_bytes(), 1))
    assert reason_for(f"{encrypted}/1.png") == "the archive member is encrypted"
    corrupt.write_bytes(make_zip(tmp_path / "a.zip", members).read_bytes().replace(b"IDAT", b"JDAT"))
    assert "CRC" in reason_for(f"{corrupt}/1.png")
    assert reason_for(f"{corrupt}/2.png") == "no such member in the archive"


@pytest.mark.parametrize("prefix", [b"", b"a self-extracting program"], ids=["no prefix", "prefix"])
@pytest.mark.parametrize("extra", [0, 300, 60_000])
@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
def test_zip_members_of_any_kind_are_read(method: int, extra: int, prefix: bytes, tmp_path: Path) -> None:
    """With every compression method, with an extra field of `extra` bytes, and after a prefix."""
    path = tmp_path / "f.zip"
    path.write_bytes(prefix)
    contents = {f"{number}.png": random.Random(number).randbytes(5000) + bytes(5000) for number in range(4)}
    with zipfile.ZipFile(path, "a") as archive:
        for name, data in contents.items():
            member = zipfile.ZipInfo(name)
            member.extra = (b"\xfe\xca" + (extra - 4).to_bytes(2, "little")).ljust(extra, b"\0") if extra else b""
            archive.writestr(member, data, method)
    with ImageReader() as reader:
        assert {name: reader.read(f"{path}/{name}") for name in contents} == contents


@pytest.mark.parametrize("size", [0, 1, 4000, 2**30])
@pytest.mark.parametrize("field", [20, 24], ids=["compressed size", "uncompressed size"])
def test_a_wrong_size_in_the_zip_directory_never_gives_wrong_content(size: int, field: int, tmp_path: Path) -> None:
    content = bytes(10**6)
    path = make_zip(tmp_path / "f.zip", {"1.png": content}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    start = data.index(CENTRAL_DIRECTORY) + field
    data[start : start + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)
    with ImageReader() as reader:
        result = try_read(reader, f"{path}/1.png")
    assert isinstance(result, ImageError) or result == content


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_corrupt_compressed_zip_member_is_reported(method: int, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {"1.png": random.Random(0).randbytes(4000)}, compression=method)
    data = bytearray(path.read_bytes())
    data[200:3000] = random.Random(1).randbytes(2800)
    path.write_bytes(data)
    assert reason_for(f"{path}/1.png")
