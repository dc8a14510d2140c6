"""Input files of commands: paths of images, and the provenance of outputs."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from facetools import __version__
from facetools.commands.job import CommandError, Job
from facetools.commands.options import refuse_unused
from facetools.runtime import descriptors
from facetools.runtime.hardware import processor_name


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


def find_image_paths(
    job: Job,
    sources: list[str],
    *,
    null: bool = False,
    partition: str | None = None,
    exclude: Callable[[str], bool] = lambda path: False,
) -> list[str]:
    """Return the paths of all images in `sources`, in order.

    A folder in CelebA's layout gives its images, or those of one `partition` ("train", "valid" or "test"). `null` means
    that paths on stdin end with NUL. Files in folders for which exclude(path) is true are left out.

    What cannot be read is reported by the first process of the job, which also counts the files passed over. Raises
    CommandError if there are no images.
    """
    return find_partitions(job, sources, [partition], null=null, exclude=exclude)[0]


def find_partitions(
    job: Job,
    sources: list[str],
    partitions: Sequence[str | None],
    *,
    null: bool = False,
    exclude: Callable[[str], bool] = lambda path: False,
) -> list[list[str]]:
    """Return the paths of the images in `sources` for each of `partitions`, as `find_image_paths` does for one."""
    from facetools.images.sources import find_images
    from facetools.table.celeba import CelebALayout

    if "-" not in sources:
        refuse_unused(job.given, ["null"], "without the source -")
    failures: list[tuple[str, str]] = []
    paths: list[list[str]] = [[] for _ in partitions]
    for source in sources:
        layout = CelebALayout.find(Path(source)) if source != "-" and os.path.isdir(source) else None  # noqa: PTH112
        images = list(
            find_images(
                [source if layout is None else str(layout.images)],
                descriptors.standard_input() if source == "-" else None,
                null=null,
                on_failure=lambda path, reason: failures.append((path, reason)),
                on_passed_over=job.pass_over if job.process.is_first else lambda path, kind: None,
                exclude=exclude,
            )
        )
        for partition, selected in zip(partitions, paths, strict=True):
            if partition is None:
                selected += images
                continue
            if layout is None:
                raise CommandError(f"{source}: --partition needs a folder in CelebA's layout")
            on_match = job.say if partition == partitions[0] else lambda summary: None
            selected += layout.select_partition(images, partition, on_match)
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
