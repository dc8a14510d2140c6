"""Links in archives lead to the faces that tar and unzip would extract (ratarmount #28)."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.cases.faces import draw_face
from tests.conftest import Run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a folder `d` of two faces, a hard link to one and a symbolic link to the other."""
    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
    draw_face(1).save(tmp_path / "d/a/000002.jpg")
    draw_face(2).save(tmp_path / "d/a/000014.jpg")
    os.link(tmp_path / "d/a/000002.jpg", tmp_path / "d/b/twin.jpg")
    (tmp_path / "d/b/link.jpg").symlink_to("../a/000014.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


FACES = {"d/a/000002.jpg", "d/a/000014.jpg", "d/b/twin.jpg", "d/b/link.jpg"}


def predict(run: Run, *arguments: str, check: int = 0) -> tuple[dict[str, dict[str, float]], str]:
    """The scores by path, and what is said on stderr."""
    completed = run("predict", *arguments, "--quiet", check=check)
    rows = [json.loads(line) for line in completed.stdout.splitlines()]
    return {row["path"]: row["scores"] for row in rows}, completed.stderr.decode()


def pack_tar(name: str, *sources: str) -> None:
    with tarfile.open(name, "w:gz" if name.endswith("gz") else "w") as archive:
        for source in sources:
            archive.add(source)


@pytest.mark.parametrize("name", ["links.tar", "links.tar.gz", "links.zip"])
def test_links_give_the_faces_of_the_folder(name: str, folder: Path, run: Run) -> None:
    if name.endswith(".zip"):
        with zipfile.ZipFile(name, "w") as archive:
            for path in sorted(FACES):
                if Path(path).is_symlink():
                    member = zipfile.ZipInfo(path)
                    member.create_system, member.external_attr = 3, 0o120777 << 16
                    archive.writestr(member, os.readlink(path))  # noqa: PTH115
                else:
                    archive.write(path)
    else:
        pack_tar(name, "d")
    scores, messages = predict(run, name)
    assert messages == ""
    assert scores.keys() == {f"{name}/{path}" for path in FACES}
    assert scores[f"{name}/d/b/link.jpg"] == scores[f"{name}/d/a/000014.jpg"]
    assert scores[f"{name}/d/b/twin.jpg"] == scores[f"{name}/d/a/000002.jpg"]
    assert scores[f"{name}/d/b/link.jpg"] != scores[f"{name}/d/b/twin.jpg"]
    of_folder, _ = predict(run, "d")
    assert {f"{name}/{path}": row for path, row in of_folder.items()} == scores


def test_a_member_that_is_a_link_can_be_named(folder: Path, run: Run) -> None:
    pack_tar("links.tar", "d")
    scores, messages = predict(run, "links.tar/d/b/link.jpg", "links.tar/d/a/000014.jpg")
    assert messages == ""
    assert scores["links.tar/d/b/link.jpg"] == scores["links.tar/d/a/000014.jpg"]


def test_links_to_nowhere_are_reported(folder: Path, run: Run) -> None:
    Path("d/gone.jpg").symlink_to("a/x.jpg")
    Path("d/out.jpg").symlink_to("/etc/hostname")
    Path("d/loop.jpg").symlink_to("loop.jpg")
    pack_tar("links.tar", "d")
    scores, messages = predict(run, "links.tar", check=3)
    assert scores.keys() == {f"links.tar/{path}" for path in FACES}
    assert set(messages.splitlines()) == {
        "fa-predict: left out links.tar/d/gone.jpg: the link leads to d/a/x.jpg, which is not in the archive",
        "fa-predict: left out links.tar/d/out.jpg: the link leads out of the archive, to /etc/hostname",
        "fa-predict: left out links.tar/d/loop.jpg: the link leads in a circle",
        "fa-predict: 3 inputs were left out",
    }


def test_linked_folders_are_searched_as_on_disk(folder: Path, run: Run) -> None:
    Path("d/again").symlink_to("a")
    Path("d/a/up").symlink_to("..")
    subprocess.run(["tar", "cf", "links.tar", "d"], check=True)
    scores, messages = predict(run, "links.tar")
    of_folder, _ = predict(run, "d")
    assert messages == ""
    assert scores.keys() == {f"links.tar/{path}" for path in of_folder}
    assert {"links.tar/d/again/000002.jpg", "links.tar/d/again/000014.jpg"} <= scores.keys()
