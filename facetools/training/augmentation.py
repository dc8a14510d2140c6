"""Augmentation of training batches in torch: affine warps, colours and mixup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
from facetools.images.transforms import LUMA, Draws, color_factors


def warp_batch(images: Tensor, warps: np.ndarray) -> Tensor:
    """`images` uint8 or float (n, channels, height, width) seen through `warps` (n, 3, 3) of `matrices`, bilinear, as
    float32 on the same device and in the same memory format; places beyond the border show the nearest pixel."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    from facetools.network.cuda import upload

    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    images = images.to(torch.float32)
    height, width = images.shape[-2:]
    # From grid_sample's (x, y), -1 to 1 between the outer edges of the pixels, to (row, column) and back.
    to_pixels = np.array([[0, height / 2, (height - 1) / 2], [width / 2, 0, (width - 1) / 2], [0, 0, 1]])
    theta = (np.linalg.inv(to_pixels) @ warps @ to_pixels)[:, :2].astype(np.float32)
    grid = affine_grid(upload(theta, images.device), list(images.shape), align_corners=False)
    warped = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last) if channels_last else warped


def recolor_batch(images: Tensor, draws: Draws) -> Tensor:
    """`images` float (n, 3, height, width), 0 to 255, in the colours of `draws` (see color_factors), clipped."""
    from facetools.network.cuda import upload

    factors = color_factors(draws)
    if factors is None:
        return images
    image, of_gray, of_mean = upload(factors, images.device).view(3, -1, 1, 1, 1)
    luma = upload(np.array(LUMA, np.float32), images.device).view(1, 3, 1, 1)
    gray = (images * luma).sum(1, keepdim=True)
    return (images * image + gray * of_gray + gray.mean((2, 3), keepdim=True) * of_mean).clamp_(0, 255)


def mixup(
    images: Tensor, labels: Tensor, places: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Each of `images` (n, ...) and its `labels` (n, a), float, blended with its neighbour's by one share of the batch
    from Beta(alpha, alpha): mixup (Zhang et al. 2018); batches are in random order. Neighbours are those at 0 and 1, 2
    and 3, ... of their ascending `places` in the batch, int (n,); one whose neighbour is not there stays as it is."""
    from facetools.network.cuda import upload

    share = float(rng.beta(alpha, alpha))
    found = np.searchsorted(places, places ^ 1).clip(max=len(places) - 1)
    others = np.where(places[found] == places ^ 1, found, np.arange(len(places)))
    neighbours = upload(others, images.device)
    return images.lerp(images[neighbours], share), labels.lerp(labels[neighbours], share)
