"""Run the commands as processes: pipelines, failing inputs, exit codes, outputs, signals, messages."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools.table.attributes import CELEBA40, PAPER10, PAPER37
from facetools.table.lists import read_attribute_list
from tests.conftest import Run, SyntheticFaces, command

COMMANDS = ("align", "augment", "train", "predict", "cluster", "eigenface", "find", "report")


def parse_rows(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="session")
def scores(synthetic: SyntheticFaces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL face table of the synthetic faces, with scores near their true labels."""
    truth = read_attribute_list(synthetic.labels)
    rng = np.random.default_rng(0)
    values = np.where(truth.values, 0.9, 0.1) + rng.uniform(-0.1, 0.1, truth.values.shape)
    path = tmp_path_factory.mktemp("scores") / "scores.jsonl"
    with path.open("w") as stream:
        for file, row in zip(truth.files, np.float32(values).tolist(), strict=True):
            face = {"path": f"{synthetic.zip}/img_align_celeba/{file}", "scores": dict(zip(CELEBA40, row, strict=True))}
            stream.write(json.dumps(face) + "\n")
    return path


# Pipelines and inputs


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_commands_work_in_a_pipeline(synthetic: SyntheticFaces, tmp_path: Path, encoding: str) -> None:
    def shell(*words: object) -> str:
        return " ".join(map(str, command(*words)))

    script = f"""set -e -o pipefail; cd {tmp_path}
        {shell("predict", synthetic.zip, "--model", synthetic.model, "--format", encoding, "--batch", 50)} \
        | {shell("cluster", "-k", 4, "--soft", "--summary", "summary.json")} \
        | tee clusters.{encoding} \
        | {shell("eigenface", "-o", "eigenfaces", "--components", 2, "--size", 24)} > eigenfaces.jsonl
        {shell("report", f"clusters.{encoding}", "--eigenfaces", "eigenfaces.jsonl", "-o", "report.html")}"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    summary = json.loads((tmp_path / "summary.json").read_text())
    keys = {"method", "parameters", "clusters", "noise", "inertia", "silhouette", "faces", "distinct_codes", "seconds"}
    assert keys <= summary.keys()
    assert set(summary["seconds"]) == {"read", "cluster", "silhouette", "write"}
    assert (summary["faces"], summary["clusters"]) == (160, 4)
    records = parse_rows((tmp_path / "eigenfaces.jsonl").read_bytes())
    assert sum(record["faces"] for record in records) == 160
    for record in records:
        for name in (record["mean"], *record["components"]):
            with Image.open(tmp_path / name) as picture:
                assert picture.size == (24, 24)
    saved = np.load(tmp_path / "eigenfaces" / "eigenfaces.npz")
    assert saved["components"].shape == (4, 2, 24, 24, 3)
    assert saved["faces"].tolist() == [record["faces"] for record in records]
    assert "<html" in (tmp_path / "report.html").read_text()
    assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]


def test_both_encodings_hold_the_same_table(scores: Path, synthetic: SyntheticFaces, run: Run, tmp_path: Path) -> None:
    expected = parse_rows(run("predict", synthetic.folder, "--partition", "test", "--model", synthetic.model).stdout)
    run("predict", synthetic.folder, "--partition", "test", "--model", synthetic.model, "-o", tmp_path / "scores.npy")
    array = np.load(tmp_path / "scores.npy", mmap_mode="r")
    assert [row["path"] for row in expected] == [path.decode() for path in array["path"]]
    for name in PAPER37:
        assert np.array_equal(np.float32([row["scores"][name] for row in expected]), array["scores"][name])
    run("cluster", scores, "-k", "3", "-o", tmp_path / "clusters.npy")
    from_jsonl = parse_rows(run("cluster", scores, "-k", "3").stdout)
    clustered = np.load(tmp_path / "clusters.npy")
    assert clustered["cluster"].tolist() == [row["cluster"] for row in from_jsonl]
    from_npy = parse_rows(run("cluster", tmp_path / "clusters.npy", "-k", "3", "--format", "jsonl").stdout)
    assert from_npy == from_jsonl


def test_predict_attaches_labels_and_selects_a_partition(synthetic: SyntheticFaces, run: Run) -> None:
    done = run(
        "predict", synthetic.folder, "--partition", "test", "--labels", synthetic.folder, "--model", synthetic.model
    )
    truth = read_attribute_list(synthetic.labels)
    rows = parse_rows(done.stdout)
    assert len(rows) == 32
    for row in rows:
        values = truth.values[truth.files.index(Path(row["path"]).name)]
        assert row["labels"] == {name: int(values[CELEBA40.index(name)]) for name in PAPER37}
    predicted = np.array([[row["scores"][name] >= 0.5 for name in PAPER37] for row in rows])
    labels = np.array([[row["labels"][name] for name in PAPER37] for row in rows])
    assert f"mean accuracy {(predicted == labels).mean():.2%}".encode() in done.stderr
    assert f"average Hamming distance {(predicted != labels).sum(1).mean():.3f}".encode() in done.stderr


def test_predict_reads_every_kind_of_source_in_order(synthetic: SyntheticFaces, run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(synthetic.zip) as archive:
        for name in archive.namelist()[:3]:
            (tmp_path / Path(name).name).write_bytes(archive.read(name))
    paths = sorted(str(path) for path in tmp_path.glob("*.jpg"))
    expected = parse_rows(run("predict", *paths, "--model", synthetic.model).stdout)
    assert [row["path"] for row in expected] == paths
    (tmp_path / "list.txt").write_text("\n".join(paths))
    for source in (tmp_path, tmp_path / "list.txt"):
        assert parse_rows(run("predict", source, "--model", synthetic.model).stdout) == expected
    from_stdin = run("predict", "-0", "-", "--model", synthetic.model, input="\0".join(paths).encode())
    assert parse_rows(from_stdin.stdout) == expected
    small_batches = run("predict", *paths, "--model", synthetic.model, "--batch", "2", "--jobs", "1")
    for row, other in zip(parse_rows(small_batches.stdout), expected, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=0.01)


def test_cluster_reads_arrays_of_other_tools(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bits = (rng.random((200, 40)) < 0.5).astype(np.uint8)
    np.save(tmp_path / "bits.npy", bits)
    np.save(tmp_path / "scores.npy", np.where(bits, 0.9, 0.1))
    from facetools.clustering.codes import pack

    codes = pack(bits)
    np.save(tmp_path / "codes.npy", codes)
    np.save(tmp_path / "codes1.npy", codes[:, 0])
    np.save(tmp_path / "embeddings.npy", rng.normal(size=(200, 16)).astype(np.float32))
    tables = {}
    for name in ("bits", "scores", "codes", "codes1"):
        run("cluster", tmp_path / f"{name}.npy", "-k", "5", "-o", tmp_path / "out.npy")
        tables[name] = np.load(tmp_path / "out.npy")
    assert tables["scores"].dtype["scores"].names == tables["bits"].dtype["labels"].names == CELEBA40
    assert all((tables[name]["cluster"] == tables["bits"]["cluster"]).all() for name in tables)
    assert np.bincount(tables["bits"]["cluster"]).sum() == 200
    refused = run("cluster", tmp_path / "embeddings.npy", "-k", "5", check=1)
    assert b"--soft" in refused.stderr
    run("cluster", tmp_path / "embeddings.npy", "-k", "5", "--soft", "-o", tmp_path / "out.npy")


def test_cluster_reads_an_attribute_list_and_passes_unknown_keys_through(synthetic: SyntheticFaces, run: Run) -> None:
    rows = parse_rows(run("cluster", synthetic.labels, "-k", "3", "--attributes", "paper10").stdout)
    assert len(rows) == 160
    assert {row["cluster"] for row in rows} == {0, 1, 2}
    for row in rows:
        row["note"] = {"nested": [row["path"], 1.5, None]}
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    clustered = parse_rows(run("cluster", "-k", "2", input=text).stdout)
    assert [row["note"] for row in clustered] == [row["note"] for row in rows]


def test_weights_change_the_inertia(scores: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text(json.dumps(dict.fromkeys(PAPER10, 1)))
    arguments = (scores, "-k", "4", "--attributes", "paper10", "--summary", tmp_path / "summary.json")
    inertias = {}
    for weights in ("none", "rare", "common", tmp_path / "weights.json"):
        run("cluster", *arguments, "--weights", weights)
        inertias[str(weights)] = json.loads((tmp_path / "summary.json").read_text())["inertia"]
    assert inertias["none"] == inertias[str(tmp_path / "weights.json")]
    assert len(set(inertias.values())) == 3
    run("cluster", *arguments, "--weights", "rare", "--frequencies", "data")
    missing = run("cluster", scores, "-k", "4", "--weights", tmp_path / "weights.json", check=1)
    assert b"no weight for the attribute" in missing.stderr


def test_compare_writes_one_record_per_method_and_k(scores: Path, run: Run) -> None:
    done = run(
        *("cluster", scores, "--attributes", "paper10", "--compare", "2:4"),
        *("--methods", "kmeans,agglomerative,dbscan,birch"),
        check=None,
    )
    runs = [(record["method"], record["k"]) for record in parse_rows(done.stdout)]
    assert runs[:7] == [
        *(("kmeans", k) for k in (2, 3, 4)),
        *(("agglomerative", k) for k in (2, 3, 4)),
        ("dbscan", None),
    ]
    assert done.returncode == (3 if b"left out" in done.stderr else 0)


def test_augment_gives_images_of_equal_names_different_files(
    synthetic: SyntheticFaces, run: Run, tmp_path: Path
) -> None:
    with zipfile.ZipFile(synthetic.zip) as archive:
        content = archive.read(archive.namelist()[0])
    sources = [tmp_path / name for name in ("a/x~2.jpg", "b/x.jpg", "c/x.jpg", "d/x.jpg")]
    for source in sources:
        source.parent.mkdir()
        source.write_bytes(content)
    records = parse_rows(run("augment", *sources, "-o", tmp_path / "out").stdout)
    names = [Path(record["path"]).name for record in records]
    assert names == ["x~2-1.jpg", "x-1.jpg", "x~3-1.jpg", "x~4-1.jpg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)


def test_augment_is_reproducible_and_records_its_parameters(
    synthetic: SyntheticFaces, run: Run, tmp_path: Path
) -> None:
    settings = (synthetic.zip, "--copies", "2", "--seed", "3", "--contrast", "0.1", "--grayscale", "0.2")
    run("augment", *settings, "-o", tmp_path / "one.zip", "--jobs", "1")
    done = run(
        *("augment", *settings, "-o", tmp_path / "two.zip", "--jobs", "2"),
        *("--sheet", tmp_path / "sheet.png"),
    )
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    records = parse_rows(done.stdout)
    with zipfile.ZipFile(tmp_path / "two.zip") as archive:
        assert [record["path"] for record in records] == [f"{tmp_path}/two.zip/{name}" for name in archive.namelist()]
    assert len(records) == 320
    assert all(abs(record["rotation"]) <= 20 and abs(record["shift_rows"]) <= 0.2 for record in records)
    assert {record["flip"] for record in records} == {True, False}
    assert {record["saturation"] for record in records} == {0, 1}
    assert 0.9 <= min(record["contrast"] for record in records) < 0.92
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 8 * 128


def test_report_writes_text_and_figures(scores: Path, synthetic: SyntheticFaces, run: Run, tmp_path: Path) -> None:
    history = synthetic.folder / "run"
    done = run("report", scores, "--labels", synthetic.labels, "--format", "text", "--history", history, "--faces", "0")
    text = done.stdout.decode()
    assert "balanced" in text.lower()
    # The last section lists paths, which are not broken into lines.
    lines = text.partition("About this report")[0].splitlines()
    assert [line for line in lines if len(line) > 100] == []
    run("report", scores, "--figures", tmp_path, "-o", tmp_path / "report.html", "--faces", "2")
    assert (tmp_path / "figure1-frequencies.svg").read_text().startswith("<?xml")
    assert (tmp_path / "figure1-frequencies.png").read_bytes().startswith(b"\x89PNG")


# Failing inputs


@pytest.fixture
def mixed(synthetic: SyntheticFaces, tmp_path: Path) -> Path:
    """A folder of three images, a truncated image, an empty file and a text file."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    with zipfile.ZipFile(synthetic.zip) as archive:
        contents = [archive.read(name) for name in archive.namelist()[:4]]
    for name, content in zip(("a", "c", "e"), contents, strict=False):
        (folder / f"{name}.jpg").write_bytes(content)
    (folder / "b.jpg").write_bytes(contents[3][: len(contents[3]) // 2])
    (folder / "d.jpg").write_bytes(b"")
    (folder / "f.jpg").write_text("no image at all")
    return folder


def test_unreadable_images_are_reported_and_counted(synthetic: SyntheticFaces, mixed: Path, run: Run) -> None:
    done = run("predict", mixed, "--model", synthetic.model, check=3)
    assert [Path(row["path"]).name for row in parse_rows(done.stdout)] == ["a.jpg", "c.jpg", "e.jpg"]
    for name in "bdf":
        assert f"left out {mixed}/{name}.jpg: ".encode() in done.stderr
    assert b"3 inputs were left out" in done.stderr


def test_on_error_skip_exits_0_and_stop_writes_nothing(
    synthetic: SyntheticFaces, mixed: Path, run: Run, tmp_path: Path
) -> None:
    skipped = run("predict", mixed, "--model", synthetic.model, "--on-error", "skip")
    assert len(parse_rows(skipped.stdout)) == 3
    output = tmp_path / "out.jsonl"
    stopped = run("predict", mixed, "--model", synthetic.model, "--on-error", "stop", "-o", output, check=1)
    assert f"{mixed}/b.jpg".encode() in stopped.stderr
    assert not output.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_no_output_if_no_image_is_readable(synthetic: SyntheticFaces, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    output = tmp_path / "out.jsonl"
    done = run("predict", tmp_path / "a.jpg", "--model", synthetic.model, "-o", output, check=1)
    assert b"none of the 1 images could be read" in done.stderr
    assert not output.exists()


def test_a_face_with_a_nan_score_is_left_out(scores: Path, run: Run) -> None:
    table = np.load(io.BytesIO(run("cluster", scores, "-k", "2", "--format", "npy").stdout))
    table["scores"]["Smiling"][7] = np.nan
    content = io.BytesIO()
    np.save(content, table)
    done = run("cluster", "-k", "2", "--format", "jsonl", input=content.getvalue(), check=3)
    assert len(parse_rows(done.stdout)) == 159
    assert table["path"][7] + b": its score of Smiling is nan" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", b"the input is empty"),
        (b"hello\n", b"neither a number of rows nor the names of columns"),
        (b'{"path": "a", "scores": {"Smiling": 1}}\n{"path"\n', b"standard input: line 2: not a JSON object"),
        (b'{"path": "a", "scores": {"Smiling": "yes"}}\n', b"line 1: 'scores' of 'Smiling' is \"yes\", not a number"),
        (b'{"path": "a"}\n', b"no column 'scores'"),
        (b"\x93NUMPY\x01\x00", b"NPY block 1"),
    ],
)
def test_an_invalid_table_fails_with_one_line(text: bytes, message: bytes, run: Run) -> None:
    done = run("cluster", "-k", "2", input=text, check=1)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == b""


@pytest.mark.parametrize("option", ["--comparison", "--history", "--eigenfaces"])
def test_report_refuses_records_of_other_commands(option: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text('{"k": 2, "epoch": 1, "cluster": 0}\n')
    done = run("report", option, tmp_path / "records.jsonl", input=b'{"path": "a", "cluster": 0}\n', check=1)
    assert b"line 1 has no '" in done.stderr and b"it is no record of fa-" in done.stderr
    assert done.stdout == b""


def test_the_suffix_of_the_output_decides_the_encoding(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 2, (20, 5), np.uint8))
    for name, start in (("x.jsonl", b"{"), ("x.npy", b"\x93NUMPY"), ("x", b"\x93NUMPY")):
        run("cluster", tmp_path / "in.npy", "-k", "2", "-o", tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cluster", "-k", "0"), b"-k"),
        (("cluster", "--method", "nearest"), b"--method"),
        (("cluster", "--compare", "2:4", "--methods", "nearest"), b"is not a clustering method"),
        (("cluster",), b"needs the number of clusters"),
        (("cluster", "--compare", "9:2"), b"not a range"),
        (("cluster", "--compare", "2:4", "--summary", "x.json"), b"--summary and --format npy do not apply"),
        (("cluster", "-k", "2", "--summary", "-"), b"name another file"),
        (("cluster", "-k", "2", "--method", "dbscan"), b"finds the number of clusters itself"),
        (("cluster", "-k", "2", "--method", "birch", "--birch-threshold", "-1"), b"the threshold of BIRCH is -1"),
        (
            ("cluster", "-k", "2", "--method", "agglomerative", "--metric", "manhattan"),
            b"ward linkage takes the euclidean",
        ),
        (("train", "x", "-o", "y", "--image-size", "big"), b"is not a size in pixels"),
        (("train", "x", "-o", "y", "--dropout", "2"), b"dropout is 2"),
        (("train", "x", "-o", "y", "--averaging", "0"), b"--distillation 0.7 needs a teacher"),
        (("train", "x", "-o", "y", "--schedule", "constant", "--final-rate", "0.1"), b"does not apply to a constant"),
        (("report", "x.npy", "--noisy", "0.8"), b"--noisy below --prominent"),
        (("train", "x", "-o", "y", "--distillation", "0", "--teacher", "z"), b"--teacher needs --distillation"),
        (("augment", "x", "-o", "y", "--zoom", "1.5"), b"zoom"),
        (("augment", "x", "-o", "y", "--rotation", "nan"), b"--rotation: it is not a number"),
        (("eigenface", "x", "-o", "y", "--size", "big"), b"is not a size in pixels"),
        (("predict", "x", "--device", "gpu"), b"'gpu' is no device"),
        (("predict", "x", "-o", "y.csv"), b"written as jsonl or npy, not as csv"),
        (("augment", "x", "-o", "y.tar.gz"), b"into a folder or a .zip archive"),
        (("predict",), b"SOURCE"),
        (("predict", "x", "--model"), b"--model"),
        (("report", "--no-such-option"), b"--no-such-option"),
    ],
)
def test_usage_errors_exit_with_2(arguments: tuple[str, ...], message: bytes, run: Run) -> None:
    done = run(*arguments, check=2, stdin=subprocess.DEVNULL)
    assert message in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cluster", "none.jsonl", "-k", "2"), b"none.jsonl: No such file or directory"),
        (("predict", "none.jpg", "--model", "none.pt"), b"none.pt: No such file or directory"),
        (("train", "none", "-o", "run", "--labels", "none.txt"), b"none.txt: No such file or directory"),
        (("eigenface", "none.jsonl", "-o", "x"), b"none.jsonl: No such file or directory"),
        (("cluster", "{labels}", "-k", "2", "--attributes", "Smilling"), b"did you mean Smiling?"),
        (("cluster", "{labels}", "-k", "999"), b"the number of distinct rows"),
        (("eigenface", "{labels}", "-o", "x"), b"no column 'cluster'"),
        (("predict", "{labels}/x", "--model", "{model}"), b"no such file or folder"),
        (("train", "none", "-o", "x"), b"none: no such file or folder"),
        (("predict", "{folder}", "--model", "{labels}"), b"not a readable checkpoint"),
        (("predict", "{folder}", "--model", "{model}", "--device", "cuda:7"), b"there is no device cuda:7"),
        (
            ("predict", "{folder}", "--model", "{model}", "-o", "/none/x.jsonl"),
            b"/none/x.jsonl: No such file or directory",
        ),
        (("cluster", "{labels}", "-k", "2", "-o", "/none/x.jsonl"), b"/none/x.jsonl: No such file or directory"),
        (("cluster", "none.jsonl", "-k", "2", "-o", "{folder}"), b": Is a directory"),
        (
            ("cluster", "{labels}", "-k", "2", "-o", "x.jsonl", "--summary", "/none/x.json"),
            b"/none/x.json: No such file or directory",
        ),
        (
            ("augment", "{folder}", "-o", "x.zip", "--sheet", "/none/x.png"),
            b"/none/x.png: No such file or directory",
        ),
        (("report", "{labels}", "--comparison", "/dev/null", "-o", "x.html"), b"no records of fa-cluster --compare"),
    ],
)
def test_failures_exit_with_1(
    arguments: tuple[str, ...], message: bytes, synthetic: SyntheticFaces, run: Run, tmp_path: Path
) -> None:
    names = {"labels": synthetic.labels, "model": synthetic.model, "folder": synthetic.folder}
    done = run(*(argument.format(**names) for argument in arguments), check=1, cwd=tmp_path)
    assert message in done.stderr
    assert done.stdout == b""
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback() -> None:
    done = subprocess.run(command("cluster", "none.jsonl", "-k", "2", "--debug"), capture_output=True)
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


