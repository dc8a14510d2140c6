"""What many tests share: a small set of drawn faces, a trained checkpoint, real CelebA faces, commands as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# A shell that starts the tests in the background has them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def command(name: str, *arguments: str | Path) -> list[str]:
    """The command line of `fa-NAME`, run by this Python."""
    return [sys.executable, "-m", f"facetools.commands.{name}", *map(str, arguments)]


@pytest.fixture(scope="session")
def run() -> Run:
    """Runs `fa-NAME` as a process; `check` is the exit code that is expected."""

    def run(
        name: str, *arguments: str | Path, check: int | None = 0, **options: object
    ) -> subprocess.CompletedProcess[bytes]:
        settings = {"capture_output": True, "timeout": 300, **options}
        done = subprocess.run(command(name, *arguments), **settings)  # type: ignore[call-overload]
        assert check is None or done.returncode == check, f"exit {done.returncode}: {(done.stderr or b'').decode()}"
        if done.stderr:
            assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    return run


@dataclass(frozen=True)
class Drawn:
    """A folder of drawn faces in CelebA's layout, and a checkpoint trained on them for one epoch."""

    folder: Path
    model: Path

    @property
    def zip(self) -> Path:
        return self.folder / "img_align_celeba.zip"

    @property
    def labels(self) -> Path:
        return self.folder / "list_attr_celeba.txt"


#: A training that takes seconds.
TINY = (
    "--recipe",
    "paper",
    "--weights",
    "none",
    "--image-size",
    "32",
    "--batch",
    "32",
    "--head",
    "32",
    "--loss",
    "bce",
    "--optimizer",
    "adamw",
)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Drawn:
    folder = tmp_path_factory.mktemp("drawn")
    run("draw", folder, "--faces", "160", "--size", "109x89", "--valid-share", "0.2", "--test-share", "0.2")
    run("train", folder, "-o", folder / "run", *TINY, "--epochs", "1")
    return Drawn(folder, folder / "run" / "best.pt")


@pytest.fixture(scope="session")
def celeba() -> Path:
    """The folder of real CelebA faces; the test is skipped where there is none."""
    folder = os.environ.get("FACETOOLS_CELEBA")
    if not folder:
        pytest.skip("FACETOOLS_CELEBA names no folder of CelebA faces")
    return Path(folder)
