"""Dumb terminals, no home folder, no temporary folder, and the locale C."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.cases.faces import draw_face, write_faces
from tests.conftest import command


def run_on_terminal(line: list[str], terminal: str) -> bytes:
    """Run a command whose stderr is a terminal, and return what it shows."""
    main, secondary = pty.openpty()
    with subprocess.Popen(line, stderr=secondary, env={**os.environ, "TERM": terminal}) as process:
        os.close(secondary)
        shown = b""
        while True:
            try:
                data = os.read(main, 4096)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            shown += data
    os.close(main)
    assert process.returncode == 0, shown
    return shown


@pytest.mark.parametrize("terminal", ["dumb", "unknown"])
def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path, terminal: str) -> None:
    faces = write_faces(tmp_path / "faces", 3)
    shown = run_on_terminal(command("predict", faces, "-o", tmp_path / "o.npy"), terminal)
    assert b"\x1b" not in shown
    lines = shown.decode().replace("\r\n", "\n").splitlines()
    assert lines and all(line.startswith("fa-predict: ") for line in lines)


def test_the_cursor_is_never_hidden(tmp_path: Path) -> None:
    """A signal may end the command at any time; the terminal must not stay without a cursor."""
    faces = write_faces(tmp_path / "faces", 3)
    shown = run_on_terminal(command("predict", faces, "-o", tmp_path / "o.npy"), "xterm-256color")
    assert b"\x1b[?25l" not in shown and b"3 faces" in shown


@pytest.mark.parametrize(
    ("name", "locale"),
    [
        ("gesicht-ü.jpg", {"LC_ALL": "C"}),
        ("face.jpg", {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
    ],
)
def test_an_empty_environment_suffices(tmp_path: Path, name: str, locale: dict[str, str]) -> None:
    image = tmp_path / name
    draw_face().save(image)
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **locale}
    done = subprocess.run(command("predict", image), env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == str(image)
