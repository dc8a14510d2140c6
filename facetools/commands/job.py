"""One run of a command: its shared options, messages and progress on stderr, and its exit code."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from facetools import __version__
from facetools.commands.options import OnError
from facetools.runtime import signals
from facetools.runtime.processes import ProcessInfo

#: Exit codes: nothing was written; some inputs were left out; training can be resumed.
EXIT_FAILED, EXIT_INCOMPLETE, EXIT_RESUME = 1, 3, 75


#: Kinds of files passed over that the summary names.
MAX_KINDS = 8

#: Characters of a name that a message shows in full.
_MAX_SHOWN = 400

#: Characters that a terminal obeys instead of showing them, or that change the direction of the text: C0 and C1
#: controls, line and paragraph separators, bidirectional marks and overrides. And surrogates, which stand for bytes.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class CommandError(Exception):
    """A failure whose message says all that the user needs to know. The command exits with code 1."""


@dataclass
class Job:
    """One run of a command: the values of the shared options, and all output on stderr.

    In a job of several processes, `process` tells which one this is. Only the first process prints messages and
    progress; the others print just the inputs that fail.
    """

    name: str
    seed: int = 0
    device: str = "auto"
    jobs: int = 1
    on_error: OnError = "report"
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    #: The names of the parameters that the user set, such as `min_samples`; the others have their defaults.
    given: frozenset[str] = frozenset()
    process: ProcessInfo = field(default_factory=ProcessInfo)
    #: The number of inputs that failed and were left out.
    failures: int = 0
    #: The truncated images that were accepted.
    truncated: set[str] = field(default_factory=set)
    #: The number of files passed over, because they are no images, by kind.
    passed_over: Counter[str] = field(default_factory=Counter)
    exit_code: int = 0
    _start_time: float = field(default_factory=time.monotonic)
    _progress: _Progress | None = None
    _summary: str = ""

    def say(self, message: str) -> None:
        """Print a line on stderr, unless --quiet."""
        if self.process.is_first and not self.quiet:
            self._print(message)

    def announce(self, message: str) -> None:
        """Print a line on stderr from every process of a job, unless --quiet."""
        if not self.quiet:
            self._print(message)

    def detail(self, message: str) -> None:
        """Print a line on stderr if --verbose."""
        if self.process.is_first and self.verbose:
            self._print(message)

    def report_failure(self, name: str, reason: str) -> None:
        """Report and count an input that is left out. With --on-error stop, raise CommandError instead."""
        if self.on_error == "stop":
            raise CommandError(f"{name}: {reason}")
        self.failures += 1
        self._print(f"left out {_shorten(name)}: {reason}")

    def pass_over(self, path: str, kind: str) -> None:
        """Count a file that is no image and was not named. `kind` is a suffix or a noun such as `socket`."""
        self.passed_over[kind] += 1
        self.detail(f"passed over {path} ({kind})")

    def describe_passed_over(self) -> str:
        """Return how many files of which kinds were passed over, such as `passed over 1 file that is not an image: 1
        .txt`; empty if there are none."""
        if not self.passed_over:
            return ""
        kinds = self.passed_over.most_common()
        parts = [_count_kind(kind, count) for kind, count in kinds[:MAX_KINDS]]
        if others := sum(count for _, count in kinds[MAX_KINDS:]):
            parts.append(f"{others:,} of other kinds")
        files = pluralize(self.passed_over.total(), "file that is not an image", "files that are not images")
        return f"passed over {files}: {', '.join(parts)}"

    def accept_truncated(self, path: str) -> None:
        """Count an image that is used although its end is missing. Threads may call this."""
        self.truncated.add(path)

    def done(self, summary: str) -> None:
        """Set the summary that `end` prints, such as `160 faces`."""
        self._summary = summary

    def end(self) -> None:
        """Print the number of truncated images and of inputs left out, then the summary with version, time and peak
        memory."""
        from facetools.runtime import memory

        for path in sorted(self.truncated):
            self.detail(f"accepted {path}, whose end is missing")
        if self.truncated:
            self.announce(f"{pluralize(len(self.truncated), 'truncated image was', 'truncated images were')} accepted")
        if self.passed_over:
            self.say(self.describe_passed_over())
        if self.failures and self.process.is_first:
            self._print(f"{pluralize(self.failures, 'input was', 'inputs were')} left out")
            if self.on_error == "report":
                self.exit_code = self.exit_code or EXIT_INCOMPLETE
        if self._summary:
            seconds = time.monotonic() - self._start_time
            peak = memory.peak() / 1e6
            self.say(f"{self._summary}; version {__version__}, {seconds:.1f} s, peak memory {peak:.0f} MB")

    @contextmanager
    def progress(self, unit: str, total: int | None = None) -> Iterator[ProgressCounter]:
        """Show progress while the block runs. The block calls the counter with the number of units just completed."""
        with self._show_progress(unit, total) as progress:
            yield ProgressCounter(progress)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """Show the progress of one long computation. The block calls the callback with the fraction done, 0 to 1."""
        with self._show_progress(name, None, is_fraction=True) as progress:
            yield progress.show

    @contextmanager
    def _show_progress(self, unit: str, total: int | None, is_fraction: bool = False) -> Iterator[_Progress]:
        if self.quiet or not self.process.is_first:
            yield _Progress(self, unit, total, is_fraction)
            return
        outer = self._progress
        progress = self._progress = (_ProgressBar if _shows_bars() else _ProgressLog)(self, unit, total, is_fraction)
        try:
            with signals.before_end(lambda number: progress.close()):
                yield progress
        finally:
            progress.close()
            self._progress = outer

    def _print(self, message: str) -> None:
        line = f"{self.name}: {escape_controls(message)}"
        if isinstance(self._progress, _ProgressBar):
            self._progress.print(line)
        else:
            print(line, file=sys.stderr, flush=True)


class ProgressCounter:
    """Counts completed units and updates the display."""

    def __init__(self, progress: _Progress) -> None:
        self._progress, self._count = progress, 0

    def __call__(self, units: int) -> None:
        self._count += units
        self._progress.show(self._count)

    def start_from(self, count: int) -> None:
        """Count from `count` units that an earlier run completed; they do not enter rate and time left."""
        self._count = count
        self._progress.start_from(count)


class _Progress:
    """Progress in units of an optional `total`, or, if `is_fraction`, as a fraction of 1. Displays nothing itself."""

    def __init__(self, job: Job, unit: str, total: int | None, is_fraction: bool) -> None:
        self._job, self._unit, self._is_fraction = job, unit, is_fraction
        self._total = 1 if is_fraction else total
        self._start_time, self._start = time.monotonic(), 0.0

    def start_from(self, done: float) -> None:
        self._start_time, self._start = time.monotonic(), done

    def show(self, done: float) -> None: ...

    def close(self) -> None: ...

    def _text(self, done: float) -> str:
        if self._is_fraction:
            return f"{done:.0%}"
        total = "" if self._total is None else f" of {self._total:,}"
        rate = (done - self._start) / max(time.monotonic() - self._start_time, 1e-9)
        return f"{done:,.0f}{total}, {rate:,.0f}/s"


class _ProgressLog(_Progress):
    """Prints a plain line every ten seconds, for log files."""

    INTERVAL_SECONDS = 10.0

    def __init__(self, job: Job, unit: str, total: int | None, is_fraction: bool) -> None:
        super().__init__(job, unit, total, is_fraction)
        self._print_time = self._start_time

    def show(self, done: float) -> None:
        now = time.monotonic()
        if now - self._print_time < self.INTERVAL_SECONDS:
            return
        self._print_time = now
        time_left = ""
        if self._total and done > self._start:
            seconds = round((self._total - done) * (now - self._start_time) / (done - self._start))
            time_left = f", {seconds // 60}:{seconds % 60:02d} left"
        self._job.say(f"{self._unit}: {self._text(done)}{time_left}")


class _ProgressBar(_Progress):
    """A progress bar on a terminal, with the time left. A nested bar is shown below the outer one."""

    def __init__(self, job: Job, unit: str, total: int | None, is_fraction: bool) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        class Console(RichConsole):
            def show_cursor(self, show: bool = True) -> bool:
                """Leave the cursor visible: a signal may end the process without restoring it."""
                return False

        super().__init__(job, unit, total, is_fraction)
        self._outer = job._progress if isinstance(job._progress, _ProgressBar) else None
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        self._bars: Progress = (
            self._outer._bars
            if self._outer
            else Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        )
        self._task = self._bars.add_task(unit, total=self._total, text=self._text(0))
        self._bars.start()

    def start_from(self, done: float) -> None:
        super().start_from(done)
        self._bars.reset(self._task, completed=int(done), text=self._text(done))

    def show(self, done: float) -> None:
        self._bars.update(self._task, completed=done, text=self._text(done))

    def print(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bars.remove_task(self._task)
        if not self._outer:
            self._bars.stop()


def escape_controls(text: str) -> str:
    """Return `text` with control characters written as Python does, such as `\\x1b`, and bytes of names that are not
    UTF-8 as `\\xff`."""
    return _CONTROLS.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape").decode("ascii")


def _shorten(name: str) -> str:
    """`name`, or its start and end if it is very long."""
    if len(name) <= _MAX_SHOWN:
        return name
    return f"{name[: _MAX_SHOWN // 4]}...{name[-_MAX_SHOWN // 4 :]} ({len(name):,} characters)"


def _count_kind(kind: str, count: int) -> str:
    if count == 1 or kind.startswith((".", "without")):
        return f"{count:,} {kind}"
    noun, separator, rest = kind.partition(" inside ")
    return f"{count:,} {noun}s{separator}{rest}"


def _shows_bars() -> bool:
    """Whether stderr is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def pluralize(count: int, singular: str, plural: str = "") -> str:
    """Return the count and the matching noun: `1 face`, `1,000 faces`. The plural adds an s by default."""
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"
