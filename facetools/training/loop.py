"""The training loop: epochs of training and validation, checkpoints, interruption and resumption."""

from __future__ import annotations

import functools
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
from facetools.training.progress import TrainingInterrupted
from facetools.training.recipes import Recipe
from facetools.training.settings import collect_settings

SINGLE_PROCESS = ProcessGroup(ProcessInfo(), None)


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
    on_truncated: Callable[[str], None] | None = None,
    on_resume: Callable[[int], None] = lambda images: None,
    on_step: Callable[[int], None] = lambda images: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda record: None,
    on_start: Callable[[Callable[[], None]], None] = lambda save_and_stop: None,
    should_stop: Callable[[], bool] = lambda: False,
    group: ProcessGroup = SINGLE_PROCESS,
    sync_batch_norm: bool = True,
) -> None:
    """Train on `training` and validate on `validation` after each epoch.

    The folder `run` receives `best.pt` and `last.pt` (checkpoints), `history.jsonl` (one record per epoch) and
    `config.json`. `resume` continues from its `last.pt`, if there is one. `jobs` threads decode images; `cache` is that
    of open_image_caches; `made_by` (command, versions, ...) is stored.

    Callbacks: `on_failure` receives each image that cannot be decoded, once, and the reason; `on_truncated`, if given,
    each truncated image, which is refused otherwise; `on_resume` the number of images trained on before; `on_step` the
    number of images of each step; `on_epoch` the record of each epoch. When `should_stop` returns True, the step is
    completed, `last.pt` written and TrainingInterrupted raised. If that takes too long and there is only one process,
    another thread may call the function that `on_start` receives: it writes `last.pt` as after the last complete step,
    and no further step is completed.

    The processes of `group` share each batch and hold the same network; the first one writes. With `sync_batch_norm`,
    and on GPUs, they learn what one process learns, except for dropout.

    Raises DivergedError if the loss is not finite (the last checkpoints stay), CheckpointError if a run with other
    settings is resumed, ValueError if the recipe does not suit the number of processes or lacks a teacher.
    """
    process = group.process
    minimum = 2 * process.world
    if recipe.batch < minimum:
        raise ValueError(f"batch is {recipe.batch}; for two images per process it must be at least {minimum}")
    if recipe.distillation and training.teacher_scores is None and not recipe.averaging:
        raise ValueError("distillation needs a teacher: scores of other networks, or the moving average (averaging)")

    settings = collect_settings(recipe, attributes, seed, training)
    metadata = {"settings": settings, "made_by": made_by or {}}
    last, best = run / "last.pt", run / "best.pt"
    resume_from = last if resume and last.exists() else None
    learner = Learner(recipe, attributes, device, seed, group, sync_batch_norm, metadata, resume_from)
    progress = learner.progress
    if resume_from is None and process.is_first:
        files.make_folder(run)
        config = json.dumps(settings | {"made_by": made_by}, indent=1)
        files.write_atomically(run / "config.json", config.encode() + b"\n")
    if recipe.epochs == 0:
        learner.save(last)
        no_images = np.zeros((0, len(attributes)))
        learner.save_best(best, labels=no_images, scores=no_images)
    on_resume(progress.epoch * len(training) + progress.images)

    def save_and_stop() -> None:
        learner.save_and_stop(last)

    on_start(save_and_stop)

    report_once = functools.cache(on_failure)
    image_size: tuple[int, int] | None = None
    caches: list[CachedImages] = []  # of training and validation images
    while progress.epoch < recipe.epochs:
        if image_size != recipe.image_size_at(progress.epoch):
            image_size = recipe.image_size_at(progress.epoch)
            caches.clear()  # first, because memory may not hold both sizes
            caches += open_image_caches(
                [training.paths, validation.paths],
                image_size,
                jobs=jobs,
                on_failure=report_once,
                on_truncated=on_truncated,
                cache=cache,
                processes=process.local_world,
            )
            learner.set_image_size(image_size)

        for images in learner.train_epoch(training, caches[0]):
            on_step(images)
            if group.any(should_stop()):
                learner.sum_over_processes()
                save_and_stop()
                raise TrainingInterrupted

        with learner.precise_batch_norm(training, caches[0]):
            try:
                labels, scores = learner.predict(validation, caches[1], should_stop)  # both (n, attributes)
            except TrainingInterrupted:
                save_and_stop()
                raise
            # Otherwise a checkpoint could say that the epoch is complete before its files are.
            with learner.lock:
                record, is_best = learner.finish_epoch(labels, scores)
                if is_best:
                    learner.save_best(best, labels, scores)
                if process.is_first:
                    lines = b"".join(json.dumps(row).encode() + b"\n" for row in progress.history)
                    files.write_atomically(run / "history.jsonl", lines)
                learner.save(last)
        on_epoch(record)
