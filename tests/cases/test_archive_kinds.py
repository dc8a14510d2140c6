"""Folders of shards and archives of every kind are read, or said to be archives (webdataset #426, img2dataset #2)."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from facetools.images.archives import compression
from facetools.runtime.extras import MissingExtraError
from tests.cases.faces import draw_face
from tests.conftest import Run
from tests.images.cases import encode, make_tar, make_zip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder `shards` of two tar archives and their statistics."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        faces = {f"{shard}{number}.jpg": encode(draw_face(number), "jpeg") for number in range(2)}
        texts = {f"{shard}{number}.txt": b"a face" for number in range(2)}
        make_tar(tmp_path / "shards" / f"0000{shard}.tar", dict(sorted((faces | texts).items())))
        (tmp_path / "shards" / f"0000{shard}_stats.json").write_text("{}")
    return tmp_path


def predict(run: Run, *arguments: str, check: int = 0) -> tuple[list[str], list[str]]:
    """The paths of the faces, and the lines on stderr except the first and the last, which are about the run."""
    completed = run("predict", *arguments, check=check)
    lines = completed.stderr.decode().splitlines()
    return [json.loads(line)["path"] for line in completed.stdout.splitlines()], lines[1 : None if check == 1 else -1]


SHARDS = ["00000.tar/00.jpg", "00000.tar/01.jpg", "00001.tar/10.jpg", "00001.tar/11.jpg"]


def test_a_folder_of_shards_is_read(folder: Path, run: Run) -> None:
    paths, messages = predict(run, "shards")
    assert paths == [f"shards/{name}" for name in SHARDS]
    assert messages == ["fa-predict: passed over 6 files that are not images: 4 .txt, 2 .json"]


def test_archives_beside_images_are_read(folder: Path, run: Run) -> None:
    mixed = folder / "mixed"
    mixed.mkdir()
    draw_face().save(mixed / "b.png")
    shutil.copy("shards/00001.tar", mixed)
    make_zip(mixed / "more.zip", {"inner.tar": Path("shards/00000.tar").read_bytes(), "x.png": encode(draw_face())})
    paths, messages = predict(run, "mixed", "-v")
    assert paths == ["mixed/00001.tar/10.jpg", "mixed/00001.tar/11.jpg", "mixed/b.png", "mixed/more.zip/x.png"]
    assert "fa-predict: passed over mixed/more.zip/inner.tar (archive inside an archive)" in messages
    assert "fa-predict: passed over 3 files that are not images: 2 .txt, 1 archive inside an archive" in messages


@pytest.mark.parametrize("name", ["faces.taz", "faces.cbt", "no-suffix", "FACES.ZIP", "faces.cbz", "two.tar"])
def test_archives_of_other_kinds_are_read(name: str, folder: Path, run: Run) -> None:
    shard = Path("shards/00000.tar").read_bytes()
    if name.lower().endswith(("zip", "cbz")):
        make_zip(folder / name, {"00.jpg": encode(draw_face(), "jpeg")})
    elif name == "two.tar":  # cat 00000.tar 00001.tar
        Path(name).write_bytes(shard + Path("shards/00001.tar").read_bytes())
    else:
        Path(name).write_bytes(gzip.compress(shard) if name.endswith("taz") else shard)
    paths, _ = predict(run, name)
    expected = {"FACES.ZIP": ["00.jpg"], "faces.cbz": ["00.jpg"], "two.tar": ["00.jpg", "01.jpg", "10.jpg", "11.jpg"]}
    assert paths == [f"{name}/{member}" for member in expected.get(name, ["00.jpg", "01.jpg"])]


def test_zstd_is_read_or_the_command_that_installs_it_named(folder: Path, run: Run) -> None:
    try:
        zstd = compression.zstd_module()
    except MissingExtraError:
        Path("faces.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd\x04\x00\x01\x00\x00\x99\xe9\xd8\x51")
        _, messages = predict(run, "faces.tar.zst", check=1)
        assert messages == [
            "fa-predict: faces.tar.zst: a zstd archive needs backports.zstd, which is not installed: "
            "pip install 'facetools[zstd]'"
        ]
    else:
        Path("faces.tar.zst").write_bytes(zstd.compress(Path("shards/00000.tar").read_bytes()))
        assert predict(run, "faces.tar.zst")[0] == ["faces.tar.zst/00.jpg", "faces.tar.zst/01.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("faces.7z", b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
        ("faces.rar", b"Rar!\x1a\x07\1\0", "RAR"),
        ("faces.tar.lz4", b"\x04\x22\x4d\x18", "lz4"),
        ("faces.zip", b"7z\xbc\xaf\x27\x1c\0\4", "7z"),  # a wrong suffix
        ("faces", b"Rar!\x1a\x07\1\0", "RAR"),
    ],
)
def test_archives_that_cannot_be_read_are_said_to_be_archives(
    name: str, content: bytes, kind: str, folder: Path, run: Run
) -> None:
    Path(name).write_bytes(content + bytes(600))
    _, messages = predict(run, name, check=1)
    assert messages == [f"fa-predict: {name}: {kind} archives cannot be read; unpack it, or pack it as zip or tar"]
    (folder / "mixed").mkdir()
    Path(name).rename(folder / "mixed" / name)
    draw_face().save(folder / "mixed" / "b.png")
    paths, messages = predict(run, "mixed", check=3)
    assert paths == ["mixed/b.png"]
    assert messages[0].startswith(f"fa-predict: left out mixed/{name}: {kind} archives cannot be read")


def test_archives_on_stdin_are_said_to_be_no_list(folder: Path, run: Run) -> None:
    completed = run("predict", "-", "-q", check=1, input=Path("shards/00000.tar").read_bytes())
    assert completed.stderr == (
        b"fa-predict: standard input: it is a tar archive, not a list of paths; name the file itself\n"
    )


def test_a_damaged_archive_costs_only_itself(folder: Path, run: Run) -> None:
    Path("shards/00000.tar").write_bytes(b"damaged")
    for sources in (["shards"], ["shards/00000.tar", "shards/00001.tar"]):
        paths, messages = predict(run, *sources, check=3)
        assert paths == ["shards/00001.tar/10.jpg", "shards/00001.tar/11.jpg"]
        assert messages[0].startswith("fa-predict: left out shards/00000.tar: not a readable archive: ")
    _, messages = predict(run, "shards/00000.tar", check=1)
    assert messages[0].startswith("fa-predict: shards/00000.tar: not a readable archive: ")


def test_a_truncated_archive_gives_the_members_before_its_end(folder: Path, run: Run) -> None:
    data = Path("shards/00000.tar").read_bytes()
    second_face = data.index(b"01.jpg")
    Path("cut.tar").write_bytes(data[: second_face + 700])
    Path("cut.tar.gz").write_bytes(gzip.compress(data[: second_face + 700])[:-20])
    for name in ("cut.tar", "cut.tar.gz"):
        paths, messages = predict(run, name, check=3)
        assert paths == [f"{name}/00.jpg"]
        assert any(f"left out {name}: " in message for message in messages)


def test_zips_of_other_systems_have_the_names_of_unzip(folder: Path, run: Run) -> None:
    face = encode(draw_face(), "jpeg")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, system in (("dir\\sub\\a.jpg", 0), ("/abs/b.jpg", 3), ("../c.jpg", 3), ("./d.jpg", 3)):
            member = zipfile.ZipInfo("x")
            member.filename, member.create_system = name, system
            archive.writestr(member, face)
    Path("f.zip").write_bytes(stream.getvalue())
    assert predict(run, "f.zip")[0] == ["f.zip/dir/sub/a.jpg", "f.zip/abs/b.jpg", "f.zip/c.jpg", "f.zip/d.jpg"]


def test_of_equal_members_the_last_one_counts_once(folder: Path, run: Run) -> None:
    with tarfile.open("f.tar", "w") as archive:
        for number in (1, 2):
            data = encode(draw_face(number))
            member = tarfile.TarInfo("a.png")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    draw_face(2).save("expected.png")
    completed = run("predict", "f.tar", "expected.png", "-q")
    rows = [json.loads(line) for line in completed.stdout.splitlines()]
    assert [row["path"] for row in rows] == ["f.tar/a.png", "expected.png"]
    assert rows[0]["scores"] == rows[1]["scores"]
