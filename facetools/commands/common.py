"""What the commands share: the options of all, words on stderr, exit codes, signals, inputs that fail."""

from __future__ import annotations

import errno
import inspect
import math
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn

import typer

from facetools import __version__
from facetools.distributed import PeerError, Place

FAILED = 1
LEFT_OUT = 3
RESUME = 75
INTERRUPTED = 130

OnError = Literal["report", "skip", "stop"]

# Arguments and options that several commands opt into

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Image files, folders, zip or tar archives, .txt lists, or - for paths on stdin.",
    ),
]
TableIn = Annotated[str, typer.Argument(metavar="[TABLE]", help="A face table, JSONL or NPY; - or absent for stdin.")]
Null = Annotated[bool, typer.Option("--null", "-0", help="Paths on stdin end with NUL, not newline.")]
Output = Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write; - for stdout.")]
Format = Annotated[
    Literal["jsonl", "npy"] | None,
    typer.Option("--format", help="The encoding; by default as FILE is called, or else as TABLE has it, or jsonl."),
]
AttributesOption = Annotated[
    str | None,
    typer.Option(
        "--attributes",
        metavar="LIST",
        help="Presets (celeba40, paper37, paper10) and attribute names, separated by commas.",
    ),
]

# The options of every command; `command` adds them to its signature
_SHARED: dict[str, tuple[Any, Any]] = {
    "seed": (
        Annotated[int, typer.Option("--seed", metavar="N", help="The seed of all that is random.", min=0)],
        0,
    ),
    "device": (
        Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")],
        "auto",
    ),
    "jobs": (
        Annotated[
            int | None,
            typer.Option(
                "--jobs",
                "-j",
                metavar="N",
                help="Threads to use; by default SLURM_CPUS_PER_TASK, else the CPUs this process may use.",
                min=1,
            ),
        ],
        None,
    ),
    "on_error": (
        Annotated[
            OnError,
            typer.Option(
                "--on-error",
                help="An input that fails: report it and exit 3 at the end, skip it and exit 0, or stop with exit 1.",
            ),
        ],
        "report",
    ),
    "quiet": (Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on stderr but what went wrong.")], False),
    "verbose": (Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")], False),
    "debug": (Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")], False),
}


class Failure(Exception):
    """A failure whose message is the whole story; the command ends with exit code 1."""


class _Terminated(BaseException):
    """SIGTERM came; unwinds so that no partial file stays."""


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
    place: Place = field(default_factory=Place)
    failures: int = 0
    exit_code: int = 0
    _started: float = field(default_factory=time.monotonic)
    _progress: _Progress | None = None
    _done: str = ""

    @property
    def follows(self) -> bool:
        """Whether another process speaks for this one."""
        return not self.place.first

    def say(self, message: str) -> None:
        """A line on stderr, unless --quiet."""
        if not (self.quiet or self.follows):
            self._print(message)

    def detail(self, message: str) -> None:
        """A line on stderr with --verbose."""
        if self.verbose and not self.follows:
            self._print(message)

    def failed(self, what: str, reason: str) -> None:
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
        from facetools import memory

        if self.failures and not self.follows:
            self._print(f"{counted(self.failures, 'input was', 'inputs were')} left out")
            if self.on_error == "report":
                self.exit_code = self.exit_code or LEFT_OUT
        if self._done:
            seconds = time.monotonic() - self._started
            self.say(f"{self._done}; version {__version__}, {seconds:.1f} s, peak memory {memory.peak() / 1e6:.0f} MB")

    @contextmanager
    def progress(self, unit: str, total: int | None = None) -> Iterator[Count]:
        """Shows progress while the block runs, told by calls with the number of units done since the last."""
        with self._shown(unit, total) as progress:
            yield Count(progress)

    @contextmanager
    def stage(self, what: str) -> Iterator[Callable[[float], None]]:
        """Shows how far the one thing is that the block does, told by calls with the share done, 0 to 1."""
        with self._shown(what, None, share=True) as progress:
            yield progress.show

    @contextmanager
    def _shown(self, unit: str, total: int | None, share: bool = False) -> Iterator[_Progress]:
        if self.quiet or self.follows:
            yield _Progress(self, unit, total, share)
            return
        around = self._progress
        self._progress = (_Bar if sys.stderr.isatty() else _Lines)(self, unit, total, share)
        try:
            yield self._progress
        finally:
            self._progress.close()
            self._progress = around

    def _print(self, message: str) -> None:
        line = f"{self.name}: {message}"
        if isinstance(self._progress, _Bar):
            self._progress.print(line)
        else:
            print(line, file=sys.stderr, flush=True)


class Count:
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


class _Lines(_Progress):
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


class _Bar(_Progress):
    """A bar on a terminal, with the time left; one that starts while another runs is shown below it."""

    def __init__(self, job: Job, unit: str, total: int | None, share: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(job, unit, total, share)
        self._around = job._progress if isinstance(job._progress, _Bar) else None
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


# Running


def command(body: Callable[..., None]) -> Callable[[], NoReturn]:
    """The `main` of the command whose body is `fa_NAME(job, ...)`: adds the shared options, runs it, exits.

    The docstring is its help; what follows a form feed, its examples, is shown after the options.
    """
    name = body.__name__.replace("_", "-")

    def with_shared_options(**values: Any) -> None:
        shared = {option: values.pop(option) for option in _SHARED}
        shared["jobs"] = shared["jobs"] or _usable_cpus()
        values.pop("version")
        _check(shared["device"], values)
        job = Job(name, **shared)
        if name != "fa-train":
            # The members of a pipeline compute side by side: threads that wait must not hold the processors. Alone this
            # costs a hundredth; two predictions at once on two cores take a third of the time. Training, alone as a
            # rule, would lose a quarter.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            _redirect_stdout()
            body(job, **values)
            sys.stdout.flush()
            job.end()
            if job.place.world > 1:  # torch's threads that let go of tensors would abort an interpreter that ends
                _leave(job.exit_code)
        except (typer.Exit, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            _leave(INTERRUPTED)
        except _Terminated:
            _die_of(signal.SIGTERM)
        except BrokenPipeError:
            _die_of(signal.SIGPIPE)
        except Exception as error:
            if job.debug:
                raise
            print(f"{name}: {_told(error)}", file=sys.stderr)
            _leave(FAILED)
        raise typer.Exit(job.exit_code)

    signature = inspect.signature(body, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for option, (annotation, default) in _SHARED.items()
    ]
    version = inspect.Parameter(
        "version",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[
            bool,
            typer.Option("--version", is_eager=True, callback=_show_version, help="Show versions and exit."),
        ],
    )
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    with_shared_options.__signature__ = inspect.Signature([*keyword, *shared, version])  # type: ignore[attr-defined]
    with_shared_options.__annotations__ = {
        parameter.name: parameter.annotation for parameter in (*keyword, *shared, version)
    }
    text, _, examples = inspect.cleandoc(body.__doc__ or "").partition("\f")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    app.command(name, help=text, epilog="\b\n" + examples.strip(), context_settings=settings)(with_shared_options)

    def main() -> NoReturn:
        signal.signal(signal.SIGTERM, _terminate)
        app(prog_name=name)
        raise AssertionError("unreachable")

    main.app = app  # type: ignore[attr-defined]
    return main


def _check(device: str, values: dict[str, Any]) -> None:
    """What options of any command cannot be."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise typer.BadParameter(f"'{device}' is no device; give auto, cpu, cuda or cuda:N", param_hint="--device")
    for option, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            raise typer.BadParameter("it is not a number", param_hint=f"--{option.replace('_', '-')}")


def _told(error: Exception) -> str:
    """A failure in one sentence."""
    if isinstance(error, OSError) and error.strerror:
        return f"{'cannot write' if error.filename is None else error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, Failure | PeerError | ValueError | ArithmeticError):
        return str(error)
    return f"{type(error).__name__}: {error} (this is a defect; --debug shows where)"


def _leave(code: int) -> NoReturn:
    """Ends at once, without waiting for threads at work and without writing what is held for stdout."""
    sys.stderr.flush()
    os._exit(code)


def _die_of(number: signal.Signals) -> NoReturn:
    """Ends by a signal that Python had taken over, as the caller expects: by SIGPIPE in silence on a closed pipe."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError("unreachable")


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _Terminated


def _redirect_stdout() -> None:
    """Keeps stdout for data alone: what a library prints by C on file descriptor 1 goes to stderr."""
    sys.stdout.flush()
    data = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(data, "w", encoding="utf-8")


def _usable_cpus() -> int:
    """The CPUs that are this process's: those of the machine are shared with the others that torchrun started on it."""
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if slurm.isdigit() and int(slurm) > 0:
        return int(slurm)
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, seen // max(1, int(beside))) if beside.isdigit() else seen


def _show_version(context: typer.Context, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    from facetools import codes
    from facetools.model import versions

    def installed(*packages: str) -> str:
        for package in packages:
            try:
                return version(package)
            except PackageNotFoundError:
                continue
        return "none"

    torch, cuda = versions()
    beside = f"torch {torch}, ONNX Runtime {installed('onnxruntime')}, FAISS {installed('faiss-gpu', 'faiss-cpu')}"
    print(f"{context.info_name} {__version__} (core {codes.simd()}, {beside}, CUDA {cuda})")
    raise typer.Exit


# Provenance and inputs


def made_by(job: Job, inputs: Iterable[str]) -> dict[str, Any]:
    """What an artifact says of its origin: version, command line, seed, inputs with size and time, hardware."""
    import platform
    from datetime import UTC, datetime

    def described(path: str) -> dict[str, Any]:
        if path == "-" or not Path(path).exists():
            return {"path": path}
        status = Path(path).stat()
        modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
        return {"path": path, "bytes": status.st_size, "modified": modified}

    return {
        "version": __version__,
        "command": shlex.join([job.name, *sys.argv[1:]]),
        "seed": job.seed,
        "inputs": [described(path) for path in inputs],
        "hardware": f"{_processor()}, {job.jobs} threads, {platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    import platform

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def image_paths(sources: list[str], *, null: bool = False, partition: str | None = None) -> list[str]:
    """The paths of all images in `sources`; a folder in CelebA's layout gives its images, or one partition of them."""
    from facetools import images
    from facetools.celeba import CelebA

    paths: list[str] = []
    for source in sources:
        layout = CelebA.find(Path(source)) if source != "-" and Path(source).is_dir() else None
        found = list(images.listed([source if layout is None else str(layout.images)], sys.stdin.buffer, null=null))
        if partition is not None:
            if layout is None:
                raise Failure(f"{source}: --partition needs a folder in CelebA's layout")
            found = layout.in_partition(found, partition)
        paths += found
    if not paths:
        raise Failure(f"there are no images in {', '.join(sources)}")
    return paths


def counted(number: int, one: str, more: str = "") -> str:
    """So many of what is called so: `1 face`, `1,000 faces`."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def check_output(output: str, format: str | None = None) -> None:
    """Whether a file of that name can be made, before it takes a while to have something to write to it."""
    called = Path(output).suffix.removeprefix(".")
    if format is None and called in ("csv", "tsv", "parquet", "npz"):
        raise typer.BadParameter(f"tables are written as jsonl or npy, not as {called}", param_hint="--output")
    if Path(output).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), output)
    if not Path(output).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), output)


def encoding_of(chosen: str | None, output: str, otherwise: str = "jsonl") -> Any:
    """The encoding to write: the one chosen, else the one that the file is called by, else `otherwise`."""
    called = Path(output).suffix.removeprefix(".")
    return chosen or (called if called in ("jsonl", "npy") else otherwise)
