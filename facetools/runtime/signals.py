"""Signals that end the process, and a watchdog that enforces them.

SIGINT, SIGTERM and SIGHUP raise Stopped in the main thread, so that files are closed and deleted as after an error. If
the main thread is in a long call, the watchdog deletes the temporary files and ends the process after GRACE_SECONDS. A
signal that is ignored when the process starts, as by nohup, stays ignored.

A command that can save its work uses `StopRequest`: its signals then only set a flag.
"""

from __future__ import annotations

import fcntl
import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

#: Seconds between a signal and the end of the process, at the latest.
GRACE_SECONDS = 0.5

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: The exit status of Ctrl-C. After other signals the process ends by the signal itself.
_INTERRUPTED = 130

_handles_signals = _watchdog_runs = _is_stopping = False


class Stopped(BaseException):
    """A signal ends the process, with the exit status `status`, or by the signal if it is 0.

    Raised in the main thread, once.
    """

    def __init__(self, number: int, status: int) -> None:
        self.signal, self.status = signal.Signals(number), status
        super().__init__(f"stopped by {self.signal.name}")


def raise_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP raise Stopped, except those that are ignored."""
    global _handles_signals
    _handles_signals = True
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise_stopped)


def start_watchdog() -> None:
    """End the process GRACE_SECONDS after a signal of `raise_on_signals`, which has to be called before."""
    global _watchdog_runs
    if not _handles_signals or _watchdog_runs:
        return
    from facetools import _core

    # Not the descriptors of the standard streams, even if those are closed.
    ends = os.pipe()
    read_end, write_end = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    for end in ends:
        os.close(end)
    os.set_blocking(write_end, False)
    _core.start_watchdog(read_end, _default_endings())
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    _watchdog_runs = True


def is_stopping() -> bool:
    """Whether Stopped has been raised, so that nothing should wait any more."""
    return _is_stopping


def end_process(stopped: Stopped) -> NoReturn:
    """End the process at once, as `stopped` tells."""
    if stopped.status:
        os._exit(stopped.status)
    die_by(stopped.signal)


def die_by(number: signal.Signals) -> NoReturn:
    """End the process by the default action of a signal, as shells expect."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container is not ended by signals


def add_temporary_file(path: Path) -> None:
    """Let the watchdog delete the file `path` if it ends the process."""
    if _watchdog_runs:
        from facetools import _core

        _core.add_temporary_file(os.fsencode(path.absolute()))


def remove_temporary_file(path: Path) -> None:
    """Undo `add_temporary_file`."""
    if _watchdog_runs:
        from facetools import _core

        _core.remove_temporary_file(os.fsencode(path.absolute()))


class StopRequest:
    """Signals that ask the process to save its work and to exit with `status`.

    At first they raise Stopped. After `defer` they only set `signal`, which the work has to check. A second signal, at
    least a second after the first, ends the process at once.
    """

    def __init__(self, numbers: tuple[signal.Signals, ...], status: int) -> None:
        #: The signal that was received.
        self.signal: signal.Signals | None = None
        self._numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._status, self._is_deferred = status, False
        for number in self._numbers:
            signal.signal(number, self._handle)
        self._set_ending(GRACE_SECONDS)

    def defer(self, on_deadline: Callable[[], None] | None) -> None:
        """From now on, signals only set `signal`.

        If the process is still running GRACE_SECONDS later, `on_deadline` is called in another thread to save the work,
        and then the process ends. None means that the work may take any time to stop.
        """
        self._is_deferred = True
        if on_deadline is not None and _watchdog_runs:
            threading.Thread(target=self._call_at_deadline, args=[on_deadline], daemon=True).start()
            self._set_ending(GRACE_SECONDS, hands_over=True)
        else:
            self._set_ending(math.inf)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)
        if not self._is_deferred:
            _stop(number, self._status)

    def _set_ending(self, grace: float, *, hands_over: bool = False) -> None:
        if _watchdog_runs:
            from facetools import _core

            own = {int(number): (self._status, grace, hands_over) for number in self._numbers}
            _core.set_endings(_default_endings() | own)

    def _call_at_deadline(self, on_deadline: Callable[[], None]) -> None:
        from facetools import _core

        number = signal.Signals(_core.wait_for_handover())
        self.signal = self.signal or number  # the main thread may not have noticed it yet
        on_deadline()
        os._exit(self._status)


def _default_endings() -> dict[int, tuple[int, float, bool]]:
    """For each signal the exit status (0: end by the signal), seconds until the watchdog acts, and whether it hands
    over to StopRequest."""
    return {int(number): (_INTERRUPTED if number == signal.SIGINT else 0, GRACE_SECONDS, False) for number in _ENDING}


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    _stop(number, _default_endings()[number][0])


def _stop(number: int, status: int) -> None:
    global _is_stopping
    if not _is_stopping:  # a second signal must not interrupt the deletion of files
        _is_stopping = True
        raise Stopped(number, status)
