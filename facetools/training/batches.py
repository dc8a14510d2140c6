"""Inputs of a training step: the order of the images, the part of each process, seeds, augmentation and mixup."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from facetools.images import transforms
from facetools.images.augmentation import NO_AUGMENTATION
from facetools.network.cuda import upload
from facetools.network.inference import upload_images
from facetools.runtime.processes import ProcessInfo
from facetools.training import augmentation
from facetools.training.recipes import Recipe


def epoch_batches(examples: int, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The rows of each step of an epoch, int (batch,), in a random order that depends on (seed, epoch) only. The last
    step may be smaller."""
    order = np.random.default_rng([seed, 0, epoch]).permutation(examples)
    return [order[start : start + batch] for start in range(0, examples, batch)]


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of dropout in a step of an epoch."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0])


def share_of_batch(count: int, process: ProcessInfo) -> slice:
    """The part of a batch of `count` images that `process` computes. It holds whole pairs, which mixup blends."""
    pairs = (count + 1) // 2
    start, stop = (2 * (pairs * rank // process.world) for rank in (process.rank, process.rank + 1))
    return slice(start, min(stop, count))


def prepare_inputs(
    images: np.ndarray,
    targets: np.ndarray,
    positions: np.ndarray,
    batch: int,
    recipe: Recipe,
    device: torch.device,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Upload, augment and blend the n images of a step that this process computes.

    `images` uint8 (n, height, width, 3) and `targets` float32 (n, attributes) are at the ascending `positions`, int
    (n,), of a batch of size `batch`. Returns pixels, float32 (n, 3, height, width), 0 to 255, and targets, float32
    (n, attributes), on `device`. Random numbers are drawn for the whole batch, so that they do not depend on which
    process computes which part.
    """
    pixels = upload_images(images, device)
    labels = upload(targets, device)
    if not len(positions):
        return pixels.to(torch.float32), labels
    if recipe.augmentation != NO_AUGMENTATION:
        parameters = transforms.sample_transforms(batch, recipe.augmentation, rng).take(positions)
        matrices = transforms.affine_matrices(parameters, *pixels.shape[2:])
        pixels = augmentation.recolor_batch(augmentation.warp_batch(pixels, matrices), parameters)
    pixels = pixels.to(torch.float32)
    if recipe.mixup:
        pixels, labels = augmentation.mixup(pixels, labels, positions, recipe.mixup, rng)
    return pixels, labels
