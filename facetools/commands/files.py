"""Input files of commands: images, named by sources or a face table, and the provenance of outputs."""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facetools import __version__
from facetools.commands.job import CommandError, Job
from facetools.commands.options import refuse_unused
from facetools.runtime import descriptors
from facetools.runtime.hardware import processor_name

if TYPE_CHECKING:
    from facetools.table.columns import Table
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


@dataclass(frozen=True)
class FoundImages:
    """The images of a command.

    paths: their paths, in order.
    table: the rows of the face table that names them, one per path, or None.
    encoding: that of the table; jsonl without one.
    """

    paths: list[str]
    table: Table | None = None
    encoding: Encoding = "jsonl"

    def take(self, numbers: Sequence[int]) -> FoundImages:
        """Return the images with these `numbers`, in ascending order."""
        import numpy as np

        table = None if self.table is None else self.table.take(np.array(numbers, int))
        return FoundImages([self.paths[number] for number in numbers], table, self.encoding)

    def find_in_order(self, paths: Iterable[str], start: int) -> list[int]:
        """Return the numbers of `paths`, which are images from number `start` on, in order and perhaps with gaps."""
        numbers = []
        for path in paths:
            start = self.paths.index(path, start) + 1
            numbers.append(start - 1)
        return numbers

    def add_columns(self, rows: Table, numbers: Sequence[int]) -> Table:
        """Return `rows`, computed for the images with these `numbers`, with the other columns of the face table."""
        from facetools.table.columns import add_columns

        source = self.take(numbers).table
        return rows if source is None else add_columns(rows, source)

    def has_key(self, number: int, key: str) -> bool:
        """Whether the row of the image with this number has a key that is no column."""
        return self.table is not None and self.table.extras is not None and key in self.table.extras[number]

    def digest(self) -> str:
        """A hash of the rows of the face table; empty without one."""
        if self.table is None:
            return ""
        import hashlib

        from facetools.table.jsonl import write_jsonl

        lines = io.BytesIO()
        write_jsonl(lines, self.table)
        return hashlib.sha256(lines.getbuffer()).hexdigest()


def find_images(
    job: Job,
    sources: list[str],
    *,
    null: bool = False,
    partition: str | None = None,
    exclude: Callable[[str], bool] = lambda path: False,
) -> FoundImages:
    """Return all images in `sources`, in order, or those that a face table names.

    A face table has to be the only source. A folder in CelebA's layout gives its images, or those of one `partition`
    ("train", "valid" or "test"). `null` means that paths on stdin end with NUL. Files in folders for which
    exclude(path) is true are left out.

    What cannot be read is reported by the first process of the job, which also counts the files passed over. Raises
    CommandError if there are no images.
    """
    stdin = descriptors.standard_input() if "-" in sources else None
    tables = [source for source in sources if _is_table(source, None if null else stdin)]
    if not tables:
        return FoundImages(_find_partitions(job, sources, [partition], stdin, null=null, exclude=exclude)[0])
    name = "standard input" if tables[0] == "-" else tables[0]
    if len(sources) > 1:
        raise typer.BadParameter(f"{name} is a face table, so it has to be the only source")
    if partition is not None:
        raise CommandError(f"{name}: --partition needs a folder in CelebA's layout")
    refuse_unused(job.given, ["null"], "on a face table")
    return _read_images(tables[0], name, stdin)


def find_partitions(
    job: Job, sources: list[str], partitions: Sequence[str | None], *, null: bool = False
) -> list[list[str]]:
    """Return the paths of the images in `sources` for each of `partitions`. No source may be a face table.

    See `find_images`.
    """
    stdin = descriptors.standard_input() if "-" in sources else None
    return _find_partitions(job, sources, partitions, stdin, null=null)


def _is_table(source: str, stdin: io.BufferedReader | None) -> bool:
    """Whether a source is a face table. `stdin` is the stream of the source `-`, or None if it holds paths."""
    from facetools.images.signatures import IMAGE_SUFFIXES
    from facetools.table.detection import is_table

    if source == "-":
        return stdin is not None and is_table(stdin.peek(1))
    path = Path(source)
    # A download that failed may have left an error message in JSON under the name of an image.
    if path.suffix == ".txt" or path.suffix.lower() in IMAGE_SUFFIXES or not path.is_file():
        return False
    if path.suffix in (".gz", ".bz2", ".xz"):
        return path.stem.endswith((".jsonl", ".npy", ".json"))
    try:
        with path.open("rb") as stream:
            return is_table(stream.peek(1))
    except OSError:  # reading it as an image tells the reason
        return False


def _read_images(source: str, name: str, stdin: io.BufferedReader | None) -> FoundImages:
    from facetools.table import streams

    with nullcontext(stdin) if stdin is not None else streams.open_input(source) as stream:
        table, encoding = streams.read_stream(stream, source)
    if table.paths is None:
        raise CommandError(f"{name}: the table has no column 'path', which names the images")
    return FoundImages([table.path(row) for row in range(len(table))], table, encoding)


def _find_partitions(
    job: Job,
    sources: list[str],
    partitions: Sequence[str | None],
    stdin: io.BufferedReader | None,
    *,
    null: bool,
    exclude: Callable[[str], bool] = lambda path: False,
) -> list[list[str]]:
    from facetools.images import sources as images
    from facetools.table.celeba import CelebALayout

    if "-" not in sources:
        refuse_unused(job.given, ["null"], "without the source -")
    failures: list[tuple[str, str]] = []
    paths: list[list[str]] = [[] for _ in partitions]
    for source in sources:
        layout = CelebALayout.find(Path(source)) if source != "-" and os.path.isdir(source) else None  # noqa: PTH112
        found = list(
            images.find_images(
                [source if layout is None else str(layout.images)],
                stdin if source == "-" else None,
                null=null,
                on_failure=lambda path, reason: failures.append((path, reason)),
                on_passed_over=job.pass_over if job.process.is_first else lambda path, kind: None,
                exclude=exclude,
            )
        )
        for partition, selected in zip(partitions, paths, strict=True):
            if partition is None:
                selected += found
                continue
            if layout is None:
                raise CommandError(f"{source}: --partition needs a folder in CelebA's layout")
            on_match = job.say if partition == partitions[0] else lambda summary: None
            selected += layout.select_partition(found, partition, on_match)
    if len(failures) == 1 and not any(paths):
        raise CommandError(": ".join(failures[0]))
    # All processes find the same images, so only the first one reports the others.
    if job.process.is_first:
        for path, reason in failures:
            job.report_failure(path, reason)
    for partition, selected in zip(partitions, paths, strict=True):
        if not selected:
            kind = f"{partition} images" if partition else "images"
            passed_over = f" ({job.describe_passed_over()})" if job.passed_over else ""
            raise CommandError(f"there are no {kind} in {', '.join(sources)}{passed_over}")
    return paths
