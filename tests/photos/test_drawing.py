"""Boxes and landmarks drawn into photographs."""

from __future__ import annotations

import numpy as np
import pytest

from facetools.photos.detection import NO_FACES, Faces
from facetools.photos.drawing import draw_faces

#: A face in a photograph of 200 x 400 pixels (height, width).
SIZE = (200, 400)
FACES = Faces(
    np.array([(100.0, 40, 300, 160)]),
    np.array([[(160.0, 80), (240, 80), (200, 100), (170, 130), (230, 130)]]),
    np.array([0.9]),
)


def is_yellow(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 0] > 200) & (pixels[..., 1] > 180) & (pixels[..., 2] < 60)


@pytest.mark.parametrize("reduction", [1, 2, 4])
@pytest.mark.parametrize("gray", [0, 128, 255])
def test_faces_are_drawn_where_they_are_in_the_reduced_photo(reduction: int, gray: int) -> None:
    image = np.full((SIZE[0] // reduction, SIZE[1] // reduction, 3), gray, np.uint8)
    drawn = draw_faces(image, SIZE, FACES)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (image == gray).all()  # the argument stays
    rows, columns = np.nonzero(is_yellow(drawn))
    found = (columns.min(), rows.min(), columns.max(), rows.max())
    assert np.array(found) * reduction == pytest.approx(FACES.boxes[0], abs=2 * reduction)
    for x, y in FACES.landmarks[0] / reduction:
        assert is_yellow(drawn[int(y), int(x)])
    assert (drawn[rows.min() - 1, columns.min() : columns.max()] == 0).all()  # the outline
    assert (drawn[0, 0] == gray).all()
    middle = (FACES.landmarks[0, 0] + FACES.landmarks[0, 1]) / 2 / reduction
    assert (drawn[int(middle[1]), int(middle[0])] == gray).all()


def test_photos_without_faces_stay_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    assert (draw_faces(image, SIZE, NO_FACES) == image).all()


def test_faces_that_reach_beyond_the_photo_are_drawn_as_far_as_they_are_visible() -> None:
    image = np.full((50, 100, 3), 128, np.uint8)
    beyond = Faces(FACES.boxes - (200, 80, 200, 80), FACES.landmarks, FACES.scores)
    drawn = draw_faces(image, SIZE, beyond)
    assert is_yellow(drawn[:20, 25]).all() and is_yellow(drawn[20, :25]).all()  # the right and the lower edge
    assert not is_yellow(drawn[:18, :20]).any()
