"""Options that several commands share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import typer


def parse_image_size(text: str) -> tuple[int, int]:
    """(height, width) of a size given as `96` (square) or `96x80` (height x width)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(re.fullmatch("[0-9]+", part) and int(part) > 0 for part in parts):
        raise ValueError(f"'{text}' is not a size in pixels; give a number, or height x width as in 96x80")
    return int(parts[0]), int(parts[-1])


OnError = Literal["report", "skip", "stop"]


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Image files, folders, zip or tar archives, .txt lists, or - for paths on stdin.",
    ),
]


TableInput = Annotated[
    str, typer.Argument(metavar="[TABLE]", help="A face table, JSONL or NPY; - or absent for stdin.")
]


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
SHARED_OPTIONS: dict[str, tuple[Any, Any]] = {
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
