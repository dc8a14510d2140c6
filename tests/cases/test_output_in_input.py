"""Output folders that lie in a source, and outputs that name an input: nothing is copied twice or replaced."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run, command

SCORES = ({"Smiling": 0.9, "Male": 0.2}, {"Smiling": 0.6, "Male": 0.5}, {"Smiling": 0.3, "Male": 0.8})


def write_images(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        rng = np.random.default_rng(list(f"{folder.name}/{name}".encode()))
        Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8)).save(folder / f"{name}.jpg")


def contents(folder: Path) -> dict[str, str]:
    """The digest of every file in a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_copies(stdout: bytes) -> list[tuple[str, str]]:
    """The source and the path of every copy."""
    return [(record["source"], record["path"]) for record in map(json.loads, stdout.splitlines())]


@pytest.mark.parametrize("output", ["in/aug", "in", "in/sub/aug", "in/aug.zip"])
def test_the_same_command_twice_gives_the_same_copies(output: str, run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "in", "a", "b", "a-1")
    write_images(tmp_path / "in" / "sub", "a")
    originals = contents(tmp_path / "in")
    first = run("augment", "in", "-o", output, "--copies", "2", cwd=tmp_path)
    after = contents(tmp_path / "in")
    assert len(read_copies(first.stdout)) == 8
    assert len({path for _, path in read_copies(first.stdout)}) == 8
    assert after.items() >= originals.items()
    second = run("augment", "in", "-o", output, "--copies", "2", cwd=tmp_path)
    assert second.stdout == first.stdout
    assert contents(tmp_path / "in") == after
    assert b"copies of earlier runs and not copied" in second.stderr or b"is a copy of earlier runs" in second.stderr


def test_an_original_that_is_called_like_a_copy_stays(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "same", "a", "a-1")
    originals = contents(tmp_path / "same")
    copies = read_copies(run("augment", "same", "-o", "same", cwd=tmp_path).stdout)
    assert copies == [("same/a-1.jpg", "same/a-1-1.jpg"), ("same/a.jpg", "same/a~2-1.jpg")]
    assert contents(tmp_path / "same").items() >= originals.items()


def test_copies_of_other_sources_and_changed_copies_stay(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "one", "x")
    write_images(tmp_path / "two", "x")
    for source, name in (("one", "x-1.jpg"), ("two", "x~2-1.jpg"), ("one", "x-1.jpg")):
        ((_, path),) = read_copies(run("augment", source, "-o", "out", cwd=tmp_path).stdout)
        assert path == f"out/{name}"
    write_images(tmp_path / "out", "x-1")  # as an editor does
    edited = contents(tmp_path / "out")
    ((_, path),) = read_copies(run("augment", "one", "-o", "out", cwd=tmp_path).stdout)
    assert path == "out/x~3-1.jpg"
    assert contents(tmp_path / "out").items() >= edited.items()


def test_a_copy_that_is_named_is_a_source_and_stays(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "in", "x")
    run("augment", "in", "-o", "out", cwd=tmp_path)
    before = contents(tmp_path / "out")
    copies = read_copies(run("augment", "out/x-1.jpg", "in/x.jpg", "-o", "out", cwd=tmp_path).stdout)
    assert copies == [("out/x-1.jpg", "out/x-1-1.jpg"), ("in/x.jpg", "out/x~2-1.jpg")]
    assert contents(tmp_path / "out").items() >= before.items()
    elsewhere = read_copies(run("augment", "out", "-o", "other", cwd=tmp_path).stdout)
    assert len(elsewhere) == 3


def test_a_sheet_in_a_source_is_no_source_later(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "in", "x")
    lines = [run("augment", "in", "-o", "out", "--sheet", "in/sheet.png", cwd=tmp_path).stdout for _ in range(2)]
    assert lines[0] == lines[1]
    assert len(read_copies(lines[0])) == 1


def test_a_killed_run_leaves_copies_that_the_next_run_knows(run: Run, tmp_path: Path) -> None:
    write_images(tmp_path / "in", *(f"{number:03d}" for number in range(60)))
    expected = contents(tmp_path / "in")
    reference = run("augment", "in", "-o", "aug", "--copies", "3", cwd=tmp_path).stdout
    line = command("augment", "in", "-o", "in/aug", "--copies", "3", "--jobs", "1")
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            if len(list(tmp_path.glob("in/aug/*.jpg"))) > 3:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    done = run("augment", "in", "-o", "in/aug", "--copies", "3", cwd=tmp_path)
    assert done.stdout.replace(b'"in/aug/', b'"aug/') == reference
    copies = {name: digest for name, digest in contents(tmp_path / "in").items() if name not in expected}
    assert len(copies) == 180
    assert all(name.startswith("aug/") and name.endswith(".jpg") for name in copies)


# Outputs that name an input


