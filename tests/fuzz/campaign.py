"""Run many mutated inputs in worker processes and collect the faults.

Input `number` of a kind depends on the seed, the kind and the number only, so a worker needs no files and a fault is
repeated by its number. Worker processes limit time and memory of each input; if an input kills its worker, the parent
process knows which one it was from shared memory.
"""

from __future__ import annotations

import base64
import faulthandler
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import SEEDS

#: Reduced inputs that were faults, one JSON object per line: kind, cause and input in base64.
FOUND = Path(__file__).with_name("found.jsonl")

#: Processor time that an input may take, in seconds; the time until a worker that does not answer is killed.
CPU_SECONDS, SILENT_SECONDS = 1.0, 30.0

#: How much the peak memory of a worker may grow by one input, and how much it can grow at all, in bytes.
GROWTH_BYTES, LIMIT_BYTES = 2**28, 2**31

#: Inputs per task of a worker.
TASK_INPUTS = 250

#: Events of Python's audit hooks that no input may cause: processes, connections and so on.
FORBIDDEN_EVENTS = frozenset(
    ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "os.kill")
    + ("socket.connect", "socket.bind", "urllib.Request", "ctypes.dlopen", "os.putenv", "code.__new__")
)

#: Events that change a file, whose path is the first argument; allowed in the folder of the worker.
FILE_EVENTS = frozenset(
    ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.truncate")
)


class TimeLimitError(BaseException):
    """An input took more than CPU_SECONDS. No `except Exception` catches it."""


@dataclass(frozen=True)
class Task:
    """The inputs `first` to `first + count - 1` of a kind."""

    kind: str
    first: int
    count: int


@dataclass(frozen=True)
class Fault:
    """An input with neither a result nor a documented error. Faults of one `cause` have one defect in common."""

    kind: str
    number: int
    cause: str
    details: str


@dataclass
class Tally:
    """The outcome of the inputs of one kind."""

    inputs: int = 0
    results: int = 0
    errors: int = 0
    faults: list[Fault] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Tally) -> None:
        self.inputs += other.inputs
        self.results += other.results
        self.errors += other.errors
        self.faults += other.faults
        self.seconds += other.seconds


def make_input(kind: str, number: int, seed: int) -> bytes:
    """Input `number` of a kind: a mutated seed. The first inputs are the seeds themselves and those of FOUND."""
    from tests.fuzz.targets import TARGETS

    seeds, found = _seeds(kind), _found(kind)
    if number < len(seeds) + len(found):
        return (seeds + found)[number]
    rng = Random(f"{seed} {kind} {number}")
    return mutate(rng, rng.choice(seeds), rng.choice(seeds), TARGETS[kind].structured)


@cache
def _seeds(kind: str) -> list[bytes]:
    return SEEDS[kind]()


@cache
def _found(kind: str) -> list[bytes]:
    entries = [json.loads(line) for line in FOUND.read_text().splitlines()]
    return [base64.b64decode(entry["input"]) for entry in entries if entry["kind"] == kind]


# One process


