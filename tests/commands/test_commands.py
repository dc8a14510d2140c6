"""The commands as processes: pipelines in both encodings, exit codes, inputs that fail, closed pipes, signals."""

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
from facetools.table.celeba import read_attribute_list
from tests.conftest import Drawn, Run, command

COMMANDS = ("augment", "train", "predict", "cluster", "eigenface", "report")


def rows(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="session")
def scores(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face table of all drawn faces, JSONL, with scores as a good network gives them."""
    listed = read_attribute_list(drawn.labels)
    rng = np.random.default_rng(0)
    values = np.where(listed.values, 0.9, 0.1) + rng.uniform(-0.1, 0.1, listed.values.shape)
    path = tmp_path_factory.mktemp("scores") / "scores.jsonl"
    with path.open("w") as stream:
        for file, row in zip(listed.files, np.float32(values).tolist(), strict=True):
            face = {"path": f"{drawn.zip}/img_align_celeba/{file}", "scores": dict(zip(CELEBA40, row, strict=True))}
            stream.write(json.dumps(face) + "\n")
    return path


# The pipelines


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
def test_the_whole_pipeline_through_pipes(drawn: Drawn, tmp_path: Path, encoding: str) -> None:
    def quoted(*words: object) -> str:
        return " ".join(map(str, command(*words)))

    script = f"""set -e -o pipefail; cd {tmp_path}
        {quoted("predict", drawn.zip, "--model", drawn.model, "--format", encoding, "--batch", 50)} \
        | {quoted("cluster", "-k", 4, "--soft", "--summary", "summary.json")} \
        | tee clusters.{encoding} \
        | {quoted("eigenface", "-o", "eigenfaces", "--components", 2, "--size", 24)} > eigenfaces.jsonl
        {quoted("report", f"clusters.{encoding}", "--eigenfaces", "eigenfaces.jsonl", "-o", "report.html")}"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    summary = json.loads((tmp_path / "summary.json").read_text())
    keys = {"method", "parameters", "clusters", "noise", "inertia", "silhouette", "faces", "distinct_codes", "seconds"}
    assert keys <= summary.keys()
    assert set(summary["seconds"]) == {"read", "cluster", "silhouette", "write"}
    assert (summary["faces"], summary["clusters"]) == (160, 4)
    records = rows((tmp_path / "eigenfaces.jsonl").read_bytes())
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


def test_both_encodings_say_the_same(scores: Path, drawn: Drawn, run: Run, tmp_path: Path) -> None:
    listed = rows(run("predict", drawn.folder, "--partition", "test", "--model", drawn.model).stdout)
    run("predict", drawn.folder, "--partition", "test", "--model", drawn.model, "-o", tmp_path / "scores.npy")
    array = np.load(tmp_path / "scores.npy", mmap_mode="r")
    assert [row["path"] for row in listed] == [path.decode() for path in array["path"]]
    for name in PAPER37:
        assert np.array_equal(np.float32([row["scores"][name] for row in listed]), array["scores"][name])
    run("cluster", scores, "-k", "3", "-o", tmp_path / "clusters.npy")
    from_jsonl = rows(run("cluster", scores, "-k", "3").stdout)
    clustered = np.load(tmp_path / "clusters.npy")
    assert clustered["cluster"].tolist() == [row["cluster"] for row in from_jsonl]
    again = run("cluster", tmp_path / "clusters.npy", "-k", "3", "--format", "jsonl").stdout
    assert rows(again) == from_jsonl


def test_predict_attaches_labels_and_picks_a_partition(drawn: Drawn, run: Run) -> None:
    done = run("predict", drawn.folder, "--partition", "test", "--labels", drawn.folder, "--model", drawn.model)
    listed = read_attribute_list(drawn.labels)
    found = rows(done.stdout)
    assert len(found) == 32
    for row in found:
        truth = listed.values[listed.row_of[Path(row["path"]).name]]
        assert row["labels"] == {name: int(truth[CELEBA40.index(name)]) for name in PAPER37}
    predicted = np.array([[row["scores"][name] >= 0.5 for name in PAPER37] for row in found])
    labels = np.array([[row["labels"][name] for name in PAPER37] for row in found])
    assert f"mean accuracy {(predicted == labels).mean():.2%}".encode() in done.stderr
    assert f"average Hamming distance {(predicted != labels).sum(1).mean():.3f}".encode() in done.stderr


def test_predict_takes_every_kind_of_source_in_order(drawn: Drawn, run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(drawn.zip) as archive:
        for name in archive.namelist()[:3]:
            (tmp_path / Path(name).name).write_bytes(archive.read(name))
    paths = sorted(str(path) for path in tmp_path.glob("*.jpg"))
    expected = rows(run("predict", *paths, "--model", drawn.model).stdout)
    assert [row["path"] for row in expected] == paths
    (tmp_path / "list.txt").write_text("\n".join(paths))
    for source in (tmp_path, tmp_path / "list.txt"):
        assert rows(run("predict", source, "--model", drawn.model).stdout) == expected
    nul = run("predict", "-0", "-", "--model", drawn.model, input="\0".join(paths).encode())
    assert rows(nul.stdout) == expected
    few = run("predict", *paths, "--model", drawn.model, "--batch", "2", "--jobs", "1")
    for row, other in zip(rows(few.stdout), expected, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=0.01)


def test_cluster_takes_what_other_tools_write(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bits = (rng.random((200, 40)) < 0.5).astype(np.uint8)
    np.save(tmp_path / "bits.npy", bits)
    np.save(tmp_path / "scores.npy", np.where(bits, 0.9, 0.1))
    from facetools.clustering.codes import pack

    codes = pack(bits)
    np.save(tmp_path / "codes.npy", codes)
    np.save(tmp_path / "codes1.npy", codes[:, 0])
    np.save(tmp_path / "embeddings.npy", rng.normal(size=(200, 16)).astype(np.float32))
    found = {}
    for name in ("bits", "scores", "codes", "codes1"):
        run("cluster", tmp_path / f"{name}.npy", "-k", "5", "-o", tmp_path / "out.npy")
        found[name] = np.load(tmp_path / "out.npy")
    assert found["scores"].dtype["scores"].names == found["bits"].dtype["labels"].names == CELEBA40
    assert all((found[name]["cluster"] == found["bits"]["cluster"]).all() for name in found)
    assert np.bincount(found["bits"]["cluster"]).sum() == 200
    refused = run("cluster", tmp_path / "embeddings.npy", "-k", "5", check=1)
    assert b"--soft" in refused.stderr
    run("cluster", tmp_path / "embeddings.npy", "-k", "5", "--soft", "-o", tmp_path / "out.npy")


def test_cluster_takes_an_attribute_list_and_passes_unknown_keys_through(drawn: Drawn, run: Run) -> None:
    listed = rows(run("cluster", drawn.labels, "-k", "3", "--attributes", "paper10").stdout)
    assert len(listed) == 160
    assert {row["cluster"] for row in listed} == {0, 1, 2}
    for row in listed:
        row["note"] = {"kept": [row["path"], 1.5, None]}
    text = "".join(json.dumps(row) + "\n" for row in listed).encode()
    again = rows(run("cluster", "-k", "2", input=text).stdout)
    assert [row["note"] for row in again] == [row["note"] for row in listed]


def test_weights_by_frequency(scores: Path, run: Run, tmp_path: Path) -> None:
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


def test_comparison_is_a_record_for_each_method_and_k(scores: Path, run: Run) -> None:
    done = run(
        *("cluster", scores, "--attributes", "paper10", "--compare", "2:4"),
        *("--methods", "kmeans,agglomerative,dbscan,birch"),
        check=None,
    )
    found = [(record["method"], record["k"]) for record in rows(done.stdout)]
    assert found[:7] == [
        *(("kmeans", k) for k in (2, 3, 4)),
        *(("agglomerative", k) for k in (2, 3, 4)),
        ("dbscan", None),
    ]
    assert done.returncode == (3 if b"left out" in done.stderr else 0)


def test_images_of_one_name_do_not_take_each_others_place(drawn: Drawn, run: Run, tmp_path: Path) -> None:
    with zipfile.ZipFile(drawn.zip) as archive:
        content = archive.read(archive.namelist()[0])
    sources = [tmp_path / name for name in ("a/x~2.jpg", "b/x.jpg", "c/x.jpg", "d/x.jpg")]
    for source in sources:
        source.parent.mkdir()
        source.write_bytes(content)
    made = rows(run("augment", *sources, "-o", tmp_path / "out").stdout)
    names = [Path(record["path"]).name for record in made]
    assert names == ["x~2-1.jpg", "x-1.jpg", "x~3-1.jpg", "x~4-1.jpg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)


def test_augment_is_reproducible_and_says_what_it_drew(drawn: Drawn, run: Run, tmp_path: Path) -> None:
    settings = (drawn.zip, "--copies", "2", "--seed", "3", "--contrast", "0.1", "--grayscale", "0.2")
    run("augment", *settings, "-o", tmp_path / "one.zip", "--jobs", "1")
    done = run(
        *("augment", *settings, "-o", tmp_path / "two.zip", "--jobs", "2"),
        *("--sheet", tmp_path / "sheet.png"),
    )
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    records = rows(done.stdout)
    with zipfile.ZipFile(tmp_path / "two.zip") as archive:
        assert [record["path"] for record in records] == [f"{tmp_path}/two.zip/{name}" for name in archive.namelist()]
    assert len(records) == 320
    assert all(abs(record["rotation"]) <= 20 and abs(record["shift_rows"]) <= 0.2 for record in records)
    assert {record["flip"] for record in records} == {True, False}
    assert {record["saturation"] for record in records} == {0, 1}
    assert 0.9 <= min(record["contrast"] for record in records) < 0.92
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 8 * 128


def test_report_as_text_and_figures(scores: Path, drawn: Drawn, run: Run, tmp_path: Path) -> None:
    history = drawn.folder / "run"
    done = run("report", scores, "--labels", drawn.labels, "--format", "text", "--history", history, "--faces", "0")
    text = done.stdout.decode()
    assert "balanced" in text.lower()
    # Below, the provenance has paths, which are not broken.
    told = text.partition("About this report")[0].splitlines()
    assert [line for line in told if len(line) > 100] == []
    run("report", scores, "--figures", tmp_path, "-o", tmp_path / "report.html", "--faces", "2")
    assert (tmp_path / "figure1-frequencies.svg").read_text().startswith("<?xml")
    assert (tmp_path / "figure1-frequencies.png").read_bytes().startswith(b"\x89PNG")


# Inputs that fail


@pytest.fixture
def mixed(drawn: Drawn, tmp_path: Path) -> Path:
    """A folder of three faces, a truncated one, an empty file and a text."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    with zipfile.ZipFile(drawn.zip) as archive:
        contents = [archive.read(name) for name in archive.namelist()[:4]]
    for name, content in zip(("a", "c", "e"), contents, strict=False):
        (folder / f"{name}.jpg").write_bytes(content)
    (folder / "b.jpg").write_bytes(contents[3][: len(contents[3]) // 2])
    (folder / "d.jpg").write_bytes(b"")
    (folder / "f.jpg").write_text("no image at all")
    return folder


def test_inputs_that_fail_are_named_left_out_and_counted(drawn: Drawn, mixed: Path, run: Run) -> None:
    done = run("predict", mixed, "--model", drawn.model, check=3)
    assert [Path(row["path"]).name for row in rows(done.stdout)] == ["a.jpg", "c.jpg", "e.jpg"]
    for name in "bdf":
        assert f"left out {mixed}/{name}.jpg: ".encode() in done.stderr
    assert b"3 inputs were left out" in done.stderr


def test_on_error(drawn: Drawn, mixed: Path, run: Run, tmp_path: Path) -> None:
    skipped = run("predict", mixed, "--model", drawn.model, "--on-error", "skip")
    assert len(rows(skipped.stdout)) == 3
    output = tmp_path / "out.jsonl"
    stopped = run("predict", mixed, "--model", drawn.model, "--on-error", "stop", "-o", output, check=1)
    assert f"{mixed}/b.jpg".encode() in stopped.stderr
    assert not output.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_nothing_readable_writes_nothing(drawn: Drawn, run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    output = tmp_path / "out.jsonl"
    done = run("predict", tmp_path / "a.jpg", "--model", drawn.model, "-o", output, check=1)
    assert b"none of the 1 images could be read" in done.stderr
    assert not output.exists()


def test_a_nan_score_is_left_out_by_its_path(scores: Path, run: Run) -> None:
    table = np.load(io.BytesIO(run("cluster", scores, "-k", "2", "--format", "npy").stdout))
    table["scores"]["Smiling"][7] = np.nan
    content = io.BytesIO()
    np.save(content, table)
    done = run("cluster", "-k", "2", "--format", "jsonl", input=content.getvalue(), check=3)
    assert len(rows(done.stdout)) == 159
    assert table["path"][7] + b": its score of Smiling is nan" in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", b"the input is empty"),
        (b"hello\n", b"not a face table"),
        (b'{"path": "a", "scores": {"Smiling": 1}}\n{"path"\n', b"standard input: line 2: not a JSON object"),
        (b'{"path": "a", "scores": {"Smiling": "yes"}}\n', b"line 1: 'scores' of 'Smiling' is \"yes\", not a number"),
        (b'{"path": "a"}\n', b"no column 'scores'"),
        (b"\x93NUMPY\x01\x00", b"NPY block 1"),
    ],
)
def test_bad_tables_get_one_clear_sentence(text: bytes, told: bytes, run: Run) -> None:
    done = run("cluster", "-k", "2", input=text, check=1)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == b""


@pytest.mark.parametrize("option", ["--comparison", "--history", "--eigenfaces"])
def test_a_report_takes_no_records_of_others(option: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_text('{"k": 2, "epoch": 1, "cluster": 0}\n')
    done = run("report", option, tmp_path / "records.jsonl", input=b'{"path": "a"}\n', check=1)
    assert b"line 1 has no '" in done.stderr and b"it is no record of fa-" in done.stderr
    assert done.stdout == b""


def test_a_table_is_written_as_its_file_is_called(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.random.default_rng(0).integers(0, 2, (20, 5), np.uint8))
    for name, begins in (("x.jsonl", b"{"), ("x.npy", b"\x93NUMPY"), ("x", b"\x93NUMPY")):
        run("cluster", tmp_path / "in.npy", "-k", "2", "-o", tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cluster", "-k", "0"), b"-k"),
        (("cluster", "--method", "nearest"), b"--method"),
        (("cluster",), b"needs the number of clusters"),
        (("cluster", "--compare", "9:2"), b"no range"),
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
        (("train", "x", "-o", "y", "--schedule", "constant", "--final-rate", "0.1"), b"that of a constant"),
        (("report", "x.npy", "--noisy", "0.8"), b"noisy is the lower one"),
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
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], told: bytes, run: Run) -> None:
    done = run(*arguments, check=2, stdin=subprocess.DEVNULL)
    assert told in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("arguments", "told"),
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
def test_failures_are_exit_code_1(
    arguments: tuple[str, ...], told: bytes, drawn: Drawn, run: Run, tmp_path: Path
) -> None:
    names = {"labels": drawn.labels, "model": drawn.model, "folder": drawn.folder}
    done = run(*(argument.format(**names) for argument in arguments), check=1, cwd=tmp_path)
    assert told in done.stderr
    assert done.stdout == b""
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback() -> None:
    done = subprocess.run(command("cluster", "none.jsonl", "-k", "2", "--debug"), capture_output=True)
    assert done.returncode == 1
    assert b"Traceback" in done.stderr


# Outputs that fail, pipes that close, signals


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is there on Linux alone")
@pytest.mark.parametrize("arguments", [("-o", "/dev/full"), ()])
def test_a_full_disk_is_a_failure(scores: Path, run: Run, arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run("cluster", scores, "-k", "2", *arguments, check=1, capture_output=False, stdout=full, stderr=-1)
    assert b"No space left on device" in done.stderr


def test_a_closed_pipe_ends_in_silence_by_sigpipe(scores: Path) -> None:
    with subprocess.Popen(
        command("cluster", scores, "-k", "2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read()
    assert process.returncode == -signal.SIGPIPE
    assert stderr == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_ctrl_c_and_sigterm_leave_no_partial_file(
    drawn: Drawn, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    line = command("augment", drawn.zip, "-o", tmp_path / "out.zip", "--copies", "500", "--jobs", "1")
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


def test_an_old_output_survives_a_failure(drawn: Drawn, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "table.jsonl"
    output.write_text("precious")
    run("predict", "none.jpg", "--model", drawn.model, "-o", output, check=1)
    assert output.read_text() == "precious"


# Words on stderr


def test_quiet_says_nothing_and_the_last_line_says_version_time_and_memory(scores: Path, run: Run) -> None:
    from facetools import __version__

    assert run("cluster", scores, "-k", "2", "--quiet").stderr == b""
    last = run("cluster", scores, "-k", "2").stderr.splitlines()[-1].decode()
    assert last.startswith(f"fa-cluster: 160 faces in 2 clusters; version {__version__}, ")
    assert last.endswith(" MB")


def test_ctrl_c_stops_the_core_at_work_and_long_work_is_foretold(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.random.default_rng(0).integers(0, 2**60, 150_000, dtype=np.uint64))
    line = command(
        "cluster", tmp_path / "codes.npy", "-k", "9", "--method", "agglomerative", "-o", tmp_path / "out.npy"
    )
    with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        told = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(30) == 130
        assert time.monotonic() - started < 5
    assert re.fullmatch(rb"fa-cluster: ward linkage of 150,000 distinct codes: about [\d.,]+ \w+ and 0\.1 GB\n", told)
    assert not (tmp_path / "out.npy").exists()


def test_the_time_that_is_left_is_not_that_of_what_was_done_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from facetools.commands.job import Job

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Job("fa-train").progress("images", 1000) as advance:
        advance.begin_at(800)
        now[0] += 20
        advance(40)
    assert capsys.readouterr().err == "fa-train: images: 840 of 1,000, 2/s, 1:20 left\n"


def test_progress_is_a_bar_on_a_terminal_and_never_on_stdout(drawn: Drawn, tmp_path: Path) -> None:
    master, slave = pty.openpty()
    line = command("predict", drawn.folder, "--model", drawn.model)
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=slave, env=environment) as process:
        os.close(slave)
        assert process.stdout is not None
        stdout = process.stdout.read()
        shown = b""
        while True:
            try:
                block = os.read(master, 65536)
            except OSError:
                break
            if not block:
                break
            shown += block
    os.close(master)
    assert process.returncode == 0
    assert "━".encode() in shown
    assert b"of 160" in shown
    assert len(rows(stdout)) == 160


def test_version_names_core_torch_and_faiss(run: Run) -> None:
    from facetools import __version__
    from facetools.clustering import codes

    told = run("cluster", "--version").stdout.decode()
    assert told.startswith(f"fa-cluster {__version__} (core {codes.simd()}, torch ")
    assert all(name in told for name in ("FAISS", "CUDA", "ONNX Runtime"))


def test_help_answers_at_once(run: Run) -> None:
    """The best of five, as the machine may be busy; what takes time is to import torch, scikit-learn or faiss."""
    for name in COMMANDS:
        times = []
        for _ in range(5):
            started = time.perf_counter()
            run(name, "--help")
            times.append(time.perf_counter() - started)
        assert min(times) < 0.3, name


def test_launchers_run_from_a_checkout_and_ask_for_make(tmp_path: Path) -> None:
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


def test_real_faces_train_predict_cluster_report(celeba: Path, run: Run, tmp_path: Path) -> None:
    model = tmp_path / "run"
    settings = ("--recipe", "paper", "--weights", "none", "--image-size", "32", "--loss", "bce", "--optimizer", "adamw")
    done = run("train", celeba, "-o", model, *settings, "--epochs", "1", "--no-augment", "--head", "64")
    assert rows(done.stdout)[0]["valid_accuracy"] > 0.7
    arguments = (celeba, "--partition", "test", "--labels", celeba, "--model", model / "best.pt")
    told = run("predict", *arguments, "-o", tmp_path / "scores.npy").stderr
    assert b"37 attributes: mean accuracy" in told
    table = np.load(tmp_path / "scores.npy")
    assert len(table) == 800
    run("cluster", tmp_path / "scores.npy", "-k", "5", "--column", "labels", "-o", tmp_path / "clusters.npy")
    eigenfaces = run("eigenface", tmp_path / "clusters.npy", "-o", tmp_path / "eigenfaces", "--size", "32").stdout
    (tmp_path / "eigenfaces.jsonl").write_bytes(eigenfaces)
    assert sum(record["faces"] for record in rows(eigenfaces)) == 800
    arguments = (tmp_path / "clusters.npy", "--eigenfaces", tmp_path / "eigenfaces.jsonl", "--history", model)
    run("report", *arguments, "-o", tmp_path / "report.html")
