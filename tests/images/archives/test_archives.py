"""Zip and tar archives: members of every kind, damaged archives, and many open archives."""

from __future__ import annotations

import random
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from facetools.images import archives
from facetools.images.reading import ImageError, ImageReader, try_read
from facetools.images.sources import find_images
from tests.images.cases import ARCHIVE_NAMES, gray_png, make_archive, make_zip, reason_for

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
    failures: dict[str, str] = {}
    members = list(find_images([str(path)], on_failure=failures.__setitem__))
    with ImageReader() as reader:
        results = [try_read(reader, member) for member in members]
    if damage in ("text", "empty"):
        assert not members
        assert list(failures) == [str(path)]
        assert failures[str(path)].startswith("not a readable archive: ")
    else:
        assert failures or any(isinstance(result, ImageError) for result in results)


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


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "7z archives cannot be read; unpack it, or pack it as zip or tar"),
        (b"Rar!\x1a\x07\1\0" + bytes(600), "RAR archives cannot be read; unpack it, or pack it as zip or tar"),
        (gray_png(3), "not a readable archive: it is a PNG image"),
    ],
)
def test_what_is_called_an_archive_and_is_none_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    for name in ("f.zip", "f.tar", "f.tar.gz"):
        (tmp_path / name).write_bytes(content)
        failures: dict[str, str] = {}
        assert not list(find_images([str(tmp_path / name)], on_failure=failures.__setitem__))
        assert failures == {str(tmp_path / name): reason}


@pytest.mark.parametrize("name", ["no-suffix", "folder.d/shard.2024"])
@pytest.mark.parametrize("kind", ["f.zip", "f.tar", "f.tar.gz"])
def test_a_member_of_an_archive_without_suffix_is_read(kind: str, name: str, tmp_path: Path) -> None:
    archive = make_archive(tmp_path / kind, {"dir/1.png": gray_png(5)})
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    archive.rename(path)
    assert archives.containing_archive(f"{path}/dir/1.png") == str(path)
    assert list(find_images([f"{path}/dir/1.png"])) == [f"{path}/dir/1.png"]
    with ImageReader() as reader:
        assert reader.read(f"{path}/dir/1.png") == gray_png(5)
        assert reader.read(f"{path}/./dir/1.png") == gray_png(5)
    assert archives.containing_archive(f"{path}") is None


def test_a_file_that_is_no_archive_contains_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(gray_png(1))
    assert archives.containing_archive(f"{tmp_path}/a.png/b.png") is None
    assert reason_for(f"{tmp_path}/a.png/b.png") == "Not a directory"


def count_open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_many_archives_are_read_with_few_open_files(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a folder of shards: more archives than files may be open."""
    monkeypatch.setattr(archives, "MAX_OPEN", 3)
    paths = []
    for number in range(20):
        archive = make_archive(tmp_path / f"{number:02}{suffix}", {f"{n}.png": bytes([number, n]) for n in range(5)})
        paths += [f"{archive}/{n}.png" for n in range(5)]
    random.Random(0).shuffle(paths)
    open_before = count_open_files()
    with ImageReader() as reader, ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(reader.read, paths * 3))
        assert count_open_files() <= open_before + 3 + 4
    assert contents == [bytes([int(path.split("/")[-2][:2]), int(path[-5])]) for path in paths * 3]


def test_an_archive_that_cannot_be_opened_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f.zip").write_bytes(b"no archive")
    calls: list[str] = []

    def open_archive(path: str) -> archives.Archive:
        calls.append(path)
        raise archives.ArchiveError("damaged")

    monkeypatch.setattr(archives, "open_archive", open_archive)
    with ImageReader() as reader:
        results = [try_read(reader, f"{tmp_path}/f.zip/{number}.png") for number in range(9)]
    assert {str(result) for result in results} == {"damaged"}
    assert len(calls) == 1
