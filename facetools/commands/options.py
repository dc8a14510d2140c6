"""Options that several commands share, and the groups in which --help lists options."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal

import typer

#: Headings of the groups of options in --help, which lists groups in the order of their first option.
INPUT, METHOD, OUTPUT, RUN = "Input options", "Method options", "Output options", "Run options"


def parse_image_size(text: str) -> tuple[int, int]:
    """Return (height, width) of a size written as `96` (square) or `96x80`. Raises ValueError for anything else."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(re.fullmatch("[0-9]+", part) and int(part) > 0 for part in parts):
        raise ValueError(f"'{text}' is not a size in pixels; give a number, or height x width as in 96x80")
    return int(parts[0]), int(parts[-1])


def read_size_option(option: str, text: str | None) -> tuple[int, int] | None:
    """Return the (height, width) that an option sets; None if it is not given. Anything else is a usage error."""
    try:
        return None if text is None else parse_image_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def refuse_unused(given: Collection[str], options: Iterable[str], reason: str) -> None:
    """Raise a usage error if the user set one of `options`, which have no effect for the `reason` in the message.

    `given` is Job.given. Both hold names of parameters, such as `min_samples` for --min-samples.
    """
    for option in options:
        if option in given:
            raise typer.BadParameter(f"it has no effect {reason}", param_hint=f"--{option.replace('_', '-')}")


OnError = Literal["report", "skip", "stop"]


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Images, folders, zip or tar archives, .txt lists of paths, or - for paths on stdin; or one face table.",
    ),
]


TableInput = Annotated[str, typer.Argument(metavar="[TABLE]", help="A face table, JSONL or NPY; - is stdin.")]


Null = Annotated[
    bool,
    typer.Option("--null", "-0", help="Paths on stdin end with NUL instead of newline.", rich_help_panel=INPUT),
]


Truncated = Annotated[
    bool,
    typer.Option(
        "--truncated",
        help="Accept images whose end is missing, and report how many. Missing pixels are gray or black.",
        rich_help_panel=INPUT,
    ),
]


Output = Annotated[
    str,
    typer.Option("--output", "-o", metavar="FILE", help="Output file; - is stdout.", rich_help_panel=OUTPUT),
]


Format = Annotated[
    Literal["jsonl", "npy"] | None,
    typer.Option(
        "--format",
        help="Encoding of the output table. By default the suffix of FILE decides, else the encoding of the input "
        "table, else jsonl.",
        rich_help_panel=OUTPUT,
    ),
]


Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Write the table in parts to FILE.parts, and continue there after an interruption.",
        rich_help_panel=OUTPUT,
    ),
]


AttributesOption = Annotated[
    str | None,
    typer.Option(
        "--attributes",
        metavar="LIST",
        help="Attributes to use: presets (celeba40, paper37, paper10) and names, separated by commas.",
        rich_help_panel=INPUT,
    ),
]


Wait = Annotated[
    float,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0,
        help="In a job of several processes, give up if they have not all started within this time.",
        rich_help_panel=RUN,
    ),
]


#: The options of every command, with their defaults; `running.command` adds them to its signature.
SHARED_OPTIONS: dict[str, tuple[Any, Any]] = {
    "seed": (
        Annotated[
            int, typer.Option("--seed", metavar="N", help="Seed of all random numbers.", min=0, rich_help_panel=RUN)
        ],
        0,
    ),
    "device": (
        Annotated[
            str,
            typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUN),
        ],
        "auto",
    ),
    "jobs": (
        Annotated[
            int | None,
            typer.Option(
                "--jobs",
                "-j",
                metavar="N",
                help="Number of threads. By default SLURM_CPUS_PER_TASK, else the CPUs available to the process.",
                min=1,
                max=1024,  # more threads than this cannot be started on most systems
                rich_help_panel=RUN,
            ),
        ],
        None,
    ),
    "on_error": (
        Annotated[
            OnError,
            typer.Option(
                "--on-error",
                help="If an input fails: report it, continue and exit with 3 (report) or 0 (skip), or exit with 1 at "
                "once (stop).",
                rich_help_panel=RUN,
            ),
        ],
        "report",
    ),
    "quiet": (
        Annotated[
            bool, typer.Option("--quiet", "-q", help="Print only errors and failed inputs.", rich_help_panel=RUN)
        ],
        False,
    ),
    "verbose": (
        Annotated[bool, typer.Option("--verbose", "-v", help="Print more details on stderr.", rich_help_panel=RUN)],
        False,
    ),
    "debug": (
        Annotated[bool, typer.Option("--debug", help="Print the traceback if the command fails.", rich_help_panel=RUN)],
        False,
    ),
}
