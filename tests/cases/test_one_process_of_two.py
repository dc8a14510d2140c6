"""One process in the environment of two: the shell of srun --pty, or variables that an earlier job has left."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.cases.faces import write_faces
from tests.conftest import Run, command

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2",
    "SLURM_STEP_NODELIST": "localhost",
}


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "faces", 2)


@pytest.fixture
def port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, **variables}


def test_the_shell_of_srun_pty_is_alone(faces: Path, run: Run) -> None:
    variables = environment(**SLURM, SLURM_PTY_PORT="40000", SLURM_PTY_WIN_COL="80")
    assert run("predict", faces, env=variables).stdout.count(b"\n") == 2


@pytest.mark.parametrize(
    ("variables", "names", "waiting"),
    [
        ({**SLURM}, "SLURM_PROCID and SLURM_STEP_NUM_TASKS", r"1 of 2 processes \(rank 1\) at localhost:\d+"),
        ({"RANK": "0", "WORLD_SIZE": "3"}, "RANK and WORLD_SIZE", r"2 of 3 processes \(ranks 1, 2\) at 127.0.0.1:\d+"),
        (
            {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "no.such.host"},
            "RANK and WORLD_SIZE",
            r"the first of 2 processes at no.such.host:\d+ \(.*\)",
        ),
    ],
)
def test_it_says_what_it_waits_for_and_gives_up(
    faces: Path, tmp_path: Path, port: str, run: Run, variables: dict[str, str], names: str, waiting: str
) -> None:
    settings = environment(MASTER_PORT=port, **variables)
    done = run("predict", faces, "-o", tmp_path / "o.npy", "--wait", "5", env=settings, check=1)
    first, second = done.stderr.decode().splitlines()
    assert re.fullmatch(f"fa-predict: waiting for {waiting}, as {names} say; unset them to run alone", first)
    assert re.search(rf": waited 5 seconds \(--wait\); unset {names} to run alone", second)
    assert not (tmp_path / "o.npy").exists()


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP)],
)
def test_signals_end_it_while_it_waits(
    faces: Path, tmp_path: Path, port: str, rank: str, number: signal.Signals, status: int
) -> None:
    settings = environment(RANK=rank, WORLD_SIZE="2", MASTER_PORT=port)
    line = command("predict", faces, "-o", tmp_path / "o.npy")
    with subprocess.Popen(line, stderr=subprocess.PIPE, env=settings) as process:
        assert process.stderr is not None
        assert b"waiting for" in process.stderr.readline()
        process.send_signal(number)
        started = time.monotonic()
        assert process.wait(10) == status
        assert time.monotonic() - started < 2
        assert process.stderr.read() == b""


def test_training_that_waits_can_be_resumed(faces: Path, tmp_path: Path, port: str) -> None:
    settings = environment(RANK="1", WORLD_SIZE="2", MASTER_PORT=port)
    with subprocess.Popen(
        command("train", faces, "-o", tmp_path / "run"), stderr=subprocess.PIPE, env=settings
    ) as process:
        assert process.stderr is not None
        assert b"waiting for" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 75


def test_a_table_on_stdout_is_refused_with_the_cause(faces: Path, run: Run) -> None:
    done = run("predict", faces, env=environment(RANK="0", WORLD_SIZE="2"), check=2)
    message = " ".join(done.stderr.decode().split())
    assert "RANK and WORLD_SIZE say that this is one of 2 processes" in message and "unset them to run alone" in message


def test_a_port_in_use_is_named(faces: Path, tmp_path: Path, run: Run) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        settings = environment(RANK="0", WORLD_SIZE="2", MASTER_PORT=str(port))
        done = run("predict", faces, "-o", tmp_path / "o.npy", env=settings, check=1)
    assert f"cannot listen on port {port}: Address already in use" in done.stderr.decode()
