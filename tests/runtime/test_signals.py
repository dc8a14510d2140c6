"""Signals end a process within GRACE_SECONDS, whatever call it is in, and delete its temporary files."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: Calls that never return to the interpreter: this one keeps the interpreter's lock, the other one releases it.
LOCKED = "sum(range(10**12))"
UNLOCKED = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"

START = """
import hashlib, os, signal, sys, time
from pathlib import Path
from facetools.runtime import files, signals

def ready():
    Path(sys.argv[1]).touch()

signals.end_on_signals()
signals.start_watchdog()
"""


def end(program: str, number: signal.Signals, tmp_path: Path, *, again: float = 0, ignored: bool = False) -> int:
    """Run START and `program`, send it a signal when it calls `ready`, and return the exit status.

    `again` sends a second signal after so many seconds. `ignored` starts the program with the signal ignored.
    """
    ready = tmp_path / "ready"
    before = signal.signal(number, signal.SIG_IGN) if ignored else None
    try:
        process = subprocess.Popen([sys.executable, "-c", START + program, str(ready)])
    finally:
        if ignored:
            signal.signal(number, before)
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.1)
        process.send_signal(number)
        if again:
            time.sleep(again)
            process.send_signal(number)
        return process.wait(10)
    finally:
        process.kill()


STATUSES = [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("number", "status"), STATUSES)
@pytest.mark.parametrize("call", [LOCKED, UNLOCKED])
def test_a_call_that_does_not_return_is_ended_and_temporary_files_are_deleted(
    call: str, number: signal.Signals, status: int, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    program = f"""
os.chdir({str(tmp_path / "folder")!r})
with files.atomic_writer("relative name"):
    os.chdir("/")
    ready()
    {call}
"""
    assert end(program, number, tmp_path) == status
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize(("number", "status"), STATUSES)
def test_callbacks_are_called_once_and_no_exception_is_raised(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    program = f"""
def note(number):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)
    with open({str(tmp_path / "calls")!r}, "a") as calls:
        print(number.name, file=calls)

with signals.before_end(lambda number: 1 / 0), signals.before_end(note):
    with signals.before_end(lambda number: time.sleep(60)):
        pass
    try:
        ready()
        time.sleep(60)
    except BaseException:
        time.sleep(60)
"""
    assert end(program, number, tmp_path) == status
    assert (tmp_path / "calls").read_text() == f"{number.name}\n"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_an_ignored_signal_stays_ignored(number: signal.Signals, tmp_path: Path) -> None:
    """As with nohup, and for SIGINT in background jobs of a script."""
    program = """
request = signals.StopRequest((signal.SIGHUP, signal.SIGTERM), 75, print)
ready()
time.sleep(1)
assert request.signal is None
"""
    assert end(program, number, tmp_path, ignored=True) == 0


REQUEST = """
request = signals.StopRequest((signal.SIGTERM, signal.SIGUSR1), 75, print)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("call", [LOCKED, "time.sleep(60)"])
def test_a_request_that_is_not_deferred_ends_the_process(call: str, number: signal.Signals, tmp_path: Path) -> None:
    program = f"""
ready()
{call}
"""
    assert end(REQUEST + program, number, tmp_path) == 75


def test_a_deferred_request_only_sets_a_flag(tmp_path: Path) -> None:
    program = """
request.defer(None)
ready()
while request.signal is None:
    time.sleep(0.01)
time.sleep(1)
assert request.signal == signal.SIGUSR1
os._exit(9)
"""
    assert end(REQUEST + program, signal.SIGUSR1, tmp_path) == 9


def test_at_the_deadline_another_thread_saves_the_work(tmp_path: Path) -> None:
    program = f"""
request.defer(lambda: Path({str(tmp_path / "saved")!r}).write_text(request.signal.name))
ready()
{UNLOCKED}
"""
    assert end(REQUEST + program, signal.SIGUSR1, tmp_path) == 75
    assert (tmp_path / "saved").read_text() == "SIGUSR1"


@pytest.mark.parametrize("on_deadline", ["None", "lambda: time.sleep(60)"])
def test_a_second_signal_ends_the_process_at_once(on_deadline: str, tmp_path: Path) -> None:
    program = f"""
request.defer({on_deadline})
ready()
{UNLOCKED}
"""
    assert end(REQUEST + program, signal.SIGTERM, tmp_path, again=1.2) == 75


def test_ctrl_c_ends_a_deferred_process(tmp_path: Path) -> None:
    program = f"""
request.defer(lambda: time.sleep(60))
ready()
{UNLOCKED}
"""
    assert end(REQUEST + program, signal.SIGINT, tmp_path) == 130
