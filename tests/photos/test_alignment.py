"""CelebA's alignment: the similarity transform and the crop."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facetools.photos.alignment import (
    CROP_SIZE,
    TEMPLATE,
    alignment_points,
    apply_transforms,
    crop_face,
    fit_transforms,
    invert_transforms,
)


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(degrees)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack((rotation, shift))


TRANSFORMS = np.stack([similarity(1, 0, (0, 0)), similarity(0.3, 25, (10, -4)), similarity(4, -170, (-300, 80))])


def smooth_photo(height: int, width: int) -> np.ndarray:
    """A photo, uint8 (height, width, 3), of smooth waves, which no filter changes much."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    waves = [np.sin(rows / 23 + phase) * np.cos(columns / 31 + phase) for phase in (0, 1, 2)]
    return (127.5 + 100 * np.stack(waves, axis=2)).round().astype(np.uint8)


def test_alignment_points_are_the_eyes_and_the_middle_of_the_mouth() -> None:
    landmarks = np.array([[(0, 0), (4, 0), (2, 2), (1, 5), (3, 7)]], float)
    assert alignment_points(landmarks).tolist() == [[[0, 0], [4, 0], [2, 6]]]


def test_an_exact_similarity_is_recovered() -> None:
    points = apply_transforms(invert_transforms(TRANSFORMS), np.repeat(TEMPLATE[None], 3, axis=0))
    assert fit_transforms(points) == pytest.approx(TRANSFORMS, abs=1e-9)


def test_the_transform_has_the_least_squared_error() -> None:
    rng = np.random.default_rng(0)
    points = TEMPLATE + rng.normal(scale=4, size=(20, 3, 2))
    best = fit_transforms(points)

    def squared_error(transforms: np.ndarray) -> np.ndarray:
        return ((apply_transforms(transforms, points) - TEMPLATE) ** 2).sum(axis=(1, 2))

    for change in (
        similarity(1.001, 0, (0, 0)),
        similarity(1, 0.1, (0, 0)),
        similarity(1, 0, (0.05, 0)),
        similarity(1, 0, (0, 0.05)),
    ):
        changed = best.copy()
        changed[:, :, :2] = change[:, :2] @ best[:, :, :2]
        changed[:, :, 2] += change[:, 2]
        assert (squared_error(changed) > squared_error(best)).all()
    # The general least-squares solution of a, b, x, y in (a x - b y + x0, b x + a y + y0).
    x, y = points[0].T
    ones, zeros = np.ones(3), np.zeros(3)
    system = np.concatenate((np.column_stack((x, -y, ones, zeros)), np.column_stack((y, x, zeros, ones))))
    a, b, left, top = np.linalg.lstsq(system, np.concatenate(TEMPLATE.T), rcond=None)[0]
    assert best[0] == pytest.approx(np.array([[a, -b, left], [b, a, top]]))


def test_the_identity_crops_the_upper_left_corner() -> None:
    photo = smooth_photo(300, 280)
    crop = crop_face(photo, TRANSFORMS[0])
    assert crop.shape == (*CROP_SIZE, 3)
    assert (crop == photo[:218, :178]).all()


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("degrees", [0, 30, -100])
def test_crop_samples_the_photo_where_the_transform_says(scale: float, degrees: float) -> None:
    photo = smooth_photo(900, 1000)
    transform = similarity(scale, degrees, (0, 0))
    transform[:, 2] = (89, 109) - transform[:, :2] @ (480.3, 455.7)
    crop = crop_face(photo, transform)
    columns, rows = np.meshgrid(np.arange(178) + 0.5, np.arange(218) + 0.5)
    positions = np.stack((columns, rows), axis=2).reshape(1, -1, 2)
    x, y = apply_transforms(invert_transforms(transform[None]), positions)[0].T
    expected = np.stack([127.5 + 100 * np.sin(y / 23 + phase) * np.cos(x / 31 + phase) for phase in (0, 1, 2)], axis=1)
    inside = (x > 20) & (x < 980) & (y > 20) & (y < 880)
    assert inside.mean() > 0.5
    error = np.abs(crop.reshape(-1, 3)[inside] - expected[inside])
    # Where the photo is reduced, the filter flattens the waves a little.
    assert error.max() < (6 if scale < 0.3 else 3.5)


def test_edges_are_repeated_outside_the_photo() -> None:
    photo = np.full((40, 40, 3), (200, 90, 10), np.uint8)
    crop = crop_face(photo, similarity(1, 15, (70, 80)))
    assert (crop == (200, 90, 10)).all()


def test_a_reduced_photo_is_antialiased() -> None:
    stripes = np.zeros((2000, 1600, 3), np.uint8)
    stripes[:, ::2] = 255
    transform = similarity(0.2, 10, (0, 0))
    transform[:, 2] = (89, 109) - transform[:, :2] @ (800, 1000)
    assert np.abs(crop_face(stripes, transform).astype(int) - 127).max() < 12


def test_half_the_transform_gives_the_reduced_crop() -> None:
    photo = smooth_photo(600, 600)
    transform = similarity(0.8, 12, (-40, -100))
    small, full = crop_face(photo, transform / 2, (109, 89)), crop_face(photo, transform)
    reduced = np.asarray(Image.fromarray(full).resize((89, 109), Image.Resampling.BOX))
    assert np.abs(small.astype(int) - reduced)[3:-3, 3:-3].max() < 4
