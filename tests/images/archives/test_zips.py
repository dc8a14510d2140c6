"""Zip archives of other systems, checked against unzip where it is installed."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest

from facetools.images.reading import ImageReader
from facetools.images.sources import find_images
from tests.images.cases import make_zip, reason_for

MS_DOS, UNIX = 0, 3
UTF8_FLAG = 0x800


def raw_zip(path: Path, names: list[bytes], *, system: int = UNIX, utf8: bool = False, extra: bytes = b"") -> Path:
    """A zip archive whose members have these names, byte for byte; each contains its number."""
    local, central = bytearray(), bytearray()
    for number, name in enumerate(names):
        data = b"content %d" % number
        common = struct.pack(
            "<HHHHHLLLHH", 20, UTF8_FLAG * utf8, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), len(extra)
        )
        offset = len(local)
        local += b"PK\3\4" + common + name + extra + data
        central += b"PK\1\2" + bytes([20, system]) + common + struct.pack("<HHHLL", 0, 0, 0, 0, offset) + name + extra
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(names), len(names), len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


def unicode_field(name: bytes, text: str) -> bytes:
    content = b"\1" + zlib.crc32(name).to_bytes(4, "little") + text.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


def names_in(path: Path) -> list[str]:
    return [name.removeprefix(f"{path}/") for name in find_images([str(path)])]


CASES = {
    "backslashes": ([b"dir\\sub\\a.jpg", b"dir\\b.jpg"], {"system": MS_DOS}, ["dir/sub/a.jpg", "dir/b.jpg"]),
    "backslash on Unix": ([b"a\\b.jpg"], {"system": UNIX}, ["a\\b.jpg"]),
    "UTF-8 with flag": (["ä/日本.jpg".encode()], {"utf8": True}, ["ä/日本.jpg"]),
    "UTF-8 without flag": (["ä/日本.jpg".encode()], {"system": UNIX}, ["ä/日本.jpg"]),
    "code page 437": (["Müller/é.jpg".encode("cp437")], {"system": MS_DOS}, ["Müller/é.jpg"]),
    "Unicode field": ([b"?.jpg"], {"system": MS_DOS, "extra": unicode_field(b"?.jpg", "日.jpg")}, ["日.jpg"]),
    "absolute": ([b"/abs/a.jpg"], {}, ["abs/a.jpg"]),
    "above": ([b"../../a.jpg"], {}, ["a.jpg"]),
    "current": ([b"./a.jpg"], {}, ["a.jpg"]),
}


@pytest.mark.parametrize("case", CASES)
def test_members_have_the_names_that_unzip_gives_them(case: str, tmp_path: Path) -> None:
    raw_names, options, expected = CASES[case]
    path = raw_zip(tmp_path / "f.zip", raw_names, **options)
    assert names_in(path) == expected
    with ImageReader() as reader:
        assert [reader.read(f"{path}/{name}") for name in expected] == [b"content %d" % n for n in range(len(expected))]
    if not shutil.which("unzip"):
        pytest.skip("unzip is not installed")
    folder = tmp_path / "unzipped"
    subprocess.run(
        ["unzip", "-q", "-o", path, "-d", folder],
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        capture_output=True,
    )
    # unzip writes code page 437 as Latin-1.
    unzipped = [os.fsencode(name) for name in names_in(folder)]
    assert sorted(unzipped) in (
        sorted(map(str.encode, expected)),
        sorted(n.encode("latin-1", "replace") for n in expected),
    )


def test_an_invalid_utf_8_name_costs_only_its_member(tmp_path: Path) -> None:
    path = raw_zip(tmp_path / "f.zip", [b"a.jpg", b"\xff\xfe.jpg", b"b.jpg"], utf8=True)
    assert names_in(path) == ["a.jpg", "\udcff\udcfe.jpg", "b.jpg"]
    assert reason_for(f"{path}/\udcff\udcfe.jpg") == "the file name is not UTF-8"


def test_a_name_ends_at_a_nul(tmp_path: Path) -> None:
    assert names_in(raw_zip(tmp_path / "f.zip", [b"a.jpg\0.txt"])) == ["a.jpg"]


def test_the_unicode_field_of_another_name_is_ignored(tmp_path: Path) -> None:
    """Programs that rename members keep the field; its checksum tells."""
    assert names_in(raw_zip(tmp_path / "f.zip", [b"new.jpg"], extra=unicode_field(b"old.jpg", "old.jpg"))) == [
        "new.jpg"
    ]


def test_of_duplicate_members_the_last_one_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "f.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for content in (b"first", b"second"):
            archive.writestr("a.jpg", content)
    assert names_in(path) == ["a.jpg"]
    with ImageReader() as reader:
        assert reader.read(f"{path}/a.jpg") == b"second"


def test_all_archives_of_a_concatenation_are_read(tmp_path: Path) -> None:
    parts = [make_zip(tmp_path / f"{n}.zip", {f"{n}.jpg": b"%d" % n, "same.jpg": b"of %d" % n}) for n in range(3)]
    path = tmp_path / "all.zip"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert names_in(path) == ["0.jpg", "same.jpg", "1.jpg", "2.jpg"]
    with ImageReader() as reader:
        assert [reader.read(f"{path}/{name}") for name in names_in(path)] == [b"0", b"of 2", b"1", b"2"]


@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK\5\6 in a comment " * 9])
def test_data_may_surround_the_archive(comment: bytes, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {"a.jpg": b"x"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = comment
    path.write_bytes(b"MZ a program that unpacks itself" + path.read_bytes() + bytes(1000))
    assert names_in(path) == ["a.jpg"]
    program = path.rename(tmp_path / "f.exe")
    assert names_in(program) == ["a.jpg"]
    with ImageReader() as reader:
        assert reader.read(f"{program}/a.jpg") == b"x"


@pytest.mark.parametrize("prefix", [b"", b"prefix"])
def test_zip64_archives_are_read(prefix: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)  # of archives that do without
    path = make_zip(tmp_path / "f.zip", {"a.jpg": b"a", "b.jpg": b"b"})
    with zipfile.ZipFile(path, "a") as archive, archive.open("large.jpg", "w", force_zip64=True) as stream:
        stream.write(b"large")
    data = prefix + path.read_bytes()
    assert b"PK\6\6" in data
    path.write_bytes(data)
    assert names_in(path) == ["a.jpg", "b.jpg", "large.jpg"]
    with ImageReader() as reader:
        assert reader.read(f"{path}/b.jpg") == b"b"
        assert reader.read(f"{path}/large.jpg") == b"large"


def test_symbolic_links_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "f.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/1.jpg", b"one")
        for name, target in {"b/link.jpg": "../a/1.jpg", "out.jpg": "/etc/passwd", "notes.txt": "gone"}.items():
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = UNIX, 0o120777 << 16
            archive.writestr(member, target)
    failures: list[tuple[str, str]] = []
    passed_over: list[tuple[str, str]] = []
    found = list(
        find_images(
            [str(path)], on_failure=lambda *f: failures.append(f), on_passed_over=lambda *p: passed_over.append(p)
        )
    )
    assert found == [f"{path}/a/1.jpg", f"{path}/b/link.jpg"]
    assert failures == [(f"{path}/out.jpg", "the link leads out of the archive, to /etc/passwd")]
    assert passed_over == [(f"{path}/notes.txt", "broken link")]
    with ImageReader() as reader:
        assert reader.read(f"{path}/b/link.jpg") == b"one"


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (6, "Implode"), (98, "PPMd"), (77, "method 77")])
def test_an_unsupported_compression_is_named(method: int, name: str, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {"a.jpg": b"content", "b.jpg": b"content"})
    data = bytearray(path.read_bytes())
    data[8] = data[data.index(b"PK\1\2") + 10] = method
    path.write_bytes(data)
    assert names_in(path) == ["a.jpg", "b.jpg"]
    assert reason_for(f"{path}/a.jpg").startswith(f"the archive member is compressed by {name}, which cannot be read")
    with ImageReader() as reader:
        assert reader.read(f"{path}/b.jpg") == b"content"


def test_a_part_of_a_split_archive_is_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {"a.jpg": b"x"})
    data = bytearray(path.read_bytes())
    end = data.index(b"PK\5\6")
    data[end + 4] = data[end + 6] = 3
    path.write_bytes(data)
    failures: list[tuple[str, str]] = []
    assert not list(find_images([str(path)], on_failure=lambda *f: failures.append(f)))
    assert "a part of a split archive" in failures[0][1]


def test_members_before_a_damage_of_the_directory_are_found(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {f"{number}.jpg": b"x" for number in range(9)})
    data = bytearray(path.read_bytes())
    position = [start for start in range(len(data)) if data.startswith(b"PK\1\2", start)][5]
    data[position] = 0
    path.write_bytes(data)
    failures: list[tuple[str, str]] = []
    found = list(find_images([str(path)], on_failure=lambda *f: failures.append(f)))
    assert found == [f"{path}/{number}.jpg" for number in range(5)]
    assert [failure[0] for failure in failures] == [str(path)]
    assert "the zip directory is damaged" in failures[0][1]


def test_huge_sizes_in_the_directory_do_not_allocate_memory(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "f.zip", {"a.jpg": random.Random(0).randbytes(500)})
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\1\2")
    data[start + 20 : start + 28] = (2**30 - 1).to_bytes(4, "little") * 2
    path.write_bytes(data)
    assert reason_for(f"{path}/a.jpg") == "the archive ends before the end of this member"
    data[start + 20 : start + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(data)
    assert reason_for(f"{path}/a.jpg") == "the archive member is larger than 1 GiB"
