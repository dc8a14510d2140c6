"""Validation: scores of held-out images, computed by all processes of a job, and their metrics."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from facetools.images.cache import CachedImages
from facetools.network.inference import upload_as_float
from facetools.prediction import metrics
from facetools.runtime.processes import ProcessGroup
from facetools.runtime.threads import prefetch
from facetools.training.examples import Examples
from facetools.training.progress import TrainingInterrupted


def predict_examples(
    predict: Callable[[Tensor], Tensor],
    examples: Examples,
    images: CachedImages,
    batch: int,
    device: torch.device,
    group: ProcessGroup,
    should_stop: Callable[[], bool],
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, uint8 (n, attributes), and scores, float32 (n, attributes), of the `examples` that can be decoded.

    `predict` maps pixels, float (b, 3, height, width), to scores, float (b, attributes), both on `device`. The
    processes of `group` predict every world-th batch each; all of them return all results. Raises TrainingInterrupted
    in all processes if `should_stop` returns True in one of them.
    """
    starts = [number * batch for number in group.share(math.ceil(len(examples) / batch))]
    loading = (images.load_batch(np.arange(start, min(start + batch, len(examples)))) for start in starts)
    local: list[tuple[np.ndarray, np.ndarray]] = []  # of each batch, the rows that could be decoded and their scores
    for rows, pixels in prefetch(loading):
        if should_stop():
            break
        if len(rows):
            local.append((rows, predict(upload_as_float(pixels, device)).cpu().numpy()))
    if group.any(should_stop()):
        raise TrainingInterrupted
    batches = [pair for pairs in group.all_gather(local) for pair in pairs]
    if not batches:
        return examples.labels[:0], np.zeros((0, examples.labels.shape[1]), np.float32)
    batches.sort(key=lambda pair: pair[0][0])
    rows_by_batch, scores_by_batch = zip(*batches, strict=True)
    return examples.labels[np.concatenate(rows_by_batch)], np.concatenate(scores_by_batch)


def validation_metrics(
    labels: np.ndarray, scores: np.ndarray, loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    """The loss of validation images and the means of their metrics over attributes; empty without images.

    `labels` 0/1 and `scores` are both (n, attributes); `loss` is one of LOSSES.
    """
    if not len(labels):
        return {}
    logits = torch.logit(torch.from_numpy(scores).double(), eps=1e-7)
    means = metrics.mean_metrics(labels, scores)
    value = float(loss(logits, torch.from_numpy(labels).double()))
    return {
        # The last digits of torch's logarithms and sums may differ between runs.
        "valid_loss": float(f"{value:.12g}"),
        "valid_accuracy": means["accuracy"],
        "valid_balanced_accuracy": means["balanced_accuracy"],
        "valid_average_precision": means["average_precision"],
    }
