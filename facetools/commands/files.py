"""Input and output files of commands: paths of images, checks of output names, provenance."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facetools import __version__
from facetools.commands.job import CommandError, Job
from facetools.runtime.hardware import processor_name

if TYPE_CHECKING:
    from facetools.table.streams import Encoding


def provenance(job: Job, inputs: Iterable[str]) -> dict[str, Any]:
    """Return the origin of an output: version, command line, seed, inputs with size and time, hardware."""
    import platform

    return {
        "version": __version__,
        "command": shlex.join([job.name, *sys.argv[1:]]),
        "seed": job.seed,
        "inputs": [_describe_input(path) for path in inputs],
        "hardware": f"{processor_name()}, {job.jobs} threads, {platform.system()} {platform.machine()}",
    }


def _describe_input(path: str) -> dict[str, Any]:
    from datetime import UTC, datetime

    if path == "-" or not Path(path).exists():
        return {"path": path}
    status = Path(path).stat()
    modified = datetime.fromtimestamp(status.st_mtime, UTC).isoformat(timespec="seconds")
    return {"path": path, "bytes": status.st_size, "modified": modified}


def find_image_paths(sources: list[str], *, null: bool = False, partition: str | None = None) -> list[str]:
    """Return the paths of all images in `sources`, in order.

    A folder in CelebA's layout gives its images, or those of one `partition` ("train", "valid" or "test"). `null` means
    that paths on stdin end with NUL. Raises CommandError if there are no images.
    """
    from facetools.images.sources import find_images
    from facetools.table.celeba import CelebALayout

    paths: list[str] = []
    for source in sources:
        layout = CelebALayout.find(Path(source)) if source != "-" and Path(source).is_dir() else None
        images = list(find_images([source if layout is None else str(layout.images)], sys.stdin.buffer, null=null))
        if partition is not None:
            if layout is None:
                raise CommandError(f"{source}: --partition needs a folder in CelebA's layout")
            images = layout.select_partition(images, partition)
        paths += images
    if not paths:
        raise CommandError(f"there are no images in {', '.join(sources)}")
    return paths


def check_output(output: str, format: str | None = None) -> None:
    """Raise an error if the file `output` cannot be created, so that a command fails before it computes anything."""
    suffix = Path(output).suffix.removeprefix(".")
    if format is None and suffix in ("csv", "tsv", "parquet", "npz"):
        raise typer.BadParameter(f"tables are written as jsonl or npy, not as {suffix}", param_hint="--output")
    if Path(output).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), output)
    if not Path(output).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), output)


def choose_encoding(format: Encoding | None, output: str, default: Encoding = "jsonl") -> Encoding:
    """Return the encoding of an output table: `format` if given, else by the suffix of `output`, else `default`."""
    if format is not None:
        return format
    suffix = Path(output).suffix
    return "npy" if suffix == ".npy" else "jsonl" if suffix == ".jsonl" else default