# Failing outputs, closed pipes, signals


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full exists only on Linux")
@pytest.mark.parametrize("arguments", [("-o", "/dev/full"), ()])
def test_a_full_disk_exits_with_1(scores: Path, run: Run, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("cluster", scores, "-k", "2", *arguments, check=1, capture_output=False, stdout=full, stderr=-1)
    assert b"No space left on device" in done.stderr


def test_a_closed_pipe_ends_the_command_silently_by_sigpipe(scores: Path) -> None:
    with subprocess.Popen(
        command("cluster", scores, "-k", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()
    assert process.returncode == -signal.SIGPIPE
    assert stderr == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_signals_leave_no_partial_file(
    synthetic: SyntheticFaces, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    line = command("augment", synthetic.zip, "-o", tmp_path / "out.zip", "--copies", "500", "--jobs", "1")
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        for _ in range(600):
            if list(tmp_path.iterdir()):
                break
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in stderr
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_an_existing_output_unchanged(synthetic: SyntheticFaces, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "table.jsonl"
    output.write_text("unchanged")
    run("predict", "none.jpg", "--model", synthetic.model, "-o", output, check=1)
    assert output.read_text() == "unchanged"


# Messages, progress and help


def test_the_last_line_has_version_time_and_memory_unless_quiet(scores: Path, run: Run) -> None:
    from facetools import __version__

    assert run("cluster", scores, "-k", "2", "--quiet").stderr == b""
    last = run("cluster", scores, "-k", "2").stderr.splitlines()[-1].decode()
    assert last.startswith(f"fa-cluster: 160 faces in 2 clusters; version {__version__}, ")
    assert last.endswith(" MB")


def test_long_computations_print_a_forecast_and_stop_on_ctrl_c(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).integers(0, 2**60, 150_000, dtype=np.uint64))
    line = command(
        "cluster", tmp_path / "codes.npy", "-k", "9", "--method", "agglomerative", "-o", tmp_path / "out.npy"
    )
    with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        forecast = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(30) == 130
        assert time.monotonic() - started < 5
    assert re.fullmatch(
        rb"fa-cluster: ward linkage of 150,000 distinct codes: about [\d.,]+ \w+ and 0\.1 GB\n", forecast
    )
    assert not (tmp_path / "out.npy").exists()


def test_time_left_excludes_the_work_of_an_earlier_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from facetools.commands.job import Job

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Job("fa-train").progress("images", 1000) as advance:
        advance.start_from(800)
        now[0] += 20
        advance(40)
    assert capsys.readouterr().err == "fa-train: images: 840 of 1,000, 2/s, 1:20 left\n"


def test_progress_is_a_bar_on_a_terminal(synthetic: SyntheticFaces, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    line = command("predict", synthetic.folder, "--model", synthetic.model)
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=slave, env=environment) as process:
        os.close(slave)
        assert process.stdout is not None
        stdout = process.stdout.read()
        terminal = b""
        while True:
            try:
                block = os.read(master, 65536)
            except OSError:
                break
            if not block:
                break
            terminal += block
    os.close(master)
    assert process.returncode == 0
    assert "━".encode() in terminal
    assert b"of 160" in terminal
    assert len(parse_rows(stdout)) == 160


def test_version_lists_the_core_and_libraries(run: Run) -> None:
    from facetools import __version__
    from facetools.clustering import codes

    text = run("cluster", "--version").stdout.decode()
    assert text.startswith(f"fa-cluster {__version__} (core {codes.simd()}, torch ")
    assert all(name in text for name in ("FAISS", "CUDA", "ONNX Runtime"))


def test_help_takes_less_than_0_3_seconds(run: Run) -> None:
    """The best of five runs counts, as the machine may be busy. Importing any large library would exceed the limit."""
    for name in COMMANDS:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            run(name, "--help")
            times.append(time.perf_counter() - started)
        assert min(times) < 0.3, name


def test_launchers_run_from_a_checkout(tmp_path: Path) -> None:
    launchers = Path(__file__).parents[2] / "bin"
    assert {f"fa-{name}" for name in COMMANDS} <= {path.name for path in launchers.iterdir()}
    shutil.copytree(launchers, tmp_path / "bin", symlinks=True)
    done = subprocess.run([tmp_path / "bin" / "fa-cluster"], capture_output=True)
    assert done.returncode == 1
    assert b"run make there first" in done.stderr
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = subprocess.run([tmp_path / "bin" / "fa-cluster", "--help"], capture_output=True, cwd=launchers.parent)
    assert b"Usage: fa-cluster" in done.stdout, done.stderr


# Real faces


def test_all_commands_on_real_faces(celeba: Path, run: Run, tmp_path: Path) -> None:
    model = tmp_path / "run"
    settings = ("--recipe", "paper", "--weights", "none", "--image-size", "32", "--loss", "bce", "--optimizer", "adamw")
    done = run("train", celeba, "-o", model, *settings, "--epochs", "1", "--no-augment", "--head", "64")
    assert parse_rows(done.stdout)[0]["valid_accuracy"] > 0.7
    arguments = (celeba, "--partition", "test", "--labels", celeba, "--model", model / "best.pt")
    stderr = run("predict", *arguments, "-o", tmp_path / "scores.npy").stderr
    assert b"37 attributes: mean accuracy" in stderr
    table = np.load(tmp_path / "scores.npy")
    assert len(table) == 800
    run("cluster", tmp_path / "scores.npy", "-k", "5", "--column", "labels", "-o", tmp_path / "clusters.npy")
    eigenfaces = run("eigenface", tmp_path / "clusters.npy", "-o", tmp_path / "eigenfaces", "--size", "32").stdout
    (tmp_path / "eigenfaces.jsonl").write_bytes(eigenfaces)
    assert sum(record["faces"] for record in parse_rows(eigenfaces)) == 800
    arguments = (tmp_path / "clusters.npy", "--eigenfaces", tmp_path / "eigenfaces.jsonl", "--history", model)
    run("report", *arguments, "-o", tmp_path / "report.html")
