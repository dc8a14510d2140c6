"""A network in training: it trains and validates epochs, and saves and resumes checkpoints.

All random numbers of a step (order, augmentation, mixup, dropout) depend on (seed, epoch, step) only. A checkpoint
therefore needs no generator states: a resumed run gives the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
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
from facetools.network.backbones import build_backbone
from facetools.network.calibration import fit_calibration
from facetools.network.cuda import use_cuda_graphs
from facetools.network.inference import predict_probabilities, upload_as_float
from facetools.network.model import AttributeNet, load_checkpoint, save_checkpoint
from facetools.runtime.processes import ProcessGroup
from facetools.runtime.threads import prefetch
from facetools.training.averaging import recompute_batch_statistics
from facetools.training.batches import epoch_batches, prepare_inputs, share_of_batch, step_seed
from facetools.training.examples import Examples
from facetools.training.losses import LOSSES
from facetools.training.optimizers import learning_rate_factor
from facetools.training.progress import LossSum, TrainingProgress
from facetools.training.recipes import Recipe
from facetools.training.settings import check_settings, explain_mismatches
from facetools.training.step import TrainingStep
from facetools.training.validation import predict_examples, validation_metrics

#: Batches from which the batch norm statistics of the moving average are recomputed.
STATISTICS_BATCHES = 20


class Learner:
    """A network in training, with its optimizer, its moving average and its `progress`.

    The processes of `group` share each batch and hold the same network. `sync_batch_norm` makes batch norm use the
    statistics of the whole batch, on GPUs. `metadata` is saved in checkpoints; its `settings` have to equal those of
    the checkpoint `resume_from`, which is continued (CheckpointError if they differ).

    `lock` is held while the state changes from that after one step to that after the next. Who holds it, in any thread,
    can `save`.
    """

    def __init__(
        self,
        recipe: Recipe,
        attributes: tuple[str, ...],
        device: torch.device,
        seed: int,
        group: ProcessGroup,
        sync_batch_norm: bool,
        metadata: dict[str, Any],
        resume_from: Path | None,
    ) -> None:
        self._recipe, self._device, self._seed, self._group, self._metadata = recipe, device, seed, group, metadata
        self.lock = threading.Lock()
        #: What to save for buffers of the model and of the average, by name, while they hold something else.
        self._saved_buffers: dict[str, Tensor] = {}
        self._saved_average_buffers: dict[str, Tensor] = {}
        torch.manual_seed(seed)  # for the initial weights
        checkpoint: dict[str, Any] = {}
        if resume_from is None:
            self._model = _build_model(recipe, attributes)
            self.progress = TrainingProgress()
        else:
            self._model, checkpoint = load_checkpoint(resume_from)
            with explain_mismatches(resume_from, checkpoint):
                check_settings(resume_from, saved=checkpoint["settings"], current=metadata["settings"])
                self.progress = TrainingProgress(**checkpoint["progress"])
            if not group.process.is_first:  # the saved sums are those of all processes
                self.progress.loss_sum, self.progress.images = 0.0, 0
        # nn.SyncBatchNorm needs GPUs. On CPUs each process normalizes its own part of a batch.
        self._sync_batch_norm = group.process.world > 1 and sync_batch_norm and device.type == "cuda"
        if self._sync_batch_norm:
            self._model = cast(AttributeNet, nn.SyncBatchNorm.convert_sync_batchnorm(self._model))
        self._model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._step = TrainingStep(self._model, recipe, device, self.lock)
        if resume_from is not None:
            with explain_mismatches(resume_from, checkpoint):
                self._step.load_state_dict(checkpoint)
        self._eval_model, self._average = self._step.eval_model, self._step.average
        self._predict = use_cuda_graphs(
            partial(predict_probabilities, self._eval_model, bfloat16=self._step.bfloat16), device
        )
        self._losses = LossSum(device)
        self._images_per_second = 0.0

    def set_image_size(self, size: tuple[int, int]) -> None:
        """Continue with images of `size` (height, width). If the size changes with the current epoch, the moving
        average starts again, and the best validation accuracy so far, that of smaller images, no longer counts."""
        for model in {self._model, self._eval_model}:
            model.config = replace(model.config, image_size=size)
        previous_size = self._recipe.image_size_at(max(0, self.progress.epoch - 1))
        if self.progress.step == 0 and previous_size != size:
            self.progress.best = -math.inf
            if self._average is not None:
                self._average.n_averaged.zero_()

    def train_epoch(self, examples: Examples, images: CachedImages) -> Iterator[int]:
        """Take the remaining steps of the current epoch. Yields the number of images after each step.

        Raises DivergedError if the loss is not finite, ValueError if no image of the epoch can be decoded.
        """
        recipe, progress, process = self._recipe, self.progress, self._group.process
        started, images_before = time.perf_counter(), progress.images
        is_frozen = progress.epoch < recipe.freeze_epochs
        self._model.train()
        self._model.backbone.requires_grad_(not is_frozen).train(not is_frozen)
        network: Module = self._model
        if process.world > 1:  # average the gradients over the processes
            network = DistributedDataParallel(
                network, device_ids=[self._device] if self._device.type == "cuda" else None
            )

        plan = epoch_batches(len(examples), recipe.batch, self._seed, progress.epoch)  # rows of each step, int (batch,)
        remaining = plan[progress.step :]
        # local_rows, int (n,), and pixels, uint8 (n, height, width, 3), are the part of this process.
        for rows, (local_rows, pixels) in zip(remaining, self._load_local(remaining, images), strict=True):
            step = progress.epoch * len(plan) + progress.step
            done = step / (len(plan) * recipe.epochs)  # share of all steps, 0 to 1
            factor = learning_rate_factor(recipe.schedule, done, recipe.final_rate)
            learning_rate = recipe.peak_learning_rate * factor
            # Without other teachers the moving average teaches, from half of the steps on.
            average_teaches = examples.teacher_scores is None
            teacher_weight = max(0.0, recipe.distillation * (2 * done - 1)) if average_teaches else 0.0

            count = int(self._group.sum_all(len(local_rows)))  # images of this step in all processes
            if count > 1:  # batch norm needs two
                torch.manual_seed(step_seed(self._seed, progress.epoch, progress.step) + process.rank)  # for dropout
                rng = np.random.default_rng([self._seed, 1, step])  # for augmentation and mixup
                positions = np.flatnonzero(np.isin(rows, local_rows))  # (n,)
                targets = examples.targets(local_rows, recipe.distillation)  # (n, attributes)
                # Tensors on the device: float (n, 3, height, width) and (n, attributes).
                inputs, labels = prepare_inputs(pixels, targets, positions, len(rows), recipe, self._device, rng)
                # The mean over processes of scale * loss is the mean loss over the images of all processes.
                scale = len(local_rows) * process.world / count
                if self._device.type == "cpu":  # the forward pass changes them long before the weights change
                    self._saved_buffers = _copy_buffers(self._model)
                with self._step.run(network, inputs, labels, learning_rate, teacher_weight, scale) as loss:
                    self._saved_buffers = {}
                    progress.loss_sum += self._losses.add(loss * len(local_rows), step)
                    progress.images += len(local_rows)
                    progress.step += 1
            else:
                progress.step += 1
            yield len(rows)

        seconds = time.perf_counter() - started
        self.sum_over_processes()
        if not progress.images:
            raise ValueError("none of the images to train on could be read")
        self._images_per_second = round((progress.images - images_before) / seconds, 1)

    def _load_local(self, plan: list[np.ndarray], images: CachedImages) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each batch of rows, this process's rows that can be decoded, int (n,), and their pixels, uint8 (n, height,
        width, 3)."""
        process = self._group.process
        for rows, pixels in prefetch(images.load_batch(batch[share_of_batch(len(batch), process)]) for batch in plan):
            # One image alone has no variance, by which batch norm could normalize it.
            yield (rows, pixels) if self._sync_batch_norm or len(rows) > 1 else (rows[:0], pixels[:0])

    def sum_over_processes(self) -> None:
        """Add up the losses and the numbers of images of all processes. Required before `save`."""
        self.progress.loss_sum = self._group.sum_all(self.progress.loss_sum + self._losses.flush())
        self.progress.images = int(self._group.sum_all(self.progress.images))

    @contextmanager
    def precise_batch_norm(self, examples: Examples, images: CachedImages) -> Iterator[None]:
        """Within the block, the moving average normalizes by statistics of its own on training images without
        augmentation. Those that it tracks are averages of the statistics of other weights on augmented images."""
        if self._average is None or self.progress.epoch < self._recipe.freeze_epochs:
            yield
            return
        tracked = self._saved_average_buffers = _copy_buffers(self._eval_model)
        try:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._step.bfloat16):
                recompute_batch_statistics(self._eval_model, self._unaugmented_batches(examples, images))
            yield
        finally:
            for name, buffer in self._eval_model.named_buffers():
                buffer.copy_(tracked[name])
            self._saved_average_buffers = {}

    def _unaugmented_batches(self, examples: Examples, images: CachedImages) -> Iterator[Tensor]:
        """This process's part of the first batches of the epoch, float (n, 3, height, width)."""
        plan = epoch_batches(len(examples), self._recipe.batch, self._seed, self.progress.epoch)[:STATISTICS_BATCHES]
        for rows, pixels in self._load_local(plan, images):
            # Synchronized batch norm waits for all processes, so one without images has to take part.
            count = self._group.sum_all(len(rows)) if self._sync_batch_norm else len(rows)
            if count > 1:
                yield upload_as_float(pixels, self._device)

    def predict(
        self, examples: Examples, images: CachedImages, should_stop: Callable[[], bool]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels, uint8 (n, attributes), and scores, float32 (n, attributes), of the `examples` that can be decoded.

        Raises TrainingInterrupted in all processes if `should_stop` returns True in one of them.
        """
        self._group.broadcast(self._eval_model.buffers())  # each process may have batch norm statistics of its own
        self._eval_model.eval()

        def predict(pixels: Tensor) -> Tensor:
            # While a CUDA graph is captured, no other thread may copy from the GPU.
            with self.lock if self._device.type == "cuda" else nullcontext():
                return self._predict(pixels)

        return predict_examples(predict, examples, images, self._recipe.batch, self._device, self._group, should_stop)

    def finish_epoch(self, labels: np.ndarray, scores: np.ndarray) -> tuple[dict[str, Any], bool]:
        """Complete the epoch with the validation results of `predict`. Returns the record of the epoch, and whether its
        accuracy is the best so far at this image size."""
        progress = self.progress
        record = {
            "epoch": progress.epoch + 1,
            "loss": progress.loss_sum / progress.images,
            "learning_rate": self._step.learning_rate,
            **validation_metrics(labels, scores, LOSSES[self._recipe.loss]),
            "images_per_second": self._images_per_second,
        }
        progress.history.append(record)
        progress.epoch, progress.step, progress.loss_sum, progress.images = progress.epoch + 1, 0, 0.0, 0
        accuracy = record.get("valid_accuracy", math.inf)  # without validation images the last epoch is the best
        is_best = accuracy >= progress.best
        progress.best = max(accuracy, progress.best)
        return record, is_best

    def save(self, path: Path) -> None:
        """Write a checkpoint from which training can resume. Only the first process writes."""
        if self._group.process.is_first:
            state = self._step.state_dict()
            if self._saved_average_buffers:
                saved = {f"module.{name}": value for name, value in self._saved_average_buffers.items()}
                state["average"] |= {name: value for name, value in saved.items() if name in state["average"]}
            progress = vars(self.progress)
            save_checkpoint(
                path, self._model, buffers=self._saved_buffers, **self._metadata, progress=progress, **state
            )

    def save_and_stop(self, path: Path) -> None:
        """Write a checkpoint of the state after the last complete step. No step is completed afterwards.

        Another thread than that of the training may call this at any time.
        """
        self.lock.acquire()  # and never released
        self.save(path)

    def save_best(self, path: Path, labels: np.ndarray, scores: np.ndarray) -> None:
        """Write a checkpoint of the validated network, with the best thresholds and the calibration for the
        validation `labels` and `scores`. Only the first process writes."""
        if self._group.process.is_first:
            chosen = {
                criterion: thresholds.choose_thresholds(labels, scores, criterion).tolist()
                for criterion in thresholds.THRESHOLD_CRITERIA
            }
            entries = {"thresholds": chosen, "calibration": fit_calibration(labels, scores).to_entry()}
            metadata = self._metadata | {"progress": vars(self.progress)} | entries
            save_checkpoint(path, self._eval_model, **metadata)


def _copy_buffers(model: Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def _build_model(recipe: Recipe, attributes: tuple[str, ...]) -> AttributeNet:
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
