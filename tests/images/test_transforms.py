"""The warps against Keras' formulas worked out here by hand, the pictures against SciPy's affine_transform, the colours
against torchvision's."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms import functional

from facetools.images import transforms
from facetools.images.augmentation import NO_AUGMENTATION, Augmentation
from facetools.images.transforms import Draws
from facetools.training import augmentation
from facetools.training.recipes import PAPER

COLOURS = ("brightness", "contrast", "saturation")


def draws(*rows: tuple[float, float, float, float, float, float, bool]) -> Draws:
    """Rows of rotation, shift of rows and columns, shear, zoom of rows and columns, flip."""
    columns = list(zip(*rows, strict=True))
    as_they_are = [np.ones(len(rows))] * 3
    return Draws(*(np.array(c, np.float64) for c in columns[:6]), np.array(columns[6], bool), *as_they_are)


def keras_matrix(
    theta: float, tx: float, ty: float, shear: float, zx: float, zy: float, height: int, width: int
) -> np.ndarray:
    """What keras.preprocessing.image.apply_affine_transform hands to ndimage.affine_transform.

    `tx` and `ty` in pixels, as get_random_transform gives them (it multiplies the share by the side).
    """
    theta, shear = np.deg2rad(theta), np.deg2rad(shear)
    rotation = np.array([[np.cos(theta), -np.sin(theta), 0], [np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    shearing = np.array([[1, -np.sin(shear), 0], [0, np.cos(shear), 0], [0, 0, 1]])
    zoom = np.array([[zx, 0, 0], [0, zy, 0], [0, 0, 1]])
    transform = np.dot(np.dot(np.dot(rotation, shift), shearing), zoom)
    # transform_matrix_offset_center
    o_x, o_y = (height - 1) / 2, (width - 1) / 2
    offset, reset = np.array([[1, 0, o_x], [0, 1, o_y], [0, 0, 1]]), np.array([[1, 0, -o_x], [0, 1, -o_y], [0, 0, 1]])
    return np.dot(np.dot(offset, transform), reset)


def random_draws(count: int, *, flip: bool = True) -> Draws:
    reach = Augmentation(rotation=60, shift=0.3, shear=25, zoom=0.5, flip=flip)
    return transforms.draw_transforms(count, reach, np.random.default_rng(1))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (64, 64), (109, 89)])
def test_the_matrix_is_keras(height: int, width: int) -> None:
    drawn = random_draws(20, flip=False)
    warps = transforms.affine_matrices(drawn, height, width)
    assert warps.shape == (20, 3, 3)
    for row, warp in enumerate(warps):
        expected = keras_matrix(
            drawn.rotation[row],
            drawn.shift_rows[row] * height,
            drawn.shift_columns[row] * width,
            drawn.shear[row],
            drawn.zoom_rows[row],
            drawn.zoom_columns[row],
            height,
            width,
        )
        np.testing.assert_allclose(warp, expected, rtol=1e-12, atol=1e-12)


def test_a_matrix_worked_out_by_hand() -> None:
    # Rotated and sheared by 30 degrees, shifted by 0.1 x 20 rows and -0.2 x 10 columns, zoomed 2 and 1/2; the centre c
    # is (9.5, 4.5). R S Z = [[sqrt(3), -sqrt(3)/4], [1, 1/4]]; the offset is c - R S Z c + R (2, -2), and
    # R (2, -2) = (sqrt(3) + 1, 1 - sqrt(3)).
    warp = transforms.affine_matrices(draws((30, 0.1, -0.2, 30, 2, 0.5, False)), 20, 10)[0]
    linear = [[1.7320508075688772, -0.4330127018922193], [1.0, 0.25]]
    offset = [9.5 - 16.454482671904334 + 1.9485571585149868 + 2.732050807568877, 4.5 - 9.5 - 1.125 - 0.7320508075688772]
    np.testing.assert_allclose(warp, [[*linear[0], offset[0]], [*linear[1], offset[1]], [0, 0, 1]], atol=1e-12)


def picture(height: int, width: int) -> np.ndarray:
    """A picture in which no two places look alike, (3, height, width), 0 to 255."""
    return np.random.default_rng(height * width).integers(0, 256, (3, height, width)).astype(np.float32)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (41, 23)])
def test_the_picture_is_scipys(height: int, width: int) -> None:
    """As Keras: ndimage.affine_transform a channel, bilinear, nearest fill, then the flip."""
    pixels = picture(height, width)
    warps = transforms.affine_matrices(random_draws(10), height, width)
    unflipped = transforms.affine_matrices(random_draws(10, flip=False), height, width)
    flips = random_draws(10).flip
    assert 0 < flips.sum() < 10
    shown = augmentation.warp_batch(torch.from_numpy(np.stack([pixels] * 10)), warps).numpy()
    for image, matrix, flip in zip(shown, unflipped, flips, strict=True):
        expected = np.stack(
            [ndimage.affine_transform(c, matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest") for c in pixels]
        )
        # The coordinates are float32: within 1e-5 of a side, times a contrast of up to 255.
        np.testing.assert_allclose(image, expected[:, :, ::-1] if flip else expected, atol=0.05)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 13), (96, 80)])
def test_nothing_drawn_changes_nothing_and_a_flip_mirrors(height: int, width: int) -> None:
    pixels = torch.from_numpy(picture(height, width))
    still, mirrored = (0, 0, 0, 0, 1, 1, False), (0, 0, 0, 0, 1, 1, True)
    shown = augmentation.warp_batch(
        torch.stack([pixels, pixels]), transforms.affine_matrices(draws(still, mirrored), height, width)
    )
    torch.testing.assert_close(shown[0], pixels, atol=0.01, rtol=0)
    torch.testing.assert_close(shown[1], pixels.flip(-1), atol=0.01, rtol=0)


def test_whole_shifts_move_pixels_and_repeat_the_border() -> None:
    pixels = torch.from_numpy(picture(10, 8))
    # A place of the output shows the input 0.2 x 10 rows further down and 0.25 x 8 columns further left.
    shown = augmentation.warp_batch(
        pixels[None], transforms.affine_matrices(draws((0, 0.2, -0.25, 0, 1, 1, False)), 10, 8)
    )[0]
    rows, columns = np.minimum(np.arange(10) + 2, 9), np.maximum(np.arange(8) - 2, 0)
    torch.testing.assert_close(shown, pixels[:, rows][:, :, columns], atol=0.01, rtol=0)


def test_warp_keeps_channels_last() -> None:
    pixels = torch.from_numpy(picture(6, 7)).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    shown = augmentation.warp_batch(pixels, transforms.affine_matrices(random_draws(2), 6, 7))
    assert shown.is_contiguous(memory_format=torch.channels_last)


def test_draws_fill_their_reach_and_stay_within() -> None:
    drawn = transforms.draw_transforms(4000, Augmentation(), np.random.default_rng(0))
    for name, low, high in [
        ("rotation", -20, 20),
        ("shift_rows", -0.2, 0.2),
        ("shift_columns", -0.2, 0.2),
        ("shear", -0.2, 0.2),
        ("zoom_rows", 0.8, 1.2),
        ("zoom_columns", 0.8, 1.2),
    ]:
        values, margin = getattr(drawn, name), (high - low) / 100
        assert values.shape == (4000,)
        assert low <= values.min() < low + margin
        assert high - margin < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 2 * margin
    assert 0.45 < drawn.flip.mean() < 0.55
    assert not np.array_equal(drawn.zoom_rows, drawn.zoom_columns)
    assert not np.array_equal(drawn.shift_rows, drawn.shift_columns)


def test_colours_are_drawn_about_what_they_are() -> None:
    reach = Augmentation(brightness=0.2, contrast=0.4, saturation=0.6, grayscale=0.25)
    drawn = transforms.draw_transforms(4000, reach, np.random.default_rng(0))
    grey = drawn.saturation == 0
    assert 0.22 < grey.mean() < 0.28
    for values, limit in ((drawn.brightness, 0.2), (drawn.contrast, 0.4), (drawn.saturation[~grey], 0.6)):
        assert 1 - limit <= values.min() < 1 - 0.98 * limit
        assert 1 + 0.98 * limit < values.max() <= 1 + limit
        assert abs(values.mean() - 1) < 0.04 * limit
    still = transforms.draw_transforms(4000, Augmentation(), np.random.default_rng(0))
    for field in fields(Draws):  # which the paper's augmentations do not come to know
        if field.name in COLOURS:
            assert (getattr(still, field.name) == 1).all()
        else:
            np.testing.assert_array_equal(getattr(still, field.name), getattr(drawn, field.name))


def test_draws_come_from_the_generator_alone() -> None:
    reach = Augmentation(brightness=0.1, contrast=0.1, saturation=0.1, grayscale=0.5)
    first, again, other = (transforms.draw_transforms(9, reach, np.random.default_rng(seed)) for seed in (3, 3, 4))
    for field in fields(Draws):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert not np.array_equal(first.rotation, other.rotation)


def test_no_augmentation_is_the_identity() -> None:
    warps = transforms.affine_matrices(transforms.draw_transforms(5, NO_AUGMENTATION, np.random.default_rng(0)), 30, 20)
    np.testing.assert_allclose(warps, np.stack([np.eye(3)] * 5), atol=1e-12)


def colours(count: int, brightness: float, contrast: float, saturation: float) -> Draws:
    factors = (np.full(count, factor) for factor in (brightness, contrast, saturation))
    return replace(draws(*[(0, 0, 0, 0, 1, 1, False)] * count), **dict(zip(COLOURS, factors, strict=True)))


@pytest.mark.parametrize("factors", [(0.7, 1, 1), (1, 1.4, 1), (1, 1, 1.5), (1, 1, 0), (1.2, 0.8, 0), (0.9, 1.1, 0.6)])
def test_colours_are_torchvisions(factors: tuple[float, float, float]) -> None:
    # Far enough from black and white that nothing is cut off on the way.
    pixels = torch.from_numpy(np.random.default_rng(0).uniform(80, 160, (3, 3, 12, 7)).astype(np.float32))
    expected = pixels / 255
    for step, factor in zip((functional.adjust_saturation, functional.adjust_contrast), factors[:0:-1], strict=True):
        expected = step(expected, factor)
    expected = functional.adjust_brightness(expected, factors[0])
    # Its grey has 0.2989 of red.
    torch.testing.assert_close(
        augmentation.recolor_batch(pixels, colours(3, *factors)), 255 * expected, atol=0.05, rtol=0
    )


def test_colours_stay_within_black_and_white_and_each_image_has_its_own() -> None:
    pixels = torch.from_numpy(np.stack([picture(9, 6)] * 2)).contiguous(memory_format=torch.channels_last)
    shown = augmentation.recolor_batch(
        pixels, replace(colours(2, 1, 1, 1), **dict.fromkeys(COLOURS, np.array([1.0, 2.0])))
    )
    assert shown.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(shown[0], pixels[0], atol=1e-4, rtol=0)
    assert shown[1].min() == 0
    assert shown[1].max() == 255


def test_copies_are_grey_where_it_was_drawn() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 14, 3)).astype(np.uint8)
    made, drawn = transforms.augmented_copies(pixels, 12, Augmentation(grayscale=0.5), np.random.default_rng(1))
    grey = drawn.saturation == 0
    assert 0 < grey.sum() < 12
    np.testing.assert_array_equal(grey, [int(np.ptp(copy, axis=2).max()) <= 1 for copy in made])


@pytest.mark.parametrize(
    ("places", "others"), [([0, 1, 2, 3, 4], [1, 0, 3, 2, 4]), ([0, 2, 3, 5, 7], [0, 2, 1, 3, 4]), ([3], [0])]
)
def test_mixup_blends_neighbours_and_their_labels_alike(places: list[int], others: list[int]) -> None:
    rng = np.random.default_rng(0)
    images, labels = (torch.from_numpy(rng.random((len(places), *shape))) for shape in [(3, 4, 4), (2,)])
    mixed, blended = augmentation.mixup(images, labels, np.array(places), 0.4, np.random.default_rng(1))
    share = np.random.default_rng(1).beta(0.4, 0.4)
    assert 0 < share < 1
    for row, other in enumerate(others):
        for result, given in ((mixed, images), (blended, labels)):
            torch.testing.assert_close(result[row], given[row] * (1 - share) + given[other] * share)


def test_draws_of_some_are_those_of_all() -> None:
    draws = transforms.draw_transforms(9, PAPER.augmentation, np.random.default_rng(0))
    some = transforms.affine_matrices(draws.take(np.array([2, 7])), 8, 6)
    np.testing.assert_array_equal(some, transforms.affine_matrices(draws, 8, 6)[[2, 7]])


@pytest.mark.parametrize(("brightness", "grayscale"), [(0.0, 0.0), (0.3, 0.5)])
def test_copies_are_what_training_sees(brightness: float, grayscale: float) -> None:
    """The NumPy and SciPy version for fa-augment agrees with the torch version for batches."""
    pixels = np.ascontiguousarray(picture(41, 23).transpose(1, 2, 0)).astype(np.uint8)
    reach = Augmentation(rotation=60, shift=0.3, brightness=brightness, contrast=brightness, grayscale=grayscale)
    copies, drawn = transforms.augmented_copies(pixels, 8, reach, np.random.default_rng(1))
    batch = torch.from_numpy(np.repeat(pixels[None], 8, 0)).permute(0, 3, 1, 2)
    expected = augmentation.recolor_batch(
        augmentation.warp_batch(batch, transforms.affine_matrices(drawn, 41, 23)), drawn
    )
    np.testing.assert_allclose(copies, expected.permute(0, 2, 3, 1).numpy(), atol=0.56)
