"""Shared fixtures: commands as processes, a few drawn faces with a trained checkpoint, and real CelebA faces."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# A shell that starts the tests in the background makes them and their child processes ignore Ctrl-C; nohup makes them
# ignore SIGHUP.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def command(name: str, *arguments: str | Path) -> list[str]:
    """The command line that runs `fa-NAME` with this Python."""
    return [sys.executable, "-m", f"facetools.commands.{name}", *map(str, arguments)]


def run_processes(
    world: int,
    *command_lines: list[str],
    slurm: bool = False,
    cwd: Path | None = None,
    after_start: Callable[[list[subprocess.Popen[bytes]]], None] = lambda processes: None,
) -> list[subprocess.CompletedProcess[bytes]]:
    """Run one job of `world` processes, with one command line for all or one for each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID") if slurm else ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    processes = []
    for rank in range(world):
        variables = dict(zip(names, map(str, (rank, world, rank)), strict=True)) | {"MASTER_PORT": port}
        variables |= {"SLURM_STEP_NODELIST": "localhost"} if slurm else {"MASTER_ADDR": "127.0.0.1"}
        line = command_lines[rank % len(command_lines)]
        environment = {**os.environ, **variables}
        processes.append(
            subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=cwd)
        )
    after_start(processes)
    completed = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=300)
        completed.append(subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr))
    return completed


@pytest.fixture(scope="session")
def run() -> Run:
    """A function that runs `fa-NAME` as a process; `check` is the expected exit code, or None for any."""

    def run_command(
        name: str, *arguments: str | Path, check: int | None = 0, **options: object
    ) -> subprocess.CompletedProcess[bytes]:
        settings = {"capture_output": True, "timeout": 300, **options}
        completed = subprocess.run(command(name, *arguments), **settings)  # type: ignore[call-overload]
        assert check is None or completed.returncode == check, (
            f"exit {completed.returncode}: {(completed.stderr or b'').decode()}"
        )
        if completed.stderr:
            assert b"Traceback" not in completed.stderr, completed.stderr.decode()
        return completed

    return run_command


@dataclass(frozen=True)
class SyntheticFaces:
    """A folder of drawn faces in CelebA's layout, and a checkpoint trained on them for one epoch."""

    folder: Path
    model: Path

    @property
    def zip(self) -> Path:
        return self.folder / "img_align_celeba.zip"

    @property
    def labels(self) -> Path:
        return self.folder / "list_attr_celeba.txt"


#: fa-train options for a training of a few seconds.
TINY = (
    *("--recipe", "paper", "--weights", "none", "--image-size", "32", "--batch", "32", "--head", "32"),
    *("--loss", "bce", "--optimizer", "adamw"),
)


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory, run: Run) -> SyntheticFaces:
    folder = tmp_path_factory.mktemp("synthetic")
    run("draw", folder, "--faces", "160", "--size", "109x89", "--valid-share", "0.2", "--test-share", "0.2")
    run("train", folder, "-o", folder / "run", *TINY, "--epochs", "1")
    return SyntheticFaces(folder, folder / "run" / "best.pt")


@pytest.fixture(scope="session")
def photo_folder() -> Path:
    """A folder of photographs with photos.csv; without one the test is skipped."""
    folder = os.environ.get("FACETOOLS_PHOTOS")
    if not folder:
        pytest.skip("FACETOOLS_PHOTOS is not set to a folder of photographs")
    return Path(folder)


@pytest.fixture(scope="session")
def celeba() -> Path:
    """A folder of real CelebA faces; without one the test is skipped."""
    folder = os.environ.get("FACETOOLS_CELEBA")
    if not folder:
        pytest.skip("FACETOOLS_CELEBA is not set to a folder of CelebA faces")
    return Path(folder)
