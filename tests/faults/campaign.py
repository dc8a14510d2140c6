"""Disturb commands that write: kill them, let their writes fail, limit their memory, send signals, run two at once.

Every experiment yields one `Outcome` per run. A run has survived if no problem is found: its outputs are absent or
complete, it ended as documented, and no temporary file is left where the command could remove it.
"""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from tests.faults.cases import Case, find_damage, is_temporary, output_files

SHIM = Path(__file__).parent / "failing_writes.c"

#: Seconds after which a run counts as hanging, and within which a command has to end after a signal.
HANG_SECONDS, SIGNAL_SECONDS = 300.0, 2.0

#: The smallest address space that is tried, in bytes: about what Python needs to import NumPy.
LEAST_MEMORY = 200e6

#: What Python and libraries print when memory is too short for an exception.
LIBRARY_WORDS = (
    "OpenBLAS error: Memory allocation still failed",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "Schema error: std::bad_alloc",
    "Fatal Python error",
    "Exception in worker",
    "Exception in thread",
    "Exception ignored",
)

#: A frame of facetools in a traceback, after its package has begun to handle Ctrl-C.
OWN_FRAME = re.compile(r"facetools/(?!commands/__init__)\w+/\w+\.py")

#: Runs after a kill in one folder before an undisturbed one.
KILLS_IN_A_ROW = 5


