"""Crop faces as CelebA does.

CelebA's images are 178 x 218 pixels. A similarity transform (rotation, uniform scale, shift) maps three points of the
photo, both eyes and the midpoint of the mouth corners, to TEMPLATE with the least squared error. Source:
align_face_celeba.m, published with CelebA (Liu, Luo, Wang, Tang 2015).

Coordinates are those of `detection`.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

#: Height and width of CelebA's images.
CROP_SIZE = (218, 178)

#: Where CelebA's images have the left eye, the right eye and the midpoint of the mouth corners.
TEMPLATE = np.array([(70.745, 112.0), (108.237, 112.0), (89.432, 153.514)])


def alignment_points(landmarks: np.ndarray) -> np.ndarray:
    """The eyes and the midpoint of the mouth corners, float (n, 3, 2), of `landmarks`, float (n, 5, 2)."""
    mouth = (landmarks[:, 3] + landmarks[:, 4]) / 2
    return np.stack((landmarks[:, 0], landmarks[:, 1], mouth), axis=1)


def fit_transforms(points: np.ndarray) -> np.ndarray:
    """The similarity transforms, float (n, 2, 3), that map `points`, float (n, 3, 2), closest to TEMPLATE.

    With points as complex numbers p and the template as q, both without their means, the transform multiplies by
    sum(conj(p) q) / sum(|p|^2). Points that coincide give an infinite or undefined transform.
    """
    centers = points.mean(axis=1)
    source = (points - centers[:, None]) @ [1, 1j]
    target = (TEMPLATE - TEMPLATE.mean(axis=0)) @ [1, 1j]
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = (source.conj() @ target) / (np.abs(source) ** 2).sum(axis=1)
    rotations = np.stack((factors.real, -factors.imag, factors.imag, factors.real), axis=1).reshape(-1, 2, 2)
    shifts = TEMPLATE.mean(axis=0) - np.einsum("nij,nj->ni", rotations, centers)
    return np.concatenate((rotations, shifts[:, :, None]), axis=2)


def invert_transforms(transforms: np.ndarray) -> np.ndarray:
    """The inverse of each transform, float (n, 2, 3)."""
    inverses = np.linalg.inv(transforms[:, :, :2])
    return np.concatenate((inverses, -inverses @ transforms[:, :, 2:]), axis=2)


def apply_transforms(transforms: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`points`, float (n, m, 2), mapped by `transforms`, float (n, 2, 3)."""
    return points @ transforms[:, :, :2].swapaxes(1, 2) + transforms[:, None, :, 2]


def crop_face(photo: np.ndarray, transform: np.ndarray, size: tuple[int, int] = CROP_SIZE) -> np.ndarray:
    """Crop one face, uint8 (*size, 3), from `photo`, uint8 (height, width, 3).

    `transform`, float (2, 3), maps the photo to the crop. Bicubic.
    """
    return warp_region(photo, transform, size, Image.Resampling.BICUBIC)


def warp_region(
    photo: np.ndarray, transform: np.ndarray, size: tuple[int, int], resampling: Image.Resampling
) -> np.ndarray:
    """The part of `photo`, uint8 (height, width, 3), that `transform`, float (2, 3), maps to an image of `size`.

    Antialiased where the photo is reduced. Positions outside the photo take the value of the nearest pixel.
    """
    height, width = size
    (inverse,) = invert_transforms(transform[None])
    (corners,) = apply_transforms(inverse[None], np.array([[(0, 0), (width, 0), (width, height), (0, height)]], float))
    reduction = max(1.0, math.sqrt(abs(np.linalg.det(inverse[:, :2]))))
    margin = math.ceil(3 * reduction)  # what the filter sees beyond the corners
    left, top = (int(value) for value in np.floor(corners.min(axis=0)) - margin)
    columns, rows = (
        math.ceil((end - start) / reduction)
        for end, start in zip(corners.max(axis=0) + margin, (left, top), strict=True)
    )
    region = _extract_region(photo, left, top, math.ceil(columns * reduction), math.ceil(rows * reduction))
    if reduction > 1:
        box = (0, 0, columns * reduction, rows * reduction)
        region = region.resize((columns, rows), resampling, box=box, reducing_gap=3.0)
    matrix, offset = inverse[:, :2] / reduction, (inverse[:, 2] - (left, top)) / reduction
    coefficients = (*matrix[0], offset[0], *matrix[1], offset[1])
    return np.asarray(region.transform((width, height), Image.Transform.AFFINE, coefficients, resampling))


def _extract_region(photo: np.ndarray, left: int, top: int, columns: int, rows: int) -> Image.Image:
    """The region of `photo` at (left, top). Its part outside the photo repeats the nearest pixels."""
    height, width = photo.shape[:2]
    x, y = (
        np.arange(start, start + count).clip(0, limit - 1)
        for start, count, limit in ((left, columns, width), (top, rows, height))
    )
    if x[0] + columns - 1 == x[-1] and y[0] + rows - 1 == y[-1]:
        return Image.fromarray(photo[y[0] : y[-1] + 1, x[0] : x[-1] + 1])
    return Image.fromarray(photo[y[:, None], x])
