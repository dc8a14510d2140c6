"""Training: a loop one can read, that can be stopped anywhere and goes on as if nothing had happened."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facetools.images.cache import CachedImages, open_image_caches
from facetools.runtime import files
from facetools.runtime.processes import ProcessGroup, ProcessInfo
from facetools.training.examples import Examples
from facetools.training.learner import Learner
from facetools.training.recipes import Recipe

SINGLE_PROCESS = ProcessGroup(ProcessInfo(), None)


class TrainingInterrupted(Exception):
    """Training was asked to stop, and did, after a step and with a checkpoint."""


def train(
    recipe: Recipe,
    attributes: tuple[str, ...],
    training: Examples,
    validation: Examples,
    run: Path,
    *,
    device: torch.device,
    jobs: int = 1,
    seed: int = 0,
    cache: str | None = None,
    resume: bool = False,
    made_by: dict[str, Any] | None = None,
    on_failure: Callable[[str, str], None] = lambda path, reason: None,
    on_resume: Callable[[int], None] = lambda images: None,
    on_step: Callable[[int], None] = lambda images: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None,
    interrupted: Callable[[], bool] = lambda: False,
    group: ProcessGroup = SINGLE_PROCESS,
    sync: bool = True,
) -> None:
    """Trains on `training`, validates each epoch on `validation`, and keeps the run in the folder `run`:
    `best.pt` and `last.pt` (checkpoints), `history.jsonl` (a record an epoch) and `config.json`.

    `on_failure` is told once each image that cannot be had, `on_resume` how many images were seen before, `on_step` the
    images of each step, `on_epoch` each record. When `interrupted` says so, the step is finished, `last.pt` written and
    Interrupted raised. A loss that is no number raises DivergedError and leaves the last checkpoints as they are.
    `resume` continues from `last.pt` if there is one. Decoded images are kept in the `cache` of cache.decoded.

    The processes of a `group` share each batch and keep the same network; the first one writes. With `sync` they take
    the statistics of batch normalisation together, so that they learn what one process would; dropout alone differs.
    """
    least = 2 * group.process.world
    if recipe.batch < least:
        raise ValueError(f"batch is {recipe.batch}; for two images a process it must be at least {least}")
    # A run goes on with the teacher that it began with: what it says is told by a digest.
    taught = training.taught is not None and hashlib.sha256(training.taught.tobytes()).hexdigest()[:12]
    if recipe.distillation and not (taught or recipe.averaging):
        raise ValueError("distillation needs a teacher: scores of other networks, or the moving average (averaging)")
    settings = {
        "recipe": recipe.to_dict(),
        "attributes": list(attributes),
        "seed": seed,
        "images": len(training),
        "taught": taught,
    }
    about = {"settings": settings, "made_by": made_by or {}}
    last, best = run / "last.pt", run / "best.pt"
    learner = Learner(recipe, attributes, device, seed, group, sync, about, last if resume and last.exists() else None)
    progress, size, failed_once = learner.progress, None, functools.cache(on_failure)
    if not (resume and last.exists()) and group.process.is_first:
        files.make_folder(run)
        files.write_atomically(
            run / "config.json", json.dumps(settings | {"made_by": made_by}, indent=1).encode() + b"\n"
        )
    if recipe.epochs == 0:
        learner.save(last)
        learner.save_best(best, *[np.zeros((0, len(attributes)))] * 2)
    on_resume(progress.epoch * len(training) + progress.images)
    pixels: list[CachedImages] = []  # of training and validation
    while progress.epoch < recipe.epochs:
        if size != recipe.size_at(progress.epoch):
            size = recipe.size_at(progress.epoch)
            pixels.clear()  # first, as there may not be room beside them
            pixels += open_image_caches(
                [training.paths, validation.paths],
                size,
                jobs=jobs,
                on_failure=failed_once,
                cache=cache,
                processes=group.process.local_world,
            )
            learner.grow(size)
        for images_of_step in learner.steps(training, pixels[0]):
            on_step(images_of_step)
            if group.any(interrupted()):
                learner.gather()
                learner.save(last)
                raise TrainingInterrupted
        with learner.settled(training, pixels[0]):
            truth, predicted = learner.predicted(validation, pixels[1])
            record, is_best = learner.finish_epoch(truth, predicted)
            if is_best:
                learner.save_best(best, truth, predicted)
        if group.process.is_first:
            rows = b"".join(json.dumps(row).encode() + b"\n" for row in progress.history)
            files.write_atomically(run / "history.jsonl", rows)
        learner.save(last)
        on_epoch(record)
