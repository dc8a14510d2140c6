"""Random affine warps and color changes: their parameters, matrices, and the augmentation of single images.

`sample_transforms` samples the parameters, `affine_matrices` and `color_factors` convert them to what is computed, and
`augment_image` augments one image with NumPy and SciPy. Training batches use the same parameters in torch.

An image is warped once, with the composition of Keras' ImageDataGenerator: center offset . rotation . shift . shear .
zoom . inverse center offset, with the flip applied to the result. Coordinates are (row, column). A matrix maps a
position in the output to the position in the input that appears there. The shear is an angle in degrees, as in Keras;
the paper's 0.2 is hardly visible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from facetools.images.augmentation import Augmentation

#: The weights of red, green and blue in gray (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class TransformParameters:
    """The augmentation parameters of n images, float64 (n,) unless noted otherwise."""

    #: In degrees.
    rotation: np.ndarray
    #: As fractions of the height and of the width.
    shift_rows: np.ndarray
    shift_columns: np.ndarray
    #: In degrees.
    shear: np.ndarray
    #: The part of the input that is visible, as a factor per axis; less than 1 magnifies.
    zoom_rows: np.ndarray
    zoom_columns: np.ndarray
    #: bool (n,).
    flip: np.ndarray
    #: Factors; 1 changes nothing, and a saturation of 0 is gray.
    brightness: np.ndarray
    contrast: np.ndarray
    saturation: np.ndarray

    def take(self, rows: np.ndarray) -> TransformParameters:
        """The parameters of the images at `rows`."""
        return TransformParameters(**{name: values[rows] for name, values in self.__dict__.items()})

    def to_records(self) -> list[dict[str, float | bool]]:
        """The parameters of each image, by name."""
        columns = {name: values.tolist() for name, values in self.__dict__.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def sample_transforms(count: int, augmentation: Augmentation, rng: np.random.Generator) -> TransformParameters:
    """Sample the parameters of `count` images uniformly from their ranges.

    The distributions are those of Keras' ImageDataGenerator.get_random_transform and, for colors, of torchvision's
    ColorJitter and RandomGrayscale.
    """

    def uniform(limit: float, center: float = 0.0) -> np.ndarray:
        return rng.uniform(center - limit, center + limit, count)

    # The order of these calls determines the random numbers.
    return TransformParameters(
        rotation=uniform(augmentation.rotation),
        shift_rows=uniform(augmentation.shift),
        shift_columns=uniform(augmentation.shift),
        shear=uniform(augmentation.shear),
        zoom_rows=uniform(augmentation.zoom, 1.0),
        zoom_columns=uniform(augmentation.zoom, 1.0),
        flip=(rng.random(count) < 0.5) & augmentation.flip,
        brightness=uniform(augmentation.brightness, 1.0),
        contrast=uniform(augmentation.contrast, 1.0),
        saturation=np.where(rng.random(count) < augmentation.grayscale, 0.0, uniform(augmentation.saturation, 1.0)),
    )


def affine_matrices(parameters: TransformParameters, height: int, width: int) -> np.ndarray:
    """The warps of images of `height` x `width` pixels, float64 (n, 3, 3), from output (row, column, 1) to input.

    As in Keras, with rotation angle t, shear angle s, zooms zx and zy, and shifts tx and ty in pixels:
    R = [[cos t, -sin t], [sin t, cos t]], S = [[1, -sin s], [0, cos s]], Z = diag(zx, zy), T = (tx, ty), and the center
    is ((height - 1) / 2, (width - 1) / 2).
    """
    count = len(parameters.rotation)
    zeros, ones = np.zeros(count), np.ones(count)

    def stack_matrices(*rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        return np.array([*rows, (zeros, zeros, ones)]).transpose(2, 0, 1)

    angle, shear_angle = np.deg2rad(parameters.rotation), np.deg2rad(parameters.shear)
    shift_rows, shift_columns = parameters.shift_rows * height, parameters.shift_columns * width
    rotation = stack_matrices((np.cos(angle), -np.sin(angle), zeros), (np.sin(angle), np.cos(angle), zeros))
    shift = stack_matrices((ones, zeros, shift_rows), (zeros, ones, shift_columns))
    shear = stack_matrices((ones, -np.sin(shear_angle), zeros), (zeros, np.cos(shear_angle), zeros))
    zoom = stack_matrices((parameters.zoom_rows, zeros, zeros), (zeros, parameters.zoom_columns, zeros))
    row, column = (height - 1) / 2, (width - 1) / 2
    center = np.array([[1, 0, row], [0, 1, column], [0, 0, 1]])
    inverse_center = np.array([[1, 0, -row], [0, 1, -column], [0, 0, 1]])
    flip_sign, flip_offset = np.where(parameters.flip, -1.0, 1.0), parameters.flip * (width - 1.0)
    flip = stack_matrices((ones, zeros, zeros), (zeros, flip_sign, flip_offset))
    return center @ rotation @ shift @ shear @ zoom @ inverse_center @ flip


def color_factors(parameters: TransformParameters) -> np.ndarray | None:
    """The factors of each image, its gray image and its mean gray level, float32 (3, n); None if no color changes.

    Their sum is the result of torchvision's saturation, contrast and brightness changes, in this order:
    brightness * (contrast * (saturation * image + (1 - saturation) * gray) + (1 - contrast) * mean).
    """
    brightness, contrast, saturation = parameters.brightness, parameters.contrast, parameters.saturation
    if (brightness == 1).all() and (contrast == 1).all() and (saturation == 1).all():
        return None
    scale = brightness * contrast
    return np.stack((scale * saturation, scale * (1 - saturation), brightness - scale)).astype(np.float32)


def augment_image(
    pixels: np.ndarray, count: int, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, TransformParameters]:
    """Make `count` augmented copies of one image, uint8 (height, width, 3).

    Returns the copies, uint8 (count, height, width, 3), and their parameters.
    """
    parameters = sample_transforms(count, augmentation, rng)
    copies = np.stack([warp_image(pixels, matrix) for matrix in affine_matrices(parameters, *pixels.shape[:2])])
    factors = color_factors(parameters)
    if factors is not None:
        gray = (copies @ np.array(LUMA, np.float32))[..., None]
        image_factor, gray_factor, mean_factor = factors.reshape(3, -1, 1, 1, 1)
        mean = gray.mean((1, 2), keepdims=True)
        copies = (copies * image_factor + gray * gray_factor + mean * mean_factor).clip(0, 255)
    return np.rint(copies).astype(np.uint8), parameters


def warp_image(pixels: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp one image, uint8 (height, width, 3), by a matrix (3, 3) of `affine_matrices`; float32, same shape.

    Interpolation is bilinear. Positions outside the image take the value of the nearest pixel.
    """
    height, width = pixels.shape[:2]
    # Pillow shows black outside the image, so extend the edges by as much as the output can see.
    corners = matrix @ [[0, 0, height - 1, height - 1], [0, width - 1, 0, width - 1], [1, 1, 1, 1]]
    top, left = np.maximum(0, 1 - np.floor(corners[:2].min(axis=1))).astype(int)
    bottom, right = np.maximum(0, np.ceil(corners[:2].max(axis=1)) + 2 - [height, width]).astype(int)
    extended = np.pad(pixels, ((top, bottom), (left, right), (0, 0)), "edge")
    (row_row, row_column, row), (column_row, column_column, column) = matrix[:2]
    # Pillow's coordinates are (x, y), and the center of the first pixel is at (0.5, 0.5).
    x_offset = column + left + 0.5 - (column_column + column_row) / 2
    y_offset = row + top + 0.5 - (row_column + row_row) / 2
    coefficients = (column_column, column_row, x_offset, row_column, row_row, y_offset)
    warped = np.empty(pixels.shape, np.float32)
    for channel in range(pixels.shape[2]):  # mode F interpolates without rounding, and has one channel
        plane = Image.fromarray(extended[:, :, channel].astype(np.float32))
        bilinear = Image.Resampling.BILINEAR
        plane = plane.transform((width, height), Image.Transform.AFFINE, coefficients, bilinear)
        warped[:, :, channel] = np.asarray(plane)
    return warped
