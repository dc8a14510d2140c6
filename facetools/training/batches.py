"""Which images a training step sees: order, share per process, seeds, augmented inputs."""

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
    """The rows of each step of an epoch, in an order that depends on (seed, epoch) alone."""
    order = np.random.default_rng([seed, 0, epoch]).permutation(examples)
    return [order[start : start + batch] for start in range(0, examples, batch)]


def step_seed(seed: int, epoch: int, step: int) -> int:
    """The seed of dropout in a step of an epoch."""
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0])


def share_of_batch(count: int, here: ProcessInfo) -> slice:
    """This process's part of a batch of `count`: a run of whole pairs, which mixup blends."""
    pairs = (count + 1) // 2
    start, stop = (2 * (pairs * rank // here.world) for rank in (here.rank, here.rank + 1))
    return slice(start, min(stop, count))


def prepare_inputs(
    images_of_step: np.ndarray,
    targets: np.ndarray,
    places: np.ndarray,
    batch: int,
    recipe: Recipe,
    device: torch.device,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """What the network sees of the images that have `places` in a batch of so many: what is random is drawn for all of
    the batch, so that it does not depend on who computes which part of it."""
    pixels = upload_images(images_of_step, device)
    truth = upload(targets, device)
    if not len(places):  # but other processes have some
        return pixels.to(torch.float32), truth
    if recipe.augmentation != NO_AUGMENTATION:
        draws = transforms.draw_transforms(batch, recipe.augmentation, rng).take(places)
        pixels = augmentation.recolor_batch(
            augmentation.warp_batch(pixels, transforms.affine_matrices(draws, *pixels.shape[2:])), draws
        )
    pixels = pixels.to(torch.float32)
    if recipe.mixup:
        pixels, truth = augmentation.mixup(pixels, truth, places, recipe.mixup, rng)
    return pixels, truth
