"""A network that learns: its epochs, what it is worth in validation, its checkpoints.

Every random number of a step (order, augmentation, dropout) comes from (seed, epoch, step) alone, so a checkpoint needs
no generator state: to continue is to take the network and the optimizer and go on counting.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from facetools.images.cache import CachedImages
from facetools.network import thresholds
from facetools.network.architecture import ModelConfig
from facetools.network.checkpoint import CheckpointError
from facetools.network.cuda import graphed
from facetools.network.inference import predict_probabilities, upload_as_float
from facetools.network.model import AttributeNet, build_backbone, load_checkpoint, save_checkpoint
from facetools.prediction import metrics
from facetools.runtime.processes import ProcessGroup, ProcessInfo
from facetools.runtime.threads import prefetch
from facetools.training import averaging, optimizers
from facetools.training.batches import epoch_batches, prepare_inputs, share_of_batch, step_seed
from facetools.training.examples import Examples
from facetools.training.losses import LOSSES
from facetools.training.recipes import Recipe
from facetools.training.step import TrainingStep

#: Batches of which an average takes its statistics.
STATISTICS_BATCHES = 20


class DivergedError(ArithmeticError):
    """The loss is no longer a number."""


@dataclass
class TrainingProgress:
    """How far a run has come: `epoch` complete epochs and `step` steps of the next, whose losses add up to `loss_sum`
    over `images`; `history` a record an epoch, `best` the best validation accuracy so far."""

    epoch: int
    step: int
    loss_sum: float
    images: int
    best: float
    history: list[dict[str, Any]]


class Learner:
    """A network in training, with its optimizer and its average, and how far it has come."""

    def __init__(
        self,
        recipe: Recipe,
        attributes: tuple[str, ...],
        device: torch.device,
        seed: int,
        group: ProcessGroup,
        sync: bool,
        about: dict[str, Any],
        resumed: Path | None,
    ) -> None:
        self._recipe, self._device, self._seed, self._group, self._about = recipe, device, seed, group, about
        torch.manual_seed(seed)
        checkpoint: dict[str, Any] = {}
        if resumed is not None:
            self._model, checkpoint = load_checkpoint(resumed)
            _check_settings(resumed, checkpoint["settings"], about["settings"])
            self.progress = TrainingProgress(**checkpoint["progress"])
            if not group.process.is_first:  # whose sums are those of all
                self.progress.loss_sum, self.progress.images = 0.0, 0
        else:
            self._model = _build_network(recipe, attributes)
            self.progress = TrainingProgress(0, 0, 0.0, 0, -math.inf, [])
        # nn.SyncBatchNorm needs GPUs; on CPUs each process normalises its own part of a batch, as DDP always does.
        self._together = group.process.world > 1 and sync and device.type == "cuda"
        if self._together:
            self._model = cast(AttributeNet, nn.SyncBatchNorm.convert_sync_batchnorm(self._model))
        self._model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._step = TrainingStep(self._model, recipe, device)
        if checkpoint:
            self._step.restore(checkpoint)
        self._judged, self._average = self._step.judged, self._step.average
        self._scores = graphed(partial(predict_probabilities, self._judged, bfloat16=self._step.bfloat16), device)
        self._losses = _Losses(device)
        self._started, self._seen_before = time.perf_counter(), 0

    def grow(self, size: tuple[int, int]) -> None:
        """From now on the network is that of images of `size`; what it was for smaller ones, and what they gave in
        validation, does not count."""
        for model in {self._model, self._judged}:
            model.config = replace(model.config, image_size=size)
        before = self._recipe.size_at(max(0, self.progress.epoch - 1))
        if self.progress.step == 0 and before != size:
            self.progress.best = -math.inf
            if self._average is not None:
                self._average.n_averaged.zero_()

    def steps(self, examples: Examples, pixels_of: CachedImages) -> Iterator[int]:
        """Learns what is left of the epoch; gives the number of images after each step."""
        recipe, progress = self._recipe, self.progress
        self._started, self._seen_before = time.perf_counter(), progress.images
        frozen = progress.epoch < recipe.freeze_epochs
        self._model.train()
        self._model.backbone.requires_grad_(not frozen).train(not frozen)
        network = _parallel(self._model, self._group.process, self._device)
        plan = epoch_batches(len(examples), recipe.batch, self._seed, progress.epoch)
        steps, rest = len(plan), plan[progress.step :]
        for rows, (kept, images_of_step) in zip(rest, self._own(rest, pixels_of), strict=True):
            step = progress.epoch * steps + progress.step
            done = step / (steps * recipe.epochs)
            rate = recipe.rate * optimizers.learning_rate_factor(recipe.schedule, done, recipe.final_rate)
            of_all = int(self._group.sum_all(len(kept)))
            if of_all > 1:
                targets = examples.targets(kept, recipe.distillation)
                own_part = 0.0 if examples.taught is not None else max(0.0, recipe.distillation * (2 * done - 1))
                self._learn(network, rows, kept, images_of_step, targets, of_all, step, rate, own_part)
            progress.step += 1
            yield len(rows)
        self._seconds = time.perf_counter() - self._started
        self.gather()
        if not progress.images:
            raise ValueError("none of the images to train on could be read")

    def _own(self, plan: list[np.ndarray], pixels_of: CachedImages) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each batch, the rows that are this process's and could be decoded, and their images."""
        for kept, pixels in prefetch(
            pixels_of.batch(rows[share_of_batch(len(rows), self._group.process)]) for rows in plan
        ):
            # There is no variance of one image, by which it could be normalised alone.
            yield (kept, pixels) if self._together or len(kept) > 1 else (kept[:0], pixels[:0])

    def _learn(
        self,
        network: Module,
        rows: np.ndarray,
        kept: np.ndarray,
        images: np.ndarray,
        targets: np.ndarray,
        of_all: int,
        step: int,
        rate: float,
        own_part: float,
    ) -> None:
        """One step on the `images` and `targets` of those of the `rows` of a batch that are this process's and could be
        decoded, the `kept`, of `of_all` in all processes; the scores of the average are `own_part` of the truth."""
        progress, here = self.progress, self._group.process
        torch.manual_seed(step_seed(self._seed, progress.epoch, progress.step) + here.rank)
        rng = np.random.default_rng([self._seed, 1, step])
        places = np.flatnonzero(np.isin(rows, kept))
        pixels, truth = prepare_inputs(images, targets, places, len(rows), self._recipe, self._device, rng)
        # Gradients are averaged over processes, each of which has its part of the mean over what all have.
        part_of_mean = len(kept) * here.world / of_all
        loss = self._step.take(network, pixels, truth, rate, own_part, part_of_mean)
        progress.loss_sum += self._losses.add(loss * len(kept), step)
        progress.images += len(kept)

    def gather(self) -> None:
        """Adds up the losses of all processes."""
        self.progress.loss_sum = self._group.sum_all(self.progress.loss_sum + self._losses.flush())
        self.progress.images = int(self._group.sum_all(self.progress.images))

    @contextmanager
    def settled(self, examples: Examples, pixels_of: CachedImages) -> Iterator[None]:
        """Meanwhile the average normalises by its own statistics on some of the `examples` as they are: what it has in
        training are averages of another network's, on augmented images."""
        if self._average is None or self.progress.epoch < self._recipe.freeze_epochs:
            yield
            return
        before = [buffer.clone() for buffer in self._judged.buffers()]
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._step.bfloat16):
            averaging.recompute_batch_statistics(self._judged, self._as_they_are(examples, pixels_of))
        yield
        for buffer, value in zip(self._judged.buffers(), before, strict=True):
            buffer.copy_(value)

    def _as_they_are(self, examples: Examples, pixels_of: CachedImages) -> Iterator[Tensor]:
        """This process's part of the first batches of the epoch, not augmented."""
        plan = epoch_batches(len(examples), self._recipe.batch, self._seed, self.progress.epoch)[:STATISTICS_BATCHES]
        for kept, images in self._own(plan, pixels_of):
            # Statistics that are taken together wait for a process that has none of the images, too.
            if (self._group.sum_all(len(kept)) if self._together else len(kept)) > 1:
                yield upload_as_float(images, self._device)

    def predicted(self, examples: Examples, pixels_of: CachedImages) -> tuple[np.ndarray, np.ndarray]:
        """The labels and the scores, both (n, a), of those of `examples` that can be decoded, in every process."""
        self._group.broadcast(self._judged.buffers())  # of which each may have its own
        self._judged.eval()
        batch = self._recipe.batch
        kept: list[np.ndarray] = []
        found: list[np.ndarray] = []
        starts = [number * batch for number in self._group.share(math.ceil(len(examples) / batch))]
        for rows, pixels in prefetch(pixels_of.batch(np.arange(s, min(s + batch, len(examples)))) for s in starts):
            if len(rows):
                kept.append(rows)
                found.append(self._scores(upload_as_float(pixels, self._device)).cpu().numpy())
        parts = [batch for part in self._group.all_gather(list(zip(kept, found, strict=True))) for batch in part]
        if not parts:
            return examples.labels[:0], np.zeros((0, examples.labels.shape[1]), np.float32)
        parts.sort(key=lambda part: part[0][0])
        all_kept, all_found = zip(*parts, strict=True)
        return examples.labels[np.concatenate(all_kept)], np.concatenate(all_found)

    def finish_epoch(self, truth: np.ndarray, predicted: np.ndarray) -> tuple[dict[str, Any], bool]:
        """The record of the epoch, and whether it is the best so far of its image size."""
        progress = self.progress
        record = {
            "epoch": progress.epoch + 1,
            "loss": progress.loss_sum / progress.images,
            "learning_rate": self._step.rate,
            **_validation_measures(truth, predicted, LOSSES[self._recipe.loss]),
            "images_per_second": round((progress.images - self._seen_before) / self._seconds, 1),
        }
        progress.history.append(record)
        progress.epoch, progress.step, progress.loss_sum, progress.images = progress.epoch + 1, 0, 0.0, 0
        accuracy = record.get("valid_accuracy", math.inf)
        is_best, progress.best = accuracy >= progress.best, max(accuracy, progress.best)
        return record, is_best

    def save(self, path: Path) -> None:
        """Writes all that it takes to continue."""
        if self._group.process.is_first:
            save_checkpoint(path, self._model, **self._about, progress=self.progress.__dict__, **self._step.state())

    def save_best(self, path: Path, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Writes the network that was validated, with the thresholds that are best for what it gave."""
        if self._group.process.is_first:
            chosen = {
                aim: thresholds.choose_thresholds(truth, predicted, aim).tolist()
                for aim in thresholds.THRESHOLD_CRITERIA
            }
            save_checkpoint(path, self._judged, **self._about, progress=self.progress.__dict__, thresholds=chosen)


def _build_network(recipe: Recipe, attributes: tuple[str, ...]) -> AttributeNet:
    config = ModelConfig(
        attributes,
        recipe.backbone,
        recipe.head,
        recipe.dropout,
        recipe.image_size,
        recipe.stride,
        recipe.flip_average,
    )
    return AttributeNet(config, build_backbone(recipe.backbone, recipe.weights))


def _check_settings(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    # A setting that came after the run had its default in it.
    flat_before, flat_now = (
        {"taught": False} | _flatten_settings(Recipe().to_dict()) | _flatten_settings(before),
        _flatten_settings(now),
    )
    for name in flat_now:
        if flat_before.get(name) != flat_now[name]:
            raise CheckpointError(
                f"{path} was made with {name} {flat_before.get(name)}, not {flat_now[name]}; "
                f"continue with the same settings, or train into another folder"
            )


def _flatten_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """All settings side by side, those of the recipe and of its augmentation too."""
    inner = [_flatten_settings(value) for value in settings.values() if isinstance(value, dict)]
    return {name: value for part in (settings, *inner) for name, value in part.items() if not isinstance(value, dict)}


def _parallel(model: AttributeNet, here: ProcessInfo, device: torch.device) -> Module:
    """`model`, or what also averages its gradients over the processes."""
    if here.world == 1:
        return model
    return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)


def _validation_measures(
    labels: np.ndarray, predicted: np.ndarray, loss_of: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    """The loss and the means of the measures of validation faces; nothing where there are none."""
    if not len(labels):
        return {}
    logits = torch.logit(torch.from_numpy(predicted).double(), eps=1e-7)
    mean = metrics.mean_metrics(labels, predicted)
    return {
        "valid_loss": float(loss_of(logits, torch.from_numpy(labels).double())),
        "valid_accuracy": mean["accuracy"],
        "valid_balanced_accuracy": mean["balanced_accuracy"],
        "valid_average_precision": mean["average_precision"],
    }


class _Losses:
    """Sums losses, and looks at them only now and then on a GPU, which a look at every step would hold up."""

    def __init__(self, device: torch.device) -> None:
        self._every = 1 if device.type == "cpu" else 32
        self._kept: list[Tensor] = []
        self._first = 0

    def add(self, loss: Tensor, step: int) -> float:
        if not self._kept:
            self._first = step
        self._kept.append(loss)
        return self.flush() if len(self._kept) >= self._every else 0.0

    def flush(self) -> float:
        """The sum of the losses since the last look; a DivergedError names the step at which one is no number."""
        if not self._kept:
            return 0.0
        values = torch.stack(self._kept).double().tolist()
        self._kept.clear()
        for offset, value in enumerate(values):
            if not math.isfinite(value):
                raise DivergedError(
                    f"the loss at step {self._first + offset + 1} is {value}; try a lower --learning-rate or --amp off"
                )
        return math.fsum(values)
