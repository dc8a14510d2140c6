"""Input and output files of commands: images in sources, output checks, provenance."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from facetools import __version__
from facetools.commands.job import Failure, Job
from facetools.runtime.hardware import processor_name


def provenance(job: Job, inputs: Iterable[str]) -> dict[str, Any]:
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
        "hardware": f"{processor_name()}, {job.jobs} threads, {platform.system()} {platform.machine()}",
    }


def image_paths(names: list[str], *, null: bool = False, partition: str | None = None) -> list[str]:
    """The paths of all images in `sources`; a folder in CelebA's layout gives its images, or one partition of them."""
    from facetools.images.sources import find_images
    from facetools.table.celeba import CelebALayout

    paths: list[str] = []
    for source in names:
        layout = CelebALayout.find(Path(source)) if source != "-" and Path(source).is_dir() else None
        found = list(find_images([source if layout is None else str(layout.images)], sys.stdin.buffer, null=null))
        if partition is not None:
            if layout is None:
                raise Failure(f"{source}: --partition needs a folder in CelebA's layout")
            found = layout.in_partition(found, partition)
        paths += found
    if not paths:
        raise Failure(f"there are no images in {', '.join(names)}")
    return paths


def check_output(output: str, format: str | None = None) -> None:
    """Whether a file of that name can be made, before it takes a while to have something to write to it."""
    called = Path(output).suffix.removeprefix(".")
    if format is None and called in ("csv", "tsv", "parquet", "npz"):
        raise typer.BadParameter(f"tables are written as jsonl or npy, not as {called}", param_hint="--output")
    if Path(output).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), output)
    if not Path(output).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), output)


def choose_encoding(chosen: str | None, output: str, otherwise: str = "jsonl") -> Any:
    """The encoding to write: the one chosen, else the one that the file is called by, else `otherwise`."""
    called = Path(output).suffix.removeprefix(".")
    return chosen or (called if called in ("jsonl", "npy") else otherwise)
