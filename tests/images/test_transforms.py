"""Augmentation: matrices against Keras' formulas, warps against SciPy, colors against torchvision."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms import functional

from facetools.images import transforms
from facetools.images.augmentation import NO_AUGMENTATION, Augmentation
from facetools.images.transforms import TransformParameters
from facetools.training import augmentation
from facetools.training.recipes import PAPER

COLORS = ("brightness", "contrast", "saturation")


def warp_parameters(*rows: tuple[float, float, float, float, float, float, bool]) -> TransformParameters:
    """Parameters from rows of (rotation, row shift, column shift, shear, row zoom, column zoom, flip)."""
    *warps, flip = zip(*rows, strict=True)
    unchanged_colors = [np.ones(len(rows))] * 3
    return TransformParameters(*(np.array(values, float) for values in warps), np.array(flip, bool), *unchanged_colors)


def color_parameters(count: int, brightness: float, contrast: float, saturation: float) -> TransformParameters:
    factors = (np.full(count, factor) for factor in (brightness, contrast, saturation))
    return replace(warp_parameters(*[(0, 0, 0, 0, 1, 1, False)] * count), **dict(zip(COLORS, factors, strict=True)))


def random_parameters(count: int, *, flip: bool = True) -> TransformParameters:
    settings = Augmentation(rotation=60, shift=0.3, shear=25, zoom=0.5, flip=flip)
    return transforms.sample_transforms(count, settings, np.random.default_rng(1))


def random_image(height: int, width: int) -> np.ndarray:
    """An image (3, height, width), 0 to 255, in which no two positions look alike."""
    return np.random.default_rng(height * width).integers(0, 256, (3, height, width)).astype(np.float32)


def keras_matrix(
    theta: float, tx: float, ty: float, shear: float, zx: float, zy: float, height: int, width: int
) -> np.ndarray:
    """The matrix that keras.preprocessing.image.apply_affine_transform passes to ndimage.affine_transform.

    `tx` and `ty` are in pixels, as in get_random_transform, which multiplies the fraction by the side.
    """
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    rotation = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    zoom = np.array([[zx, 0, 0], [0, zy, 0], [0, 0, 1]])
    transform = np.dot(np.dot(np.dot(rotation, shift), shearing), zoom)
    # As in transform_matrix_offset_center.
    o_x, o_y = (height - 1) / 2, (width - 1) / 2
    offset, reset = np.array([[1, 0, o_x], [0, 1, o_y], [0, 0, 1]]), np.array([[1, 0, -o_x], [0, 1, -o_y], [0, 0, 1]])
    return np.dot(np.dot(offset, transform), reset)


# Matrices


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (109, 89)])
def test_matrices_equal_those_of_keras(height: int, width: int) -> None:
    parameters = random_parameters(20, flip=False)
    matrices = transforms.affine_matrices(parameters, height, width)
    assert matrices.shape == (20, 3, 3)
    for row, matrix in enumerate(matrices):
        expected = keras_matrix(
            parameters.rotation[row],
            parameters.shift_rows[row] * height,
            parameters.shift_columns[row] * width,
            parameters.shear[row],
            parameters.zoom_rows[row],
            parameters.zoom_columns[row],
            height,
            width,
        )
        np.testing.assert_allclose(matrix, expected, rtol=1e-12, atol=1e-12)


def test_a_matrix_equals_one_computed_by_hand() -> None:
    # Rotation and shear by 30 degrees, shifts of 0.1 x 20 rows and -0.2 x 10 columns, zooms 2 and 1/2; the center c is
    # (9.5, 4.5). R S Z = [[sqrt(3), -sqrt(3)/4], [1, 1/4]]; the offset is c - R S Z c + R (2, -2), and
    # R (2, -2) = (sqrt(3) + 1, 1 - sqrt(3)).
    matrix = transforms.affine_matrices(warp_parameters((30, 0.1, -0.2, 30, 2, 0.5, False)), 20, 10)[0]
    linear = [[1.7320508075688772, -0.4330127018922193], [1.0, 0.25]]
    offset = [9.5 - 16.454482671904334 + 1.9485571585149868 + 2.732050807568877, 4.5 - 9.5 - 1.125 - 0.7320508075688772]
    np.testing.assert_allclose(matrix, [[*linear[0], offset[0]], [*linear[1], offset[1]], [0, 0, 1]], atol=1e-12)


def test_no_augmentation_gives_identity_matrices() -> None:
    parameters = transforms.sample_transforms(5, NO_AUGMENTATION, np.random.default_rng(0))
    np.testing.assert_allclose(transforms.affine_matrices(parameters, 30, 20), np.stack([np.eye(3)] * 5), atol=1e-12)


def test_matrices_of_selected_images_equal_those_of_all_images() -> None:
    parameters = transforms.sample_transforms(9, PAPER.augmentation, np.random.default_rng(0))
    selected = transforms.affine_matrices(parameters.take(np.array([2, 7])), 8, 6)
    np.testing.assert_array_equal(selected, transforms.affine_matrices(parameters, 8, 6)[[2, 7]])


# Sampling


def test_warp_parameters_cover_their_ranges() -> None:
    parameters = transforms.sample_transforms(4000, Augmentation(), np.random.default_rng(0))
    for name, low, high in [
        ("rotation", -20, 20),
        ("shift_rows", -0.2, 0.2),
        ("shift_columns", -0.2, 0.2),
        ("shear", -0.2, 0.2),
        ("zoom_rows", 0.8, 1.2),
        ("zoom_columns", 0.8, 1.2),
    ]:
        values, margin = getattr(parameters, name), (high - low) / 100
        assert values.shape == (4000,)
        assert low <= values.min() < low + margin
        assert high - margin < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 2 * margin
    assert 0.45 < parameters.flip.mean() < 0.55
    assert not np.array_equal(parameters.zoom_rows, parameters.zoom_columns)
    assert not np.array_equal(parameters.shift_rows, parameters.shift_columns)


def test_color_parameters_cover_their_ranges_and_leave_warps_unchanged() -> None:
    settings = Augmentation(brightness=0.2, contrast=0.4, saturation=0.6, grayscale=0.25)
    parameters = transforms.sample_transforms(4000, settings, np.random.default_rng(0))
    is_gray = parameters.saturation == 0
    assert 0.22 < is_gray.mean() < 0.28
    for values, limit in (
        (parameters.brightness, 0.2),
        (parameters.contrast, 0.4),
        (parameters.saturation[~is_gray], 0.6),
    ):
        assert 1 - limit <= values.min() < 1 - 0.98 * limit
        assert 1 + 0.98 * limit < values.max() <= 1 + limit
        assert abs(values.mean() - 1) < 0.04 * limit
    without_colors = transforms.sample_transforms(4000, Augmentation(), np.random.default_rng(0))
    for field in fields(TransformParameters):
        if field.name in COLORS:
            assert (getattr(without_colors, field.name) == 1).all()
        else:
            np.testing.assert_array_equal(getattr(without_colors, field.name), getattr(parameters, field.name))


def test_parameters_depend_only_on_the_generator() -> None:
    settings = Augmentation(brightness=0.1, contrast=0.1, saturation=0.1, grayscale=0.5)
    first, same_seed, other_seed = (
        transforms.sample_transforms(9, settings, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    for field in fields(TransformParameters):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(same_seed, field.name))
    assert not np.array_equal(first.rotation, other_seed.rotation)


# Warps of training batches


@pytest.mark.parametrize(("height", "width"), [(32, 32), (41, 23)])
def test_warped_batches_equal_scipys(height: int, width: int) -> None:
    """As Keras does it: ndimage.affine_transform per channel, bilinear, nearest fill, then the flip."""
    pixels = random_image(height, width)
    parameters = random_parameters(10)
    matrices = transforms.affine_matrices(parameters, height, width)
    unflipped = transforms.affine_matrices(random_parameters(10, flip=False), height, width)
    assert 0 < parameters.flip.sum() < 10
    warped = augmentation.warp_batch(torch.from_numpy(np.stack([pixels] * 10)), matrices).numpy()
    for image, matrix, flip in zip(warped, unflipped, parameters.flip, strict=True):
        expected = np.stack(
            [ndimage.affine_transform(c, matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest") for c in pixels]
        )
        # Coordinates are float32: an error of 1e-5 of a side, times a contrast of up to 255.
        np.testing.assert_allclose(image, expected[:, :, ::-1] if flip else expected, atol=0.05)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 13), (96, 80)])
def test_identity_parameters_change_nothing_and_a_flip_mirrors(height: int, width: int) -> None:
    pixels = torch.from_numpy(random_image(height, width))
    identity, flip = (0, 0, 0, 0, 1, 1, False), (0, 0, 0, 0, 1, 1, True)
    matrices = transforms.affine_matrices(warp_parameters(identity, flip), height, width)
    unchanged, mirrored = augmentation.warp_batch(torch.stack([pixels, pixels]), matrices)
    torch.testing.assert_close(unchanged, pixels, atol=0.01, rtol=0)
    torch.testing.assert_close(mirrored, pixels.flip(-1), atol=0.01, rtol=0)


def test_shifts_by_whole_pixels_repeat_the_border() -> None:
    pixels = torch.from_numpy(random_image(10, 8))
    # The output shows the input 0.2 x 10 rows further down and 0.25 x 8 columns further left.
    matrices = transforms.affine_matrices(warp_parameters((0, 0.2, -0.25, 0, 1, 1, False)), 10, 8)
    (warped,) = augmentation.warp_batch(pixels[None], matrices)
    rows, columns = np.minimum(np.arange(10) + 2, 9), np.maximum(np.arange(8) - 2, 0)
    torch.testing.assert_close(warped, pixels[:, rows][:, :, columns], atol=0.01, rtol=0)


def test_warped_batches_keep_the_channels_last_format() -> None:
    pixels = torch.from_numpy(random_image(6, 7)).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    warped = augmentation.warp_batch(pixels, transforms.affine_matrices(random_parameters(2), 6, 7))
    assert warped.is_contiguous(memory_format=torch.channels_last)


# Colors of training batches


@pytest.mark.parametrize("factors", [(0.7, 1, 1), (1, 1.4, 1), (1, 1, 1.5), (1, 1, 0), (1.2, 0.8, 0), (0.9, 1.1, 0.6)])
def test_colors_equal_those_of_torchvision(factors: tuple[float, float, float]) -> None:
    brightness, contrast, saturation = factors
    # Far enough from black and white that no intermediate result is clipped.
    pixels = torch.from_numpy(np.random.default_rng(0).uniform(80, 160, (3, 3, 12, 7)).astype(np.float32))
    expected = functional.adjust_saturation(pixels / 255, saturation)
    expected = functional.adjust_contrast(expected, contrast)
    expected = functional.adjust_brightness(expected, brightness)
    # torchvision weights red with 0.2989 instead of 0.299.
    torch.testing.assert_close(
        augmentation.recolor_batch(pixels, color_parameters(3, *factors)), 255 * expected, atol=0.05, rtol=0
    )


def test_each_image_has_its_own_colors_and_is_clipped() -> None:
    pixels = torch.from_numpy(np.stack([random_image(9, 6)] * 2)).contiguous(memory_format=torch.channels_last)
    factors = dict.fromkeys(COLORS, np.array([1.0, 2.0]))
    recolored = augmentation.recolor_batch(pixels, replace(color_parameters(2, 1, 1, 1), **factors))
    assert recolored.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(recolored[0], pixels[0], atol=1e-4, rtol=0)
    assert recolored[1].min() == 0
    assert recolored[1].max() == 255


# Copies of single images


def test_grayscale_copies_are_gray() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 14, 3)).astype(np.uint8)
    settings = Augmentation(grayscale=0.5)
    copies, parameters = transforms.augment_image(pixels, 12, settings, np.random.default_rng(1))
    is_gray = parameters.saturation == 0
    assert 0 < is_gray.sum() < 12
    np.testing.assert_array_equal(is_gray, [int(np.ptp(copy, axis=2).max()) <= 1 for copy in copies])


@pytest.mark.parametrize(("color_range", "grayscale"), [(0.0, 0.0), (0.3, 0.5)])
def test_augmented_copies_equal_training_batches(color_range: float, grayscale: float) -> None:
    """The NumPy and SciPy implementation agrees with the torch implementation."""
    pixels = np.ascontiguousarray(random_image(41, 23).transpose(1, 2, 0)).astype(np.uint8)
    settings = Augmentation(rotation=60, shift=0.3, brightness=color_range, contrast=color_range, grayscale=grayscale)
    copies, parameters = transforms.augment_image(pixels, 8, settings, np.random.default_rng(1))
    batch = torch.from_numpy(np.repeat(pixels[None], 8, 0)).permute(0, 3, 1, 2)
    warped = augmentation.warp_batch(batch, transforms.affine_matrices(parameters, 41, 23))
    expected = augmentation.recolor_batch(warped, parameters)
    np.testing.assert_allclose(copies, expected.permute(0, 2, 3, 1).numpy(), atol=0.56)


@pytest.mark.parametrize("shape", [(1, 1), (41, 23), (64, 96)])
def test_a_warped_image_equals_scipys(shape: tuple[int, int]) -> None:
    """Also with the strongest settings, which show much beyond the edges."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    settings = Augmentation(rotation=180, shift=1, shear=80, zoom=0.9)
    parameters = transforms.sample_transforms(20, settings, np.random.default_rng(1))
    for matrix in transforms.affine_matrices(parameters, *shape):
        expected = [
            ndimage.affine_transform(channel, matrix, output=np.float32, order=1, mode="nearest")
            for channel in pixels.transpose(2, 0, 1)
        ]
        np.testing.assert_allclose(transforms.warp_image(pixels, matrix), np.stack(expected, axis=2), atol=1e-3)


# mixup


@pytest.mark.parametrize(
    ("positions", "partners"), [([0, 1, 2, 3, 4], [1, 0, 3, 2, 4]), ([0, 2, 3, 5, 7], [0, 2, 1, 3, 4]), ([3], [0])]
)
def test_mixup_blends_neighbors_and_their_labels_equally(positions: list[int], partners: list[int]) -> None:
    rng = np.random.default_rng(0)
    images, labels = (torch.from_numpy(rng.random((len(positions), *shape))) for shape in [(3, 4, 4), (2,)])
    mixed_images, mixed_labels = augmentation.mixup(images, labels, np.array(positions), 0.4, np.random.default_rng(1))
    weight = np.random.default_rng(1).beta(0.4, 0.4)
    assert 0 < weight < 1
    for row, partner in enumerate(partners):
        for mixed, original in ((mixed_images, images), (mixed_labels, labels)):
            torch.testing.assert_close(mixed[row], original[row] * (1 - weight) + original[partner] * weight)