class Runner:
    """Runs inputs in this process and judges them. The process is changed for good: limits, streams, audit hook."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        os.chdir(self._folder)
        # What C libraries print reaches the file; what Python code prints does not.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        for descriptor in (1, 2):
            os.dup2(self._output.fileno(), descriptor)
        sys.stdout = sys.stderr = io.StringIO()
        self._events: list[str] = []
        self._is_running = False
        sys.addaudithook(self._audit)
        signal.signal(signal.SIGPROF, _raise_time_limit)
        from tests.fuzz import targets

        targets.prepare()
        self._targets = targets.TARGETS

    def close(self) -> None:
        os.chdir("/")
        shutil.rmtree(self._folder, ignore_errors=True)

    def prepare(self, kind: str) -> None:
        """Run the seeds of a kind, which imports all modules, then limit the memory of this process."""
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        for data in _seeds(kind):
            try:
                self._targets[kind].run(data, self._folder)
            except Exception:
                continue
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, resource.RLIM_INFINITY))

    def judge(self, kind: str, data: bytes) -> tuple[bool, str, str]:
        """Run one input: whether there is a result, and the cause and details of a fault (empty if there is none)."""
        target = self._targets[kind]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        printed = os.fstat(self._output.fileno()).st_size
        self._events.clear()
        has_result, cause, details = False, "", ""
        with warnings.catch_warnings(record=True) as caught:
            self._is_running = True
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            try:
                target.run(data, self._folder)
                has_result = True
            except target.errors:
                pass
            except BaseException as error:
                cause, details = _describe(error), traceback.format_exc(limit=-12)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                self._is_running = False
        sys.stdout.truncate(0)
        growth = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
        if not cause and caught:
            cause = f"warning: {caught[0].category.__name__} at {Path(caught[0].filename).name}:{caught[0].lineno}"
            details = str(caught[0].message)
        if not cause and self._events:
            cause, details = f"forbidden: {self._events[0].split(' ')[0]}", "\n".join(self._events[:9])
        if not cause and os.fstat(self._output.fileno()).st_size > printed:
            details = os.pread(self._output.fileno(), 2000, printed).decode(errors="replace")
            cause = f"a library prints: {details.partition(':')[0][:30]!r}"
        if not cause and growth > GROWTH_BYTES:
            cause, details = "memory", f"the peak memory grew by {growth / 1e6:.0f} MB"
        return has_result, cause, details

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._is_running:
            return
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes and isinstance(path, str | bytes | os.PathLike) and not self._is_inside(path):
                self._events.append(f"write {path!r}")
        elif event in FORBIDDEN_EVENTS or (event in FILE_EVENTS and not self._is_inside(arguments[0])):
            self._events.append(f"{event} {arguments!r:.300}")

    def _is_inside(self, path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.realpath(os.fsdecode(path)).startswith(f"{self._folder}/")


def _raise_time_limit(number: int, frame: FrameType | None) -> None:
    raise TimeLimitError(f"more than {CPU_SECONDS:g} s")


def _describe(error: BaseException) -> str:
    """Type of the exception and the line of facetools that it comes through last."""
    if isinstance(error, TimeLimitError):
        return "time"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/facetools/" in frame.filename]
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _work(tasks: Connection, heartbeat: Any, seed: int, trace: Path) -> None:
    """The loop of a worker: receive a task, send its tally. `heartbeat` holds number and time of the current input."""
    with trace.open("w") as stream:
        faulthandler.enable(stream)
        runner = Runner()
        try:
            while (task := tasks.recv()) is not None:
                runner.prepare(task.kind)
                tally = Tally()
                started = time.process_time()
                for number in range(task.first, task.first + task.count):
                    heartbeat[0], heartbeat[1] = number, time.monotonic()
                    has_result, cause, details = runner.judge(task.kind, make_input(task.kind, number, seed))
                    tally.inputs += 1
                    tally.results += has_result and not cause
                    tally.errors += not has_result and not cause
                    if cause:
                        tally.faults.append(Fault(task.kind, number, cause, details))
                tally.seconds = time.process_time() - started
                heartbeat[1] = 0.0
                tasks.send(tally)
        except (EOFError, KeyboardInterrupt):
            return
        finally:
            runner.close()


# All processes


class _Worker:
    """A worker process, the task it works on, and what it reports about its current input."""

    def __init__(self, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._heartbeat = context.Array("d", 2, lock=False)
        self.connection, other = context.Pipe()
        self._trace = tempfile.NamedTemporaryFile(prefix="fuzz-trace-")  # noqa: SIM115
        arguments = (other, self._heartbeat, seed, Path(self._trace.name))
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        other.close()
        self.task: Task | None = None

    def start(self, task: Task | None) -> None:
        self.task = task
        self._heartbeat[0] = -1
        self.connection.send(task)

    @property
    def is_silent(self) -> bool:
        started = self._heartbeat[1]
        return self.task is not None and 0 < started < time.monotonic() - SILENT_SECONDS

    def kill(self) -> None:
        self._process.kill()

    def bury(self) -> Fault:
        """The fault of the input that ended this worker. Raises RuntimeError if it ended before the first one."""
        self._process.join()
        assert self.task is not None
        code = self._process.exitcode or 0
        cause = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        cause = "hang" if self.is_silent or code == -signal.SIGKILL else cause
        if self._heartbeat[0] < 0:
            raise RuntimeError(f"a worker ended before its first {self.task.kind}: {cause}")
        return Fault(self.task.kind, int(self._heartbeat[0]), cause, Path(self._trace.name).read_text()[-3000:])


def plan(count: int, kinds: Iterable[str]) -> list[Task]:
    """The tasks for `count` inputs of all `kinds`, each by its share."""
    from tests.fuzz.targets import TARGETS

    shares = {kind: TARGETS[kind].share for kind in kinds}
    tasks = []
    for kind, share in shares.items():
        inputs = max(1, round(count * share / sum(shares.values())))
        tasks += [Task(kind, first, min(TASK_INPUTS, inputs - first)) for first in range(0, inputs, TASK_INPUTS)]
    # Slow kinds first, so that the workers end at about the same time; one kind after the other in each worker.
    return sorted(tasks, key=lambda task: shares[task.kind])


def run(
    tasks: list[Task], seed: int, jobs: int, on_progress: Callable[[dict[str, Tally]], None] = lambda tallies: None
) -> dict[str, Tally]:
    """Run `tasks` in `jobs` processes and return the tally of each kind."""
    tallies: dict[str, Tally] = {}
    pending, workers = deque(tasks), [_Worker(seed) for _ in range(min(jobs, len(tasks)))]
    for worker in workers:
        worker.start(pending.popleft())
    while workers:
        ready = wait([worker.connection for worker in workers], timeout=1.0)
        for worker in list(workers):
            if worker.is_silent:
                worker.kill()
            elif worker.connection not in ready:
                continue
            task = worker.task
            assert task is not None
            tally = tallies.setdefault(task.kind, Tally())
            try:
                tally.add(worker.connection.recv())
            except (EOFError, OSError):
                fault = worker.bury()
                # The results of the inputs before it are lost with the worker, so they are run once more.
                tally.add(Tally(inputs=1, faults=[fault]))
                pending.extendleft(_without(task, fault.number))
                workers[workers.index(worker)] = worker = _Worker(seed)
            if pending:
                worker.start(pending.popleft())
            else:
                worker.connection.send(None)
                workers.remove(worker)
            on_progress(tallies)
    return tallies


def _without(task: Task, number: int) -> Iterator[Task]:
    if number > task.first:
        yield Task(task.kind, task.first, number - task.first)
    if number + 1 < task.first + task.count:
        yield Task(task.kind, number + 1, task.first + task.count - number - 1)


def distinct_faults(tallies: dict[str, Tally]) -> list[tuple[Fault, int]]:
    """The first fault of each kind and cause, and how many there are of it."""
    first: dict[tuple[str, str], Fault] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for tally in tallies.values():
        for fault in tally.faults:
            key = (fault.kind, fault.cause)
            first.setdefault(key, fault)
            counts[key] += 1
    return [(fault, counts[key]) for key, fault in first.items()]
