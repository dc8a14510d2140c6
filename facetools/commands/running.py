"""Run a command: shared options, signals, exit codes."""

from __future__ import annotations

import inspect
import math
import os
import re
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from facetools import __version__
from facetools.commands.job import FAILED, INTERRUPTED, Failure, Job
from facetools.commands.options import SHARED_OPTIONS
from facetools.runtime.extras import MissingExtraError
from facetools.runtime.hardware import cuda_version, usable_cpus
from facetools.runtime.processes import PeerError


class _Terminated(BaseException):
    """SIGTERM came; unwinds so that no partial file stays."""


def command(body: Callable[..., None]) -> Callable[[], NoReturn]:
    """The `main` of the command whose body is `fa_NAME(job, ...)`: adds the shared options, runs it, exits.

    The docstring is its help; what follows a form feed, its examples, is shown after the options.
    """
    name = body.__name__.replace("_", "-")

    def with_shared_options(**values: Any) -> None:
        shared = {option: values.pop(option) for option in SHARED_OPTIONS}
        shared["jobs"] = shared["jobs"] or usable_cpus()
        values.pop("version")
        _check_options(shared["device"], values)
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
            if job.process.world > 1:  # torch's threads that let go of tensors would abort an interpreter that ends
                _exit_now(job.exit_code)
        except (typer.Exit, typer.BadParameter):
            raise
        except KeyboardInterrupt:
            _exit_now(INTERRUPTED)
        except _Terminated:
            _exit_by_signal(signal.SIGTERM)
        except BrokenPipeError:
            _exit_by_signal(signal.SIGPIPE)
        except Exception as error:
            if job.debug:
                raise
            print(f"{name}: {_error_message(error)}", file=sys.stderr)
            _exit_now(FAILED)
        raise typer.Exit(job.exit_code)

    signature = inspect.signature(body, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(option, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for option, (annotation, default) in SHARED_OPTIONS.items()
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


def _check_options(device: str, values: dict[str, Any]) -> None:
    """What options of any command cannot be."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise typer.BadParameter(f"'{device}' is no device; give auto, cpu, cuda or cuda:N", param_hint="--device")
    for option, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            raise typer.BadParameter("it is not a number", param_hint=f"--{option.replace('_', '-')}")


def _error_message(error: Exception) -> str:
    """A failure in one sentence."""
    if isinstance(error, OSError) and error.strerror:
        return f"{'cannot write' if error.filename is None else error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, Failure | PeerError | MissingExtraError | ValueError | ArithmeticError):
        return str(error)
    return f"{type(error).__name__}: {error} (this is a defect; --debug shows where)"


def _exit_now(code: int) -> NoReturn:
    """Ends at once, without waiting for threads at work and without writing what is held for stdout."""
    sys.stderr.flush()
    os._exit(code)


def _exit_by_signal(number: signal.Signals) -> NoReturn:
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


def _show_version(context: typer.Context, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    from facetools.clustering import codes

    def installed(*packages: str) -> str:
        for package in packages:
            try:
                return version(package)
            except PackageNotFoundError:
                continue
        return "none"

    libraries = {
        "torch": installed("torch"),
        "ONNX Runtime": installed("onnxruntime"),
        "FAISS": installed("faiss-gpu", "faiss-cpu"),
        "CUDA": cuda_version(),
    }
    listed = ", ".join(f"{name} {version}" for name, version in libraries.items())
    print(f"{context.info_name} {__version__} (core {codes.simd()}, {listed})")
    raise typer.Exit