@pytest.fixture
def inputs(tmp_path: Path, run: Run) -> Path:
    """A folder with images, tables, archives and lists."""
    write_images(tmp_path / "faces", "a", "b", "c")
    rows = [
        {"path": f"faces/{name}.jpg", "scores": scores, "labels": {"Smiling": 1, "Male": 0}, "cluster": 0}
        for name, scores in zip("abc", SCORES, strict=True)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "list.txt").write_text("faces/a.jpg\nfaces/b.jpg\n")
    (tmp_path / "weights.json").write_text('{"Smiling": 1, "Male": 2}')
    (tmp_path / "history.jsonl").write_text('{"epoch": 1, "loss": 0.5}\n')
    (tmp_path / "link.jsonl").symlink_to("t.jsonl")
    (tmp_path / "hard.jsonl").hardlink_to(tmp_path / "t.jsonl")
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.write(tmp_path / "faces" / "a.jpg", "a.jpg")
    celeba = tmp_path / "celeba"
    celeba.mkdir()
    (celeba / "img_align_celeba.zip").write_bytes((tmp_path / "faces.zip").read_bytes())
    (celeba / "list_attr_celeba.txt").write_text("1\nSmiling Male\na.jpg 1 -1\n")
    (tmp_path / "cwd.jsonl").write_text("unrelated\n")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "cluster t.jsonl -k 2 -o o --summary t.jsonl",
        "cluster t.jsonl -k 2 -o o --summary link.jsonl",
        "cluster t.jsonl -k 2 -o o --summary hard.jsonl",
        "cluster t.jsonl -k 2 -o o --summary ./o",
        "cluster t.jsonl -k 2 -o weights.json --weights weights.json",
        "report t.jsonl -o t.jsonl",
        "report t.jsonl -o history.jsonl --history history.jsonl",
        "report t.jsonl -o history.jsonl --history .",
        "report t.jsonl -o link.jsonl --labels t.jsonl",
        "report t.jsonl -o faces/b.jpg",
        "predict faces -o faces/a.jpg",
        "predict list.txt -o list.txt",
        "predict list.txt -o faces/b.jpg",
        "predict faces.zip -o faces.zip --format jsonl",
        "predict faces/a.jpg --labels celeba -o celeba/list_attr_celeba.txt",
        "predict celeba -o celeba/list_attr_celeba.txt",
        "augment faces -o out --sheet faces/c.jpg",
        "augment faces.zip -o faces.zip",
        "augment faces.zip/a.jpg -o faces.zip",
        "augment faces -o new.zip --sheet ./../{name}/faces/a.jpg",
        "train faces --labels t.jsonl --attributes Smiling --weights none -o faces/a.jpg",
    ],
)
def test_an_output_that_would_replace_an_input_is_refused(line: str, run: Run, inputs: Path) -> None:
    before = contents(inputs)
    done = run(*line.format(name=inputs.name).split(), cwd=inputs, check=2)
    assert b"Error: Invalid value for" in done.stderr
    assert done.stdout == b""
    assert contents(inputs) == before


def test_stdin_counts_as_an_input(run: Run, inputs: Path) -> None:
    before = contents(inputs)
    with (inputs / "t.jsonl").open("rb") as table:
        done = run("cluster", "-k", "2", "-o", "o", "--summary", "t.jsonl", stdin=table, cwd=inputs, check=2)
    assert b"it would replace the input standard input" in done.stderr
    assert contents(inputs) == before


@pytest.mark.parametrize("output", ["t.jsonl", "link.jsonl"])
def test_cluster_may_replace_its_own_table(output: str, run: Run, inputs: Path) -> None:
    run("cluster", "t.jsonl", "-k", "2", "-o", output, cwd=inputs)
    rows = [json.loads(line) for line in (inputs / "t.jsonl").read_text().splitlines()]
    assert {row["cluster"] for row in rows} == {0, 1}
    assert (inputs / "link.jsonl").is_symlink()


def test_eigenfaces_replace_only_pictures_of_earlier_runs(run: Run, inputs: Path) -> None:
    run("eigenface", "t.jsonl", "-o", "eig", "--components", "2", cwd=inputs)
    assert (inputs / "eig" / "cluster-0000-component-2.png").exists()
    run("eigenface", "t.jsonl", "-o", "eig", "--components", "1", cwd=inputs)
    assert sorted(path.name for path in (inputs / "eig").iterdir()) == [
        "cluster-0000-component-1.png",
        "cluster-0000-mean.png",
        "eigenfaces.npz",
    ]
    (inputs / "p.jsonl").write_text('{"path": "eig/cluster-0000-mean.png", "cluster": 0}\n')
    before = contents(inputs)
    run("eigenface", "p.jsonl", "-o", "eig", cwd=inputs, check=2)
    assert contents(inputs) == before
    for name in ("cluster-0000-mean.png", "eigenfaces.npz"):
        folder = inputs / f"of others {name}"
        folder.mkdir()
        (folder / name).write_bytes(b"of others")
        done = run("eigenface", "t.jsonl", "-o", folder, cwd=inputs, check=1)
        assert b"was not written by facetools" in done.stderr
        assert contents(folder) == {name: hashlib.sha256(b"of others").hexdigest()}


def test_figures_data_sets_and_runs_replace_only_their_own_files(run: Run, inputs: Path) -> None:
    report = ("report", "t.jsonl", "--faces", "0", "-o", "r.html", "--figures")
    for _ in range(2):
        run(*report, "figures", cwd=inputs)
    (inputs / "other").mkdir()
    (inputs / "other" / "clusters.png").write_bytes(b"of others")
    (inputs / "config.json").write_text("{}")
    before = contents(inputs)
    done = run(*report, "other", cwd=inputs, check=1)
    assert b"other/clusters.png: it was not written by facetools" in done.stderr
    done = run("draw", "celeba", "--faces", "2", cwd=inputs, check=1)
    assert b"it was not written by facetools" in done.stderr
    settings = ("train", "faces", "--labels", "t.jsonl", "--attributes", "Smiling", "--weights", "none")
    done = run(*settings, "-o", ".", cwd=inputs, check=1)
    assert b"it was not written by fa-train" in done.stderr
    assert contents(inputs) == before
    for _ in range(2):
        run("draw", "drawn", "--faces", "2", "--size", "32", cwd=inputs)
