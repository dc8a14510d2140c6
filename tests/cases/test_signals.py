"""SIGTERM and SIGHUP end every command within two seconds, whatever it does, and leave no temporary file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cases.faces import draw_face, write_faces
from tests.conftest import command

LIMIT_SECONDS = 2.0
SIGNALS = [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)]


@pytest.fixture
def long_list(tmp_path: Path) -> Path:
    """A list that names one image ten thousand times."""
    draw_face().save(tmp_path / "face.jpg")
    paths = tmp_path / "faces.txt"
    paths.write_text("\n".join(["face.jpg"] * 10_000))
    return paths


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that nobody writes to."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def embeddings(tmp_path: Path) -> Path:
    """Rows of which Ward's linkage, in SciPy, takes many seconds and keeps the interpreter's lock."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((40_000, 8), np.float32))
    return tmp_path / "rows.npy"


def outputs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stop(line: list[str], folder: Path, number: signal.Signals, is_busy: Callable[[], bool]) -> int:
    """Run a command in `folder`, send it a signal a moment after `is_busy`, and return its exit status.

    The command has to end within LIMIT_SECONDS, without a message, and to leave the folder as it was.
    """
    before = outputs(folder)
    with subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not is_busy() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        assert process.poll() is None, process.communicate()
        process.send_signal(number)
        started = time.monotonic()
        status = process.wait(20)
        assert time.monotonic() - started < LIMIT_SECONDS
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert outputs(folder) == before
    return status


def writes(folder: Path) -> Callable[[], bool]:
    """Whether a temporary file exists."""
    return lambda: any(name.endswith(".part") for name in outputs(folder))


def after(seconds: float) -> Callable[[], bool]:
    start = time.monotonic()
    return lambda: time.monotonic() - start > seconds


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_batch_that_takes_long_is_given_up(
    long_list: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    line = command("predict", long_list, "--batch", "5000", "-o", "scores.npy", "--quiet")
    assert stop(line, tmp_path, number, writes(tmp_path)) == status


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_call_that_keeps_the_lock_of_the_interpreter_is_given_up(
    embeddings: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    options = ("--soft", "--method", "agglomerative", "-k", "3", "-o", "clusters.npy", "--quiet")
    assert stop(command("cluster", embeddings, *options), tmp_path, number, after(2)) == status


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_copies_of_images_are_given_up(long_list: Path, tmp_path: Path, number: signal.Signals, status: int) -> None:
    line = command("augment", long_list, "-o", "copies.zip", "--copies", "100", "--quiet")
    assert stop(line, tmp_path, number, writes(tmp_path)) == status


@pytest.mark.parametrize(("number", "status"), SIGNALS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("cluster", "pipe", "-k", "2", "-o", "out"),
        ("report", "pipe", "-o", "out.html"),
        ("eigenface", "pipe", "-o", "out"),
        ("predict", "pipe", "-o", "out.npy"),
    ],
)
def test_an_input_that_never_comes_is_given_up(
    pipe: Path, tmp_path: Path, arguments: tuple[str, ...], number: signal.Signals, status: int
) -> None:
    assert stop(command(*arguments, "--quiet"), tmp_path, number, after(1)) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_training_step_that_takes_long_is_given_up(tmp_path: Path, number: signal.Signals) -> None:
    labels = "image_id,Smiling\n" + "".join(f"{number:06}.jpg,{number % 2}\n" for number in range(1, 41))
    write_faces(tmp_path / "faces", 40)
    (tmp_path / "labels.csv").write_text(labels)
    options = (
        "--labels",
        tmp_path / "labels.csv",
        "--attributes",
        "Smiling",
        "--weights",
        "none",
        "--valid-share",
        "0",
    )
    options += ("--image-size", "320", "--batch", "40", "--epochs", "1", "--backbone", "resnet50", "--jobs", "1")
    line = command("train", tmp_path / "faces", *options, "-o", tmp_path / "run", "--quiet")
    with subprocess.Popen(line, stderr=subprocess.PIPE) as process:
        while not (tmp_path / "run" / "config.json").exists():
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(2)  # into the only step
        process.send_signal(number)
        started = time.monotonic()
        assert process.wait(60) == 75
        # Within two seconds but for the time to write a checkpoint of 280 MB to a slow disk.
        assert time.monotonic() - started < LIMIT_SECONDS + 3
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert outputs(tmp_path / "run") == ["config.json", "last.pt"]


def test_a_command_under_nohup_goes_on(long_list: Path, tmp_path: Path) -> None:
    nohup = shutil.which("nohup")
    if nohup is None:
        pytest.skip("there is no nohup")
    lines = long_list.read_text().splitlines()[:100]
    long_list.write_text("\n".join(lines))
    line = [nohup, *command("predict", long_list, "-o", "scores.jsonl", "--quiet")]
    with subprocess.Popen(line, cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(1)  # nohup ignores the signal and starts the command
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
            time.sleep(0.2)
    assert process.returncode == 0
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == len(lines)


def test_ctrl_c_does_not_reach_background_jobs_of_a_script(tmp_path: Path) -> None:
    """A shell starts them with SIGINT ignored."""
    rows = [{"path": f"{row}.jpg", "scores": {"Smiling": row % 2}} for row in range(4)]
    (tmp_path / "table.jsonl").write_text("\n".join(map(json.dumps, rows)))
    os.mkfifo(tmp_path / "pipe")
    script = (
        f'"{sys.executable}" -m facetools.commands.cluster pipe -k 2 -o out.jsonl & sleep 1; kill -INT $!; sleep 1; '
        "cat table.jsonl > pipe; wait $!"
    )
    assert subprocess.run(["sh", "-c", script], cwd=tmp_path, timeout=60).returncode == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4
