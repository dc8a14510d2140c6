"""The labels of the images of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facetools.commands.job import Job

if TYPE_CHECKING:
    from facetools.table.labels import GroundTruth, ImageLabels


def match_labels(job: Job, truth: GroundTruth, paths: list[str]) -> tuple[list[str], ImageLabels]:
    """Return those of `paths` that have labels, and the labels. The others are reported as failures.

    All processes of a job leave out the same images, so only the first one reports them.
    """
    labels = truth.match(paths)
    job.say(labels.summary)
    if job.process.is_first:
        for path in paths:
            if path not in labels:
                job.report_failure(path, f"has no labels in {labels.source}")
    return [path for path in paths if path in labels], labels
