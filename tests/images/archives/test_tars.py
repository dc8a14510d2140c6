"""Tar archives of other systems, checked against tar where it is installed, and damaged ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from facetools.images.archives import compression
from facetools.images.reading import ImageError, ImageReader, try_read
from facetools.images.sources import find_images
from facetools.runtime import extras
from tests.images.cases import make_tar, reason_for


def add(
    archive: tarfile.TarFile, name: str, data: bytes = b"", *, kind: bytes = tarfile.REGTYPE, target: str = ""
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, len(data)
    archive.addfile(member, io.BytesIO(data))


def find(path: Path) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """The members of an archive that are images, those that failed with the reason, and those passed over."""
    failures: dict[str, str] = {}
    passed_over: dict[str, str] = {}
    names = list(find_images([str(path)], on_failure=failures.__setitem__, on_passed_over=passed_over.__setitem__))
    return [
        [name.removeprefix(f"{path}/") for name in names],
        *({name.removeprefix(f"{path}/"): text for name, text in texts.items()} for texts in (failures, passed_over)),
    ]


def contents(path: Path) -> dict[str, bytes]:
    names, failures, _ = find(path)
    assert not failures
    with ImageReader() as reader:
        return {name: reader.read(f"{path}/{name}") for name in names}


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_links_are_followed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"f{suffix}"
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        add(archive, "d/link.jpg", kind=tarfile.SYMTYPE, target="../e/1.jpg")  # before its target
        add(archive, "e/1.jpg", b"one")
        add(archive, "hard.jpg", kind=tarfile.LNKTYPE, target="./e/1.jpg")
        add(archive, "chain.jpg", kind=tarfile.SYMTYPE, target="hard.jpg")
        add(archive, "folder", kind=tarfile.SYMTYPE, target="e")
        add(archive, "out.jpg", kind=tarfile.SYMTYPE, target="../../x.jpg")
        add(archive, "lost.jpg", kind=tarfile.LNKTYPE, target="x.jpg")
        add(archive, "loop.jpg", kind=tarfile.SYMTYPE, target="loop.jpg")
        add(archive, "pipe.jpg", kind=tarfile.FIFOTYPE)
        add(archive, "readme.txt", kind=tarfile.SYMTYPE, target="gone")
    names, failures, passed_over = find(path)
    assert names == ["d/link.jpg", "e/1.jpg", "hard.jpg", "chain.jpg", "folder/1.jpg"]
    assert failures == {
        "out.jpg": "the link leads out of the archive",
        "lost.jpg": "a hard link to x.jpg, which is not in the archive",
        "loop.jpg": "the link leads in a circle",
    }
    assert passed_over == {"pipe.jpg": "named pipe", "readme.txt": "broken link"}
    with ImageReader() as reader:
        assert {reader.read(f"{path}/{name}") for name in names} == {b"one"}


def test_of_duplicate_members_the_last_one_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "f.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a.jpg", b"first")
        add(archive, "hard.jpg", kind=tarfile.LNKTYPE, target="a.jpg")
        add(archive, "./a.jpg", b"second")
    # tar replaces the file; the link keeps the first one.
    assert contents(path) == {"a.jpg": b"second", "hard.jpg": b"first"}


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_all_archives_of_a_concatenation_are_read(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    parts = [make_tar(tmp_path / f"{n}.tar", {f"{n}.jpg": b"%d" % n}).read_bytes() for n in range(3)]
    path = tmp_path / "f.tar"
    path.write_bytes(b"".join(map(compress, parts)))
    assert contents(path) == {"0.jpg": b"0", "1.jpg": b"1", "2.jpg": b"2"}
    path.write_bytes(compress(b"".join(parts)))
    assert contents(path) == {"0.jpg": b"0", "1.jpg": b"1", "2.jpg": b"2"}


def test_what_follows_the_end_is_ignored(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "f.tar", {"a.jpg": b"a"})
    path.write_bytes(path.read_bytes() + b"no header" * 500)
    assert contents(path) == {"a.jpg": b"a"}


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read(format: int, tmp_path: Path) -> None:
    path = tmp_path / "f.tar"
    names = ["folder/" * 20 + "ä.jpg", "日本/" * 3 + "1.jpg"]
    if format != tarfile.USTAR_FORMAT:
        names.append("folder/" * 40 + "x" * 200 + ".jpg")
    with tarfile.open(path, "w", format=format) as archive:
        for name in names:
            add(archive, name, name.encode())
            add(archive, f"{name}.link.jpg", kind=tarfile.LNKTYPE, target=name) if len(name.encode()) < 100 else None
    found = contents(path)
    assert [name for name in found if not name.endswith(".link.jpg")] == names
    assert all(content == name.removesuffix(".link.jpg").encode() for name, content in found.items())


def test_archives_of_old_systems_are_read(tmp_path: Path) -> None:
    """A header without magic, as tar of Unix V7 writes it."""
    path = make_tar(tmp_path / "f.tar", {"a.jpg": b"a", "b.jpg": b"b"})
    data = bytearray(path.read_bytes())
    for start in (0, 1024):
        data[start + 156 : start + 512], data[start + 148 : start + 156] = bytes(356), b" " * 8
        data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    bare = tmp_path / "no-suffix"
    bare.write_bytes(data)
    assert contents(bare) == {"a.jpg": b"a", "b.jpg": b"b"}


@pytest.mark.parametrize(
    "options", ["--format=gnu", "--format=pax --sparse-version=0.1", "--format=pax --sparse-version=1.0"]
)
def test_sparse_members_are_read(options: str, tmp_path: Path) -> None:
    tar = shutil.which("tar")
    if tar is None or b"GNU tar" not in subprocess.run([tar, "--version"], capture_output=True).stdout:
        pytest.skip("GNU tar is not installed")
    with (tmp_path / "a.jpg").open("wb") as stream:
        stream.seek(200_000)
        stream.write(b"end")
    subprocess.run([tar, "-S", *options.split(), "-cf", "f.tar", "a.jpg"], cwd=tmp_path, check=True)
    assert contents(tmp_path / "f.tar") == {"a.jpg": bytes(200_000) + b"end"}


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("f.taz", gzip.compress),
        ("f.tbz", bz2.compress),
        ("f.txz", lzma.compress),
        ("f.tlz", lambda data: lzma.compress(data, lzma.FORMAT_ALONE)),
        ("f.cbt", bytes),
        ("no-suffix", gzip.compress),
        ("f.zip", bytes),  # a wrong suffix
        ("shards.2024", bz2.compress),
    ],
)
def test_content_tells_the_compression(name: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(compress(make_tar(tmp_path / "plain.tar", {"d/a.jpg": b"a"}).read_bytes()))
    assert contents(tmp_path / name) == {"d/a.jpg": b"a"}
    (tmp_path / "plain.tar").unlink()
    assert list(find_images([str(tmp_path)])) == [f"{tmp_path}/{name}/d/a.jpg"]


def test_zstd_is_read_or_the_missing_package_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.tar.zst"
    try:
        zstd = compression.zstd_module()
    except extras.MissingExtraError:
        path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(50))
    else:
        path.write_bytes(zstd.compress(make_tar(tmp_path / "f.tar", {"a.jpg": b"a"}).read_bytes()))
        assert contents(path) == {"a.jpg": b"a"}

    def refuse() -> None:
        raise extras.MissingExtraError("a zstd archive needs backports.zstd")

    monkeypatch.setattr(compression, "zstd_module", refuse)
    assert find(path)[1] == {str(path): "a zstd archive needs backports.zstd"}


# Damaged archives


def damaged_members(path: Path) -> tuple[list[str], str]:
    """The members that are found, and what is said about the archive."""
    names, failures, _ = find(path)
    assert list(failures) == [str(path)]
    return names, failures[str(path)]


def test_members_around_a_damaged_header_are_found(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "f.tar", {f"{number}.jpg": b"x" * 600 for number in range(9)})
    data = bytearray(path.read_bytes())
    data[4 * 1536 : 4 * 1536 + 512] = random.Random(0).randbytes(512)
    path.write_bytes(data)
    names, reason = damaged_members(path)
    assert names == [f"{number}.jpg" for number in range(9) if number != 4]
    assert reason == "damaged at byte 6144 (invalid header), so members may be missing"


def test_members_of_a_truncated_archive_are_found(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "f.tar", {f"{number}.jpg": b"x" * 600 for number in range(9)})
    data = path.read_bytes()
    for end, expected, reason in (
        (4 * 1536 + 700, 5, "it ends within a member, so members may be missing"),
        (4 * 1536 + 100, 4, "damaged at byte 6144 (truncated header), so members may be missing"),
        (4 * 1536, 4, "it has no end marker, so members may be missing"),
    ):
        path.write_bytes(data[:end])
        assert damaged_members(path) == ([f"{number}.jpg" for number in range(expected)], reason)
        with ImageReader() as reader:
            assert reader.read(f"{path}/3.jpg") == b"x" * 600
    path.write_bytes(data[: 4 * 1536 + 700])
    assert reason_for(f"{path}/4.jpg") == "the archive ends before the end of this member"


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_members_of_a_truncated_compressed_archive_are_found(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    # More than one block of bzip2, which holds 900 kB.
    tar = make_tar(tmp_path / "f.tar", {f"{n}.jpg": random.Random(n).randbytes(10_000) for n in range(120)})
    path = tmp_path / "f.tar.x"
    data = compress(tar.read_bytes())
    path.write_bytes(data[: len(data) * 3 // 4])
    names, reason = damaged_members(path)
    assert 40 < len(names) < 120
    assert reason == "unexpected end of file, so members may be missing"
    with ImageReader() as reader:
        assert reader.read(f"{path}/{names[0]}") == random.Random(0).randbytes(10_000)


def test_a_negative_size_does_not_go_in_circles(tmp_path: Path) -> None:
    """As in CVE-2025-8194."""
    path = tmp_path / "f.tar"
    header = bytearray(tarfile.TarInfo("a.jpg").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\0"  # -512 as a binary number
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(make_tar(tmp_path / "g.tar", {"b.jpg": b"b"}).read_bytes()[:1024] + header + bytes(1024))
    assert damaged_members(path)[0] == ["b.jpg"]


def test_extended_headers_of_implausible_size_do_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "f.tar"
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert "implausible size" in damaged_members(path)[1]


def test_a_chain_of_extended_headers_ends(tmp_path: Path) -> None:
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1
    path = tmp_path / "f.tar"
    path.write_bytes((member.tobuf(tarfile.GNU_FORMAT) + b"x" * 512) * 3000)
    assert find(path)[0] == []


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_a_size_beyond_all_files_is_reported(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jpg")
    member.size = 2**80
    path = tmp_path / "f.tar"
    path.write_bytes(compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048)))
    assert "implausible size" in damaged_members(path)[1]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_members_before_a_damage_of_the_compressed_data_are_read_in_any_order(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    tar = make_tar(tmp_path / "f.tar", {f"{n}.jpg": random.Random(n).randbytes(10_000) for n in range(120)})
    path = tmp_path / "f.tar.x"
    data = bytearray(compress(tar.read_bytes()))
    data[len(data) * 9 // 10] ^= 0xFF
    path.write_bytes(data)
    names, reason = damaged_members(path)
    assert reason.endswith(", so members may be missing or damaged")
    with ImageReader() as reader:
        for name in (*names[-3:], *names[:3], *names[-3:]):
            assert isinstance(try_read(reader, f"{path}/{name}"), bytes | ImageError)
        assert reader.read(f"{path}/{names[0]}") == random.Random(0).randbytes(10_000)
