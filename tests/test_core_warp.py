"""The compiled warp against SciPy's affine_transform, at every shape that has a way of its own."""

import numpy as np
import pytest
from scipy import ndimage

from facetools import _core, augment
from facetools.recipes import Augmentation

REACH = Augmentation(rotation=60, shift=0.3, shear=25, zoom=0.5)


def warped(images: np.ndarray, warps: np.ndarray, threads: int = 1) -> np.ndarray:
    out = np.full(images.shape, np.nan, np.float32)
    _core.warp(images, np.ascontiguousarray(warps[:, :2]), out, threads)
    return out


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (2, 2), (41, 23)])
def test_pictures_are_scipys(height: int, width: int, channels: int) -> None:
    rng = np.random.default_rng(height * width)
    images = rng.integers(0, 256, (12, height, width, channels), dtype=np.uint8)
    warps = augment.matrices(augment.draw(12, REACH, rng), height, width)
    found = warped(images, warps)
    for image, warp, shown in zip(images.astype(float), warps, found, strict=True):
        for c in range(channels):
            expected = ndimage.affine_transform(image[:, :, c], warp[:2, :2], warp[:2, 2], order=1, mode="nearest")
            # Coordinates are float32: within 1e-5 of a side, times a contrast of up to 255.
            np.testing.assert_allclose(shown[:, :, c], expected, atol=0.05)


def test_pixels_are_shown_as_they_are() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, 7, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warped(images, np.eye(3)[None]), images)


def test_threads_change_nothing() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 24, 24, 3), dtype=np.uint8)
    warps = augment.matrices(augment.draw(9, REACH, rng), 24, 24)
    np.testing.assert_array_equal(warped(images, warps, 4), warped(images, warps, 1))


def test_far_places_show_the_border() -> None:
    images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3)
    for far, corner in [(1e9, images[0, -1, -1]), (-1e9, images[0, 0, 0])]:
        found = warped(images, np.array([[[0, 0, far], [0, 0, far], [0, 0, 1]]]))
        np.testing.assert_array_equal(found, np.broadcast_to(corner, found.shape))


def test_what_does_not_fit_is_refused() -> None:
    images, out = np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 3), np.float32)
    warps = np.stack([np.eye(3)[:2]] * 2)
    for arguments, message in [
        ((images, warps[:1], out, 1), "not as many as images"),
        ((images, warps, out[:, :3].copy(), 1), "shape of the images"),
        ((images, np.full_like(warps, np.nan), out, 1), "not from -1e9 to 1e9"),
        ((images, warps * 1e10, out, 1), "not from -1e9 to 1e9"),
        ((images[:, :0].copy(), warps, out[:, :0].copy(), 1), "without pixels"),
    ]:
        with pytest.raises(ValueError, match=message):
            _core.warp(*arguments)
    with pytest.raises(TypeError):
        _core.warp(images.astype(np.float32), warps, out, 1)
