"""Run a command: shared options, grouped help, signals and exit codes. The entry point is the decorator `command`."""

from __future__ import annotations

import inspect
import math
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from facetools import __version__
from facetools.commands.failures import describe_failure
from facetools.commands.job import EXIT_FAILED, Job, escape_controls
from facetools.commands.options import RUN, SHARED_OPTIONS
from facetools.runtime import descriptors, signals
from facetools.runtime.hardware import cuda_version, usable_cpus

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter


class _GroupedCommand(TyperCommand):
    """A command whose --help lists options by their group (`rich_help_panel`)."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                group = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or RUN
                groups.setdefault(group, []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


def command(body: Callable[..., None]) -> Callable[[], NoReturn]:
    """Turn `body`, a function fa_NAME(job, ...), into the `main` of a command: parse options, run the body, exit.

    The signature of `body` defines its options; the shared options are added. Its docstring is the help text; the part
    after a form feed, the examples, is shown after the options.
    """
    name = body.__name__.replace("_", "-")

    def run_body(context: typer.Context, **values: Any) -> None:
        _run(name, body, values, _given_options(context))

    parameters = _parameters(body)
    run_body.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run_body.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    text, _, examples = inspect.cleandoc(body.__doc__ or "").partition("\f")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    app.command(name, cls=_GroupedCommand, help=text, epilog="\b\n" + examples.strip(), context_settings=settings)(
        run_body
    )

    def main() -> NoReturn:
        signals.end_on_signals()
        try:
            descriptors.open_standard_streams()
            try:
                app(prog_name=name)
            finally:
                descriptors.close_stdout()
        except BrokenPipeError:
            signals.die_by(signal.SIGPIPE)
        except OSError as error:  # from printing --help or --version
            print(f"{name}: {escape_controls(describe_failure(error))}", file=sys.stderr)
            _exit_now(EXIT_FAILED)
        raise AssertionError("unreachable")

    main.app = app  # type: ignore[attr-defined]
    return main


def _parameters(body: Callable[..., None]) -> list[inspect.Parameter]:
    """Return the parameters of a command: the context, those of `body` without the job, the shared options and
    --version."""
    own = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
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
            typer.Option(
                "--version",
                is_eager=True,
                callback=_show_version,
                help="Print the versions of facetools and its libraries and exit.",
                rich_help_panel=RUN,
            ),
        ],
    )
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    return [context, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own), *shared, version]


def _given_options(context: typer.Context) -> frozenset[str]:
    """Return the names of the parameters that are set on the command line, such as `min_samples`."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE")


def _run(name: str, body: Callable[..., None], values: dict[str, Any], given: frozenset[str]) -> NoReturn:
    """Run the body of a command with the `values` of its options, and exit. `given` names those that the user set."""
    shared = {option: values.pop(option) for option in SHARED_OPTIONS}
    shared["jobs"] = shared["jobs"] or usable_cpus()
    values.pop("version")
    _check_options(shared["device"], values)
    job = Job(name, given=given, **shared)
    if name != "fa-train":
        # The commands of a pipeline run side by side, so waiting threads must not spin. Training usually runs alone
        # and is faster with spinning threads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # OpenMP and BLAS libraries read this when they are loaded. A container's quota is unknown to them.
    if "jobs" in given or "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(job.jobs)
    # What torch prints when processes cannot connect: frames of C++. The exception says the same.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    if not job.debug:
        # Warnings of libraries, with paths of their source, tell users nothing.
        warnings.simplefilter("ignore")
    try:
        signals.start_watchdog()
        descriptors.reserve_stdout()
        body(job, **values)
        descriptors.close_stdout()
        job.end()
        # The threads of torch's communication and of StopRequest can abort the interpreter while it shuts down.
        if job.process.world > 1 or name == "fa-train":
            _exit_now(job.exit_code)
    except (typer.Exit, typer.BadParameter):
        raise
    except BrokenPipeError:
        signals.die_by(signal.SIGPIPE)
    except Exception as error:
        if job.debug:
            traceback.print_exc()
            _exit_now(EXIT_FAILED)
        print(f"{name}: {escape_controls(describe_failure(error))}", file=sys.stderr)
        _exit_now(EXIT_FAILED)
    raise typer.Exit(job.exit_code)


def _check_options(device: str, values: dict[str, Any]) -> None:
    """Raise a usage error for an unknown device or an option that is NaN."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise typer.BadParameter(f"'{device}' is no device; give auto, cpu, cuda or cuda:N", param_hint="--device")
    for option, value in values.items():
        if isinstance(value, float) and math.isnan(value):
            raise typer.BadParameter("it is not a number", param_hint=f"--{option.replace('_', '-')}")


def _exit_now(code: int) -> NoReturn:
    """Exit at once: do not wait for threads and do not flush stdout."""
    sys.stderr.flush()
    os._exit(code)


def _show_version(context: typer.Context, is_requested: bool) -> None:
    if not is_requested:
        return
    from facetools.clustering import codes

    libraries = {
        "torch": _package_version("torch"),
        "ONNX Runtime": _package_version("onnxruntime"),
        "FAISS": _package_version("faiss-gpu", "faiss-cpu"),
        "CUDA": cuda_version(),
    }
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    print(f"{context.info_name} {__version__} (core {codes.simd()}, {versions})")
    raise typer.Exit


def _package_version(*packages: str) -> str:
    """Return the version of the first of `packages` that is installed, or `none`."""
    from importlib.metadata import PackageNotFoundError, version

    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "none"
