"""Signals that end the process, and a watchdog that enforces them.

SIGINT, SIGTERM and SIGHUP delete the temporary files and end the process at once. They raise no exception, because
libraries in C may crash or hide it. If the main thread is in a long call, the watchdog does the same after
GRACE_SECONDS. A signal that is ignored when the process starts, as by nohup, stays ignored.

A command that can save its work uses `StopRequest`: its signals then only set a flag.
"""

from __future__ import annotations

import fcntl
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

#: Seconds between a signal and the end of the process, at the latest.
GRACE_SECONDS = 0.5

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: The exit status of Ctrl-C. After other signals the process ends by the signal itself.
_INTERRUPTED = 130

_handles_signals = _watchdog_runs = _is_ending = False

#: Called with the signal that ends the process, the last one first.
_callbacks: list[Callable[[signal.Signals], None]] = []

_temporary_files: set[Path] = set()


def end_on_signals() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end the process, except those that are ignored."""
    global _handles_signals
    _handles_signals = True
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)


def start_watchdog() -> None:
    """End the process GRACE_SECONDS after a signal of `end_on_signals`, which has to be called before."""
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


@contextmanager
def before_end(callback: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Call `callback` if a signal ends the process while the block runs. It has GRACE_SECONDS."""
    _callbacks.append(callback)
    try:
        yield
    finally:
        _callbacks.remove(callback)


def die_by(number: signal.Signals) -> NoReturn:
    """End the process by the default action of a signal, as shells expect."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # the first process of a container is not ended by signals


def add_temporary_file(path: Path) -> None:
    """Let the file `path` be deleted if a signal ends the process. The file may not exist yet."""
    _temporary_files.add(path)
    if _watchdog_runs:
        from facetools import _core

        _core.add_temporary_file(os.fsencode(path.absolute()))


def remove_temporary_file(path: Path) -> None:
    """Undo `add_temporary_file`."""
    _temporary_files.discard(path)
    if _watchdog_runs:
        from facetools import _core

        _core.remove_temporary_file(os.fsencode(path.absolute()))


class StopRequest:
    """Signals that ask the process to save its work and to exit with `status`.

    At first they call `announce` and end the process. After `defer` they only set `signal`, which the work has to
    check. A second signal, at least a second after the first, ends the process at once.
    """

    def __init__(
        self, numbers: tuple[signal.Signals, ...], status: int, announce: Callable[[signal.Signals], None]
    ) -> None:
        #: The signal that was received.
        self.signal: signal.Signals | None = None
        self._numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
        self._status, self._announce, self._is_deferred = status, announce, False
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
            with suppress(Exception):
                self._announce(self.signal)
            _end(self.signal, self._status)

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


def _handle(number: int, frame: FrameType | None) -> None:
    _end(signal.Signals(number), _default_endings()[number][0])


def _end(number: signal.Signals, status: int) -> None:
    """End the process with the exit status, or by the signal if `status` is 0."""
    global _is_ending
    if _is_ending:  # a second signal must not interrupt the deletion of files
        return
    _is_ending = True
    for callback in reversed(_callbacks):
        with suppress(Exception):
            callback(number)
    for path in list(_temporary_files):
        with suppress(OSError):
            path.unlink()
    if status:
        os._exit(status)
    die_by(number)
