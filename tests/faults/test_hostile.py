"""Inputs made to harm: escaping archive members, decompression bombs, huge headers, deep nesting, loops of links."""

from __future__ import annotations

import io
import json
import resource
import struct
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.images.cases import encode, gradient, make_zip

FACE = encode(gradient(24, 20), "jpeg")

#: The unpacked size of the bombs, and the address space that the commands may use.
BOMB_BYTES, LIMIT_BYTES = 3 * 2**30, 2 * 2**30


def augment(run: Run, folder: Path, *sources: str | Path, **options: object) -> subprocess.CompletedProcess[bytes]:
    """Copy images to the folder `out`, without changing them much."""
    return run("augment", *sources, "-o", "out", "-q", cwd=folder, **options)


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").iterdir())


def zeros_deflated(size: int) -> bytes:
    """A raw deflate stream of at least `size` zeros. It repeats one compressed block, which takes no time."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return start * (size // 2**20) + b"\x03\x00"


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder two levels down, so that names with `..` can leave it."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    return folder


ESCAPING = ["../escaped.jpg", "../../escaped.jpg", "/tmp/escaped.jpg", "..\\..\\escaped.jpg", "C:\\escaped.jpg"]


@pytest.mark.parametrize("name", ESCAPING)
def test_zip_members_do_not_escape(run: Run, tmp_path: Path, work: Path, name: str) -> None:
    make_zip(work / "faces.zip", {"good.jpg": FACE, name: FACE})
    augment(run, work, "faces.zip", check=None)
    assert {path.parent for path in tmp_path.rglob("*.jpg")} == {work / "out"}
    assert "good-1.jpg" in copies(work)
    assert not Path("/tmp/escaped-1.jpg").exists()


@pytest.mark.parametrize("name", ESCAPING)
def test_tar_members_do_not_escape(run: Run, tmp_path: Path, work: Path, name: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(FACE)
    with tarfile.open(work / "faces.tar", "w") as archive:
        for member_name, kind, target in (
            ("good.jpg", tarfile.REGTYPE, ""),
            (name, tarfile.REGTYPE, ""),
            ("link.jpg", tarfile.SYMTYPE, "../../secret.jpg"),
            ("absolute.jpg", tarfile.SYMTYPE, str(tmp_path / "secret.jpg")),
            ("hard.jpg", tarfile.LNKTYPE, "../../secret.jpg"),
        ):
            member = tarfile.TarInfo(member_name)
            member.type, member.linkname = kind, target
            member.size = len(FACE) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(FACE) if member.size else None)
    augment(run, work, "faces.tar", check=None)
    assert {path.parent for path in tmp_path.rglob("*.jpg")} == {tmp_path, work / "out"}
    # The links lead out of the archive, so there is nothing to read.
    assert not {"link-1.jpg", "absolute-1.jpg", "hard-1.jpg"} & set(copies(work))


def zip_bomb(path: Path) -> None:
    content = zeros_deflated(BOMB_BYTES)
    member = zipfile.ZipInfo("bomb.png")
    member.compress_type, member.compress_size, member.file_size = zipfile.ZIP_DEFLATED, len(content), BOMB_BYTES
    member.CRC = 0
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.jpg", FACE)
        # writestr would compress the content once more.
        member.header_offset = archive.start_dir
        archive.fp.seek(archive.start_dir)
        archive.fp.write(member.FileHeader() + content)
        archive.start_dir = archive.fp.tell()
        archive.filelist.append(member)


def tar_bomb(path: Path) -> None:
    good, bomb = tarfile.TarInfo("good.jpg"), tarfile.TarInfo("bomb.png")
    good.size, bomb.size = len(FACE), BOMB_BYTES
    start = good.tobuf() + FACE.ljust(-(-len(FACE) // 512) * 512, b"\0") + bomb.tobuf(tarfile.GNU_FORMAT)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = compressor.compress(start) + compressor.flush(zlib.Z_FULL_FLUSH) + zeros_deflated(BOMB_BYTES + 2**20)
    path.write_bytes(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + stream + bytes(8))


def png_bomb(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0))
    content = chunk(b"IDAT", b"\x78\x9c" + zeros_deflated(BOMB_BYTES))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + content + chunk(b"IEND", b""))


def test_bomb_in_a_zip_costs_only_itself(run: Run, work: Path) -> None:
    zip_bomb(work / "faces.zip")
    errors = augment(run, work, "faces.zip", check=3, preexec_fn=limit_memory).stderr.decode()
    assert copies(work) == ["good-1.jpg"]
    assert "faces.zip/bomb.png: " in errors


def test_bomb_in_a_tar_costs_only_itself(run: Run, work: Path) -> None:
    tar_bomb(work / "faces.tar.gz")
    done = augment(run, work, "faces.tar.gz", check=None, preexec_fn=limit_memory)
    # The checksum at the end of the stream is wrong, so refusing the whole archive is right too.
    assert done.returncode in (1, 3), done.stderr
    assert b"defect" not in done.stderr


def test_bomb_in_a_png_costs_only_itself(run: Run, work: Path) -> None:
    png_bomb(work / "bomb.png")
    (work / "good.jpg").write_bytes(FACE)
    errors = augment(run, work, "bomb.png", "good.jpg", check=3, preexec_fn=limit_memory).stderr.decode()
    assert copies(work) == ["good-1.jpg"]
    assert "bomb.png: 200000 x 200000 pixels exceed the limit" in errors


def npy_file(version: int, header: bytes, size: int | None = None) -> bytes:
    width = 2 if version == 1 else 4
    length = (len(header) if size is None else size).to_bytes(width, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header


HUGE_ARRAYS = {
    "header of 4 GB": npy_file(2, b"{'descr': '<f4'", 2**32 - 1),
    "array of 4 TB": npy_file(1, b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000), }\n"),
    "array of more than 2**64 bytes": npy_file(
        1, b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000000, 4000000000000), }\n"
    ),
    "items of 2 GB": npy_file(1, b"{'descr': '|S2147483647', 'fortran_order': False, 'shape': (1000000,), }\n"),
    "nested header": npy_file(2, b"(" * 2**20),
}


@pytest.mark.parametrize("name", HUGE_ARRAYS)
@pytest.mark.parametrize("on_stdin", [False, True])
def test_huge_npy_headers_are_refused(run: Run, work: Path, name: str, on_stdin: bool) -> None:
    (work / "table.npy").write_bytes(HUGE_ARRAYS[name])
    source = "-" if on_stdin else "table.npy"
    with (work / "table.npy").open("rb") as stream:
        done = run("cluster", source, "-k", "2", cwd=work, check=1, stdin=stream, preexec_fn=limit_memory)
    assert_one_sentence(done.stderr)
    assert not done.stdout


NESTED = {"open": b"[" * 100_000, "closed": b'{"x":' * 5000 + b"1" + b"}" * 5000}
READERS = (
    ("cluster", "nested.json", "-k", "2"),
    ("cluster", "table.jsonl", "-k", "1", "--weights", "nested.json"),
    ("report", "table.jsonl", "--comparison", "nested.json"),
    ("report", "table.jsonl", "--eigenfaces", "nested.json"),
)


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("arguments", READERS, ids=lambda arguments: f"{arguments[0]} {arguments[-2]}")
def test_deeply_nested_json_is_refused(run: Run, work: Path, name: str, arguments: tuple[str, ...]) -> None:
    (work / "nested.json").write_bytes(NESTED[name] + b"\n")
    (work / "table.jsonl").write_text(json.dumps({"path": "a.jpg", "labels": {"Bald": 1}, "cluster": 0}) + "\n")
    assert_one_sentence(run(*arguments, cwd=work, check=1).stderr)


def test_loops_of_links_end(run: Run, work: Path) -> None:
    faces = work / "faces"
    (faces / "inner").mkdir(parents=True)
    (faces / "inner" / "face.jpg").write_bytes(FACE)
    (faces / "inner" / "up").symlink_to("..")
    (faces / "self").symlink_to(".")
    (faces / "one").symlink_to("two")
    (faces / "two").symlink_to("one")
    (faces / "loop.jpg").symlink_to("loop.jpg")
    (faces / "nowhere.jpg").symlink_to("missing.jpg")
    done = augment(run, work, "faces", check=3)
    assert copies(work) == ["face-1.jpg"]
    errors = done.stderr.decode()
    assert "faces/loop.jpg: " in errors and "faces/nowhere.jpg: " in errors


def assert_one_sentence(errors: bytes) -> None:
    assert errors.startswith(b"fa-"), errors
    assert len(errors.splitlines()) == 1 and len(errors) < 500, errors
    assert b"defect" not in errors, errors