@dataclass(frozen=True)
class Outcome:
    """One disturbed run: how it was disturbed, and the problem that was found; None if it has survived."""

    experiment: str
    case: str
    disturbance: str
    problem: str | None = None


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: a signal), what it said, and its times in seconds.

    leaves_processes: whether processes that it had started were still running.
    """

    code: int
    errors: str
    seconds: float
    seconds_after_signal: float = 0.0
    leaves_processes: bool = False

    def complaint(self) -> str | None:
        """Whatever is wrong with a failure: it has to be one sentence, and the exit code 1."""
        lines = self.errors.strip().splitlines()
        if self.code != 1:
            return f"exit code {self.code}: {self.errors.strip()[-300:]}"
        if len(lines) != 1 or "defect" in self.errors or not re.match(r"[\w-]+: \S", lines[0]):
            return f"not one sentence: {self.errors.strip()[-300:]}"
        return None


class Laboratory:
    """Runs one case in folders of its own."""

    def __init__(self, case: Case, inputs: Path, scratch: Path) -> None:
        self.case = case
        self._inputs = inputs
        self._scratch = scratch

    def folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._scratch))

    def run(
        self,
        folder: Path,
        after: float | None = None,
        number: int = 0,
        *,
        limit: int | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> Ended:
        """Run the command in `folder`.

        after, number: send it the signal `number` after so many seconds.
        limit: its address space in bytes.
        environment: variables to add.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "FACETOOLS"))}
        # Several trainings side by side would spin while they wait for each other.
        inherited["OMP_WAIT_POLICY"] = "PASSIVE"
        with tempfile.TemporaryFile() as errors:
            started = signaled = time.monotonic()
            process = subprocess.Popen(
                self.case.command_line(self._inputs),
                cwd=folder,
                env=inherited | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                preexec_fn=None if limit is None else _memory_limit(limit),
                process_group=0,
            )
            try:
                if after is not None:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(after)
                    process.send_signal(number)  # does nothing if the process has ended
                    signaled = time.monotonic()
                process.wait(HANG_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return Ended(process.returncode, f"it hangs for more than {HANG_SECONDS:g} s", HANG_SECONDS)
            ended = time.monotonic()
            errors.seek(0)
            text = errors.read().decode(errors="replace")
        leaves_processes = _end_group(process.pid)
        return Ended(process.returncode, text, ended - started, ended - signaled, leaves_processes)

    def peak_address_space(self, folder: Path) -> int:
        """The largest address space of the command, in bytes."""
        line = self.case.command_line(self._inputs)
        process = subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            with suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = max([peak, *(1024 * int(size) for size in re.findall(r"VmPeak:\s+(\d+)", status))])
            time.sleep(0.005)
        return peak

    @cached_property
    def reference(self) -> Path:
        """The folder of an undisturbed run."""
        folder = self.folder()
        ended = self.run(folder)
        assert ended.code == 0, f"{self.case.name}: {ended.errors}"
        assert not list(find_damage(self.case, folder, folder, finished=True))
        return folder

    @cached_property
    def seconds(self) -> float:
        """The time that an undisturbed run takes."""
        self.reference  # noqa: B018  the first run reads files from disk
        folder = self.folder()
        ended = self.run(folder)
        shutil.rmtree(folder)
        return ended.seconds

    def damage(
        self, folder: Path, ended: Ended, *, finished: bool = False, allow_temporary: bool = False
    ) -> str | None:
        """The first thing that is wrong after a run that has `ended`, above all with the outputs in `folder`."""
        problems = ["it leaves processes"] if ended.leaves_processes else []
        problems += find_damage(self.case, folder, self.reference, finished=finished)
        if not allow_temporary:
            problems += [f"{name} is left" for name in output_files(folder) if is_temporary(name)]
        return problems[0] if problems else None


# Experiments


def kill(laboratory: Laboratory, points: int) -> Iterator[Outcome]:
    """SIGKILL at `points` times spread over the run. After every few kills an undisturbed run has to succeed."""
    rounds = max(1, points // KILLS_IN_A_ROW)
    for start in range(rounds):
        folder = laboratory.folder()
        for point in range(start, points, rounds):
            after = laboratory.seconds * (point + 0.5) / points
            ended = laboratory.run(folder, after, signal.SIGKILL)
            problem = laboratory.damage(folder, ended, allow_temporary=True)
            yield Outcome("SIGKILL", laboratory.case.name, f"after {after:.2f} s", problem)
        ended = laboratory.run(folder)
        problem = laboratory.damage(folder, ended, finished=True)
        if ended.code:
            problem = f"the next run fails with exit code {ended.code}: {ended.errors[-300:]}"
        yield Outcome("run after SIGKILL", laboratory.case.name, f"round {start}", problem)
        shutil.rmtree(folder)


def interrupt(laboratory: Laboratory, points: int) -> Iterator[Outcome]:
    """SIGINT and SIGTERM at `points` times each."""
    expected = {signal.SIGINT: (130, -signal.SIGINT), signal.SIGTERM: (143, -signal.SIGTERM)}
    for number, codes in expected.items():
        for point in range(points):
            folder = laboratory.folder()
            after = laboratory.seconds * (point + 0.5) / points
            ended = laboratory.run(folder, after, number)
            allowed = (0, *codes, *([75] if laboratory.case.name.startswith("fa-train") else []))
            is_starting = "KeyboardInterrupt" in ended.errors and not OWN_FRAME.search(ended.errors)
            if is_starting:
                allowed = (*allowed, 1)  # Python itself was still starting
            problem = laboratory.damage(folder, ended, finished=ended.code == 0)
            if ended.code not in allowed:
                problem = f"exit code {ended.code}: {ended.errors[-300:]}"
            elif "Traceback" in ended.errors and not is_starting:
                problem = f"a traceback: {ended.errors[-300:]}"
            elif ended.seconds_after_signal > SIGNAL_SECONDS:
                problem = f"it ends {ended.seconds_after_signal:.1f} s after the signal"
            yield Outcome(number.name, laboratory.case.name, f"after {after:.2f} s", problem)
            shutil.rmtree(folder)


def fail_writes(laboratory: Laboratory, most: int) -> Iterator[Outcome]:
    """Every write, or `most` of them evenly spread, fails once with ENOSPC and once with EIO."""
    shim = build_shim(laboratory.folder())
    log = laboratory.folder() / "log"

    def run(folder: Path, number: int, error: int) -> Ended:
        log.write_bytes(b"")
        settings = {"LD_PRELOAD": shim, "FAULT_FOLDER": folder, "FAULT_LOG": log}
        numbers = {"FAULT_NUMBER": number, "FAULT_ERRNO": error}
        environment = {name: str(value) for name, value in (settings | numbers).items()}
        return laboratory.run(folder, environment=environment)

    folder = laboratory.folder()
    run(folder, 0, 0)
    writes = log.read_text().splitlines()
    step = max(1, len(writes) / most)
    for number in sorted({int(1 + position * step) for position in range(min(most, len(writes)))}):
        for error in (errno.ENOSPC, errno.EIO):
            folder = laboratory.folder()
            ended = run(folder, number, error)
            lines = log.read_text().splitlines()
            failed = Path(lines[number - 1]).name if number <= len(lines) else "not reached"
            operation = lines[number - 1].split()[0] if number <= len(lines) else ""
            problem = laboratory.damage(folder, ended, finished=ended.code == 0) or (
                ended.complaint() if ended.code else None
            )
            name = errno.errorcode[error]
            yield Outcome(name, laboratory.case.name, f"operation {number}: {operation} {failed}", problem)
            shutil.rmtree(folder)


def build_shim(folder: Path) -> Path:
    """Compile the library that lets writes fail."""
    library = folder / "failing_writes.so"
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    subprocess.run([*compiler.split(), "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    return library


def limit_memory(laboratory: Laboratory, steps: int) -> Iterator[Outcome]:
    """RLIMIT_AS in `steps` from LEAST_MEMORY up to where the command works."""
    folder = laboratory.folder()
    most = max(1.1 * laboratory.peak_address_space(folder), LEAST_MEMORY)
    shutil.rmtree(folder)
    for step in range(steps):
        limit = int(LEAST_MEMORY * (most / LEAST_MEMORY) ** (step / max(1, steps - 1)))
        folder = laboratory.folder()
        ended = laboratory.run(folder, limit=limit)
        by_library = any(words in ended.errors for words in LIBRARY_WORDS)  # like SIGKILL, without time to clean up
        problem = laboratory.damage(folder, ended, finished=ended.code == 0, allow_temporary=by_library)
        problem = problem or (ended.complaint() if ended.code and not by_library else None)
        yield Outcome("RLIMIT_AS", laboratory.case.name, f"{limit / 1e6:.0f} MB", problem)
        shutil.rmtree(folder)


def _end_group(number: int) -> bool:
    """Wait a moment until a group has no processes. Kills those that are left, and returns whether there were any."""
    for _ in range(200):
        try:
            os.killpg(number, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.05)
    os.killpg(number, signal.SIGKILL)
    return True


def _memory_limit(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))


def run_twice(laboratory: Laboratory, repetitions: int) -> Iterator[Outcome]:
    """Two processes with the same output at once: one succeeds, the other does too or is refused."""
    for repetition in range(repetitions):
        folder = laboratory.folder()
        delay = laboratory.seconds * repetition / repetitions
        with ThreadPoolExecutor() as pool:
            first = pool.submit(laboratory.run, folder)
            time.sleep(delay)
            second = pool.submit(laboratory.run, folder)
        failures = [ended for ended in (first.result(), second.result()) if ended.code]
        problem = laboratory.damage(folder, first.result(), finished=True)
        if len(failures) == 2:
            problem = f"both fail: {failures[0].errors[-200:]} {failures[1].errors[-200:]}"
        elif failures and (complaint := failures[0].complaint()):
            problem = complaint
        yield Outcome("two at once", laboratory.case.name, f"{delay:.2f} s apart", problem)
        shutil.rmtree(folder)
