"""One run of a command: its settings, messages on stderr, progress and exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from facetools import __version__
from facetools.commands.options import OnError
from facetools.runtime.processes import ProcessInfo

FAILED = 1


LEFT_OUT = 3


RESUME = 75


INTERRUPTED = 130


class Failure(Exception):
    """A failure whose message is the whole story; the command ends with exit code 1."""


@dataclass
class Job:
    """One run of a command: what its shared options say, and its words on stderr. One whose `place` is not the first of
    the processes of a run names inputs that fail, and leaves all else to that one."""

    name: str
    seed: int = 0
    device: str = "auto"
    jobs: int = 1
    on_error: OnError = "report"
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    process: ProcessInfo = field(default_factory=ProcessInfo)
    failures: int = 0
    exit_code: int = 0
    _started: float = field(default_factory=time.monotonic)
    _progress: _Progress | None = None
    _done: str = ""

    @property
    def is_secondary(self) -> bool:
        """Whether another process speaks for this one."""
        return not self.process.is_first

    def say(self, message: str) -> None:
        """A line on stderr, unless --quiet."""
        if not (self.quiet or self.is_secondary):
            self._print(message)

    def detail(self, message: str) -> None:
        """A line on stderr with --verbose."""
        if self.verbose and not self.is_secondary:
            self._print(message)

    def report_failure(self, what: str, reason: str) -> None:
        """Names an input that is left out, and stops at it with --on-error stop."""
        if self.on_error == "stop":
            raise Failure(f"{what}: {reason}")
        self.failures += 1
        self._print(f"left out {what}: {reason}")

    def done(self, what: str) -> None:
        """Says what was done; it is printed when the command ends."""
        self._done = what

    def end(self) -> None:
        """The last lines: how many inputs were left out; what was done, with version, time and memory."""
        from facetools.runtime import memory

        if self.failures and not self.is_secondary:
            self._print(f"{pluralize(self.failures, 'input was', 'inputs were')} left out")
            if self.on_error == "report":
                self.exit_code = self.exit_code or LEFT_OUT
        if self._done:
            seconds = time.monotonic() - self._started
            self.say(f"{self._done}; version {__version__}, {seconds:.1f} s, peak memory {memory.peak() / 1e6:.0f} MB")

    @contextmanager
    def progress(self, unit: str, total: int | None = None) -> Iterator[ProgressCounter]:
        """Shows progress while the block runs, told by calls with the number of units done since the last."""
        with self._shown(unit, total) as progress:
            yield ProgressCounter(progress)

    @contextmanager
    def stage(self, what: str) -> Iterator[Callable[[float], None]]:
        """Shows how far the one thing is that the block does, told by calls with the share done, 0 to 1."""
        with self._shown(what, None, share=True) as progress:
            yield progress.show

    @contextmanager
    def _shown(self, unit: str, total: int | None, share: bool = False) -> Iterator[_Progress]:
        if self.quiet or self.is_secondary:
            yield _Progress(self, unit, total, share)
            return
        around = self._progress
        self._progress = (_ProgressBar if sys.stderr.isatty() else _ProgressLines)(self, unit, total, share)
        try:
            yield self._progress
        finally:
            self._progress.close()
            self._progress = around

    def _print(self, message: str) -> None:
        line = f"{self.name}: {message}"
        if isinstance(self._progress, _ProgressBar):
            self._progress.print(line)
        else:
            print(line, file=sys.stderr, flush=True)


class ProgressCounter:
    """Counts what is done, and has it shown."""

    def __init__(self, progress: _Progress) -> None:
        self._progress, self._done = progress, 0

    def __call__(self, more: int) -> None:
        self._done += more
        self._progress.show(self._done)

    def begin_at(self, done: int) -> None:
        """So much was done before, at another time."""
        self._done = done
        self._progress.begin_at(done)


class _Progress:
    """How far something is: a number of units, of a total where that is known, or (`share`) a share of 1. The one that
    is neither a bar nor lines shows nothing."""

    def __init__(self, job: Job, unit: str, total: int | None, share: bool) -> None:
        self._job, self._unit, self._share = job, unit, share
        self._total = 1 if share else total
        self._started, self._before = time.monotonic(), 0.0

    def begin_at(self, done: float) -> None:
        self._started, self._before = time.monotonic(), done

    def show(self, done: float) -> None: ...

    def close(self) -> None: ...

    def _told(self, done: float) -> str:
        if self._share:
            return f"{done:.0%}"
        of = "" if self._total is None else f" of {self._total:,}"
        rate = (done - self._before) / max(time.monotonic() - self._started, 1e-9)
        return f"{done:,.0f}{of}, {rate:,.0f}/s"


class _ProgressLines(_Progress):
    """A plain line every ten seconds, for logs."""

    EVERY = 10.0

    def __init__(self, job: Job, unit: str, total: int | None, share: bool) -> None:
        super().__init__(job, unit, total, share)
        self._said = self._started

    def show(self, done: float) -> None:
        now = time.monotonic()
        if now - self._said < self.EVERY:
            return
        self._said = now
        left = ""
        if self._total and done > self._before:
            seconds = round((self._total - done) * (now - self._started) / (done - self._before))
            left = f", {seconds // 60}:{seconds % 60:02d} left"
        self._job.say(f"{self._unit}: {self._told(done)}{left}")


class _ProgressBar(_Progress):
    """A bar on a terminal, with the time left; one that starts while another runs is shown below it."""

    def __init__(self, job: Job, unit: str, total: int | None, share: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(job, unit, total, share)
        self._around = job._progress if isinstance(job._progress, _ProgressBar) else None
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        self._bars: Progress = (
            self._around._bars
            if self._around
            else Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        )
        self._task = self._bars.add_task(unit, total=self._total, told=self._told(0))
        self._bars.start()

    def begin_at(self, done: float) -> None:
        super().begin_at(done)
        self._bars.reset(self._task, completed=int(done), told=self._told(done))

    def show(self, done: float) -> None:
        self._bars.update(self._task, completed=done, told=self._told(done))

    def print(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bars.remove_task(self._task)
        if not self._around:
            self._bars.stop()


def pluralize(number: int, one: str, more: str = "") -> str:
    """So many of what is called so: `1 face`, `1,000 faces`."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"
