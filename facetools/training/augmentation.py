"""Augmentation of training batches with torch: affine warps, colors and mixup."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from facetools.images.transforms import LUMA, TransformParameters, color_factors
from facetools.network.cuda import upload


def warp_batch(images: Tensor, matrices: np.ndarray) -> Tensor:
    """Warp `images`, uint8 or float (n, channels, height, width), by `matrices`, float (n, 3, 3), which map (row,
    column, 1) of the output to the input (see transforms.affine_matrices).

    Interpolation is bilinear. Beyond the border the nearest pixel repeats. Returns float32 of the same shape, device
    and memory format.
    """
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    images = images.to(torch.float32)
    height, width = images.shape[-2:]
    # Maps grid_sample's (x, y), -1 to 1 between the outer edges of the border pixels, to (row, column).
    to_pixels = np.array([[0, height / 2, (height - 1) / 2], [width / 2, 0, (width - 1) / 2], [0, 0, 1]])
    theta = (np.linalg.inv(to_pixels) @ matrices @ to_pixels)[:, :2].astype(np.float32)  # (n, 2, 3)
    grid = affine_grid(upload(theta, images.device), list(images.shape), align_corners=False)  # (n, height, width, 2)
    warped = grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped.contiguous(memory_format=torch.channels_last) if channels_last else warped


def recolor_batch(images: Tensor, parameters: TransformParameters) -> Tensor:
    """Change brightness, contrast and saturation of `images`, float (n, 3, height, width), 0 to 255, and clip them to
    that range."""
    factors = color_factors(parameters)
    if factors is None:
        return images
    of_image, of_gray, of_mean = upload(factors, images.device).view(3, -1, 1, 1, 1)  # each (n, 1, 1, 1)
    luma = upload(np.array(LUMA, np.float32), images.device).view(1, 3, 1, 1)
    gray = (images * luma).sum(1, keepdim=True)  # (n, 1, height, width)
    return (images * of_image + gray * of_gray + gray.mean((2, 3), keepdim=True) * of_mean).clamp_(0, 255)


def mixup(
    images: Tensor, labels: Tensor, positions: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Blend each image and its labels with those of its neighbor (mixup, Zhang et al. 2018).

    `images` float (n, 3, height, width) and `labels` float (n, attributes) are at the ascending `positions`, int (n,),
    of a batch in random order. Positions 0 and 1, 2 and 3, ... are neighbors; an image without its neighbor stays
    unchanged. One blending weight for the whole batch is drawn from Beta(alpha, alpha).
    """
    weight = float(rng.beta(alpha, alpha))
    candidates = np.searchsorted(positions, positions ^ 1).clip(max=len(positions) - 1)
    indices = np.where(positions[candidates] == positions ^ 1, candidates, np.arange(len(positions)))
    neighbors = upload(indices, images.device)
    return images.lerp(images[neighbors], weight), labels.lerp(labels[neighbors], weight)
