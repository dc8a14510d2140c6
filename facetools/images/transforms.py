"""The paper's augmentations, one affine warp an image, composed as Keras' ImageDataGenerator composes it; and colours.

Pure functions of a batch and an explicit generator. Coordinates are (row, column); matrices map a place of the output
to the place of the input it shows: centre offset . rotation . shift . shear . zoom . centre offset back, with the flip
applied to the finished picture. The shear is an angle in degrees (the paper's 0.2 hardly shows), as in Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facetools.images.augmentation import Augmentation

if TYPE_CHECKING:
    pass

#: The shares of red, green and blue in grey (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Draws:
    """Augmentation parameters of n images, float64 (n,): `rotation` and `shear` in degrees, `shift_rows` and
    `shift_columns` as shares of the height and width, `zoom_rows` and `zoom_columns` as factors of the part of the
    input that is shown (under 1 magnifies), `flip` bool (n,), and `brightness`, `contrast` and `saturation` as factors
    (no saturation leaves grey)."""

    rotation: np.ndarray
    shift_rows: np.ndarray
    shift_columns: np.ndarray
    shear: np.ndarray
    zoom_rows: np.ndarray
    zoom_columns: np.ndarray
    flip: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    saturation: np.ndarray

    def take(self, rows: np.ndarray) -> Draws:
        """The parameters of some of the images."""
        return Draws(**{name: values[rows] for name, values in self.__dict__.items()})

    def records(self) -> list[dict[str, float | bool]]:
        """The parameters of each image, by name."""
        columns = {name: values.tolist() for name, values in self.__dict__.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def draw_transforms(count: int, reach: Augmentation, rng: np.random.Generator) -> Draws:
    """Parameters of `count` images, each uniform over its reach, as ImageDataGenerator.get_random_transform, and as
    torchvision's ColorJitter and RandomGrayscale."""

    def uniform(limit: float, centre: float = 0.0) -> np.ndarray:
        return rng.uniform(centre - limit, centre + limit, count)

    return Draws(
        rotation=uniform(reach.rotation),
        shift_rows=uniform(reach.shift),
        shift_columns=uniform(reach.shift),
        shear=uniform(reach.shear),
        zoom_rows=uniform(reach.zoom, 1.0),
        zoom_columns=uniform(reach.zoom, 1.0),
        flip=(rng.random(count) < 0.5) & reach.flip,
        brightness=uniform(reach.brightness, 1.0),
        contrast=uniform(reach.contrast, 1.0),
        saturation=np.where(rng.random(count) < reach.grayscale, 0.0, uniform(reach.saturation, 1.0)),
    )


def affine_matrices(draws: Draws, height: int, width: int) -> np.ndarray:
    """The warps of images of `height` x `width` pixels, float64 (n, 3, 3), from output (row, column, 1) to input.

    Keras: R = [[cos t, -sin t], [sin t, cos t]], S = [[1, -sin s], [0, cos s]], Z = diag(zx, zy), a shift T = (tx, ty),
    centre ((height - 1) / 2, (width - 1) / 2).
    """
    count = len(draws.rotation)
    zeros, ones = np.zeros(count), np.ones(count)

    def matrix(*rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        return np.array([*rows, (zeros, zeros, ones)]).transpose(2, 0, 1)

    angle, shear = np.deg2rad(draws.rotation), np.deg2rad(draws.shear)
    rotation = matrix((np.cos(angle), -np.sin(angle), zeros), (np.sin(angle), np.cos(angle), zeros))
    shift = matrix((ones, zeros, draws.shift_rows * height), (zeros, ones, draws.shift_columns * width))
    shearing = matrix((ones, -np.sin(shear), zeros), (zeros, np.cos(shear), zeros))
    zoom = matrix((draws.zoom_rows, zeros, zeros), (zeros, draws.zoom_columns, zeros))
    row, column = (height - 1) / 2, (width - 1) / 2
    centre = np.array([[1, 0, row], [0, 1, column], [0, 0, 1]])
    back = np.array([[1, 0, -row], [0, 1, -column], [0, 0, 1]])
    mirror = matrix((ones, zeros, zeros), (zeros, np.where(draws.flip, -1.0, 1.0), draws.flip * (width - 1.0)))
    return centre @ rotation @ shift @ shearing @ zoom @ back @ mirror


def color_factors(draws: Draws) -> np.ndarray | None:
    """What an image, its gray picture and the mean of that are multiplied by, float32 (3, n), before they are added up;
    None where no colour changes.

    Blends with the gray picture (saturation), with its mean (contrast) and with black (brightness), in this order, as
    torchvision makes them, are together brightness * (contrast * (saturation * image + (1 - saturation) * gray) +
    (1 - contrast) * mean).
    """
    kept = draws.brightness * draws.contrast
    factors = np.stack((kept * draws.saturation, kept * (1 - draws.saturation), draws.brightness - kept))
    unchanged = (draws.brightness == 1).all() and (draws.contrast == 1).all() and (draws.saturation == 1).all()
    return None if unchanged else factors.astype(np.float32)


def augmented_copies(
    pixels: np.ndarray, count: int, reach: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, Draws]:
    """`count` warped copies of one image, uint8 (height, width, 3), as uint8 (count, height, width, 3), and their
    parameters."""
    draws = draw_transforms(count, reach, rng)
    warped = np.stack([warp_image(pixels, matrix) for matrix in affine_matrices(draws, *pixels.shape[:2])])
    factors = color_factors(draws)
    if factors is not None:
        gray = (warped @ np.array(LUMA, np.float32))[..., None]
        image, of_gray, of_mean = factors.reshape(3, -1, 1, 1, 1)
        warped = (warped * image + gray * of_gray + gray.mean((1, 2), keepdims=True) * of_mean).clip(0, 255)
    return np.rint(warped).astype(np.uint8), draws


def warp_image(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """One image, uint8 (height, width, 3), seen through a matrix (3, 3) of `matrices`, bilinear, as float32; places
    beyond the border show the nearest pixel."""
    from scipy import ndimage

    warped = np.empty(pixels.shape, np.float32)
    for channel in range(pixels.shape[2]):
        ndimage.affine_transform(
            pixels[:, :, channel], matrix, output=warped[:, :, channel], order=1, mode="nearest", prefilter=False
        )
    return warped
