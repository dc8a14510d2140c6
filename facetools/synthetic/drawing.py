"""Draw faces: part by part from back to front, then with the light, blur and noise of a photograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageFilter

from facetools.synthetic import attire, features, hair
from facetools.synthetic.canvas import SIZE, Canvas
from facetools.synthetic.face import Face
from facetools.synthetic.sampling import sample_attributes

Part = Callable[[Canvas, Face], None]

#: The parts from back to front, each with its depth: how far it is in front of the axis of the head, in face units.
#: Parts without a depth do not move with the head.
_PARTS: tuple[tuple[Part, float | None], ...] = (
    (attire.draw_background, None),
    (hair.draw_hair_behind_head, -0.5),
    (attire.draw_body, None),
    (attire.draw_necklace, None),
    (attire.draw_necktie, None),
    (features.draw_double_chin, 0.3),
    (features.draw_ears, -0.2),
    (features.draw_head, 0),
    (hair.draw_stubble, 0.3),
    (features.draw_cheeks, 0.8),
    (features.draw_age_lines, 0.8),
    (features.draw_eyes, 1),
    (hair.draw_beard, 0.4),
    (features.draw_mouth, 1),
    (features.draw_nose, 1.4),
    (hair.draw_hair_in_front, 0.3),
    (features.draw_eyebrows, 1),
    (attire.draw_hat, 0.3),
    (attire.draw_eyeglasses, 1),
    (attire.draw_earrings, 0),
)


def draw_face(attributes: np.ndarray, rng: np.random.Generator, size: tuple[int, int] = SIZE) -> Image.Image:
    """Draw a face with `attributes`, uint8 0/1 (40,) in the order of CELEBA40: an RGB image of `size` (height, width).

    Every attribute has a visible sign, as in a caricature. Everything else is random: pose, scale, skin, colors, light,
    background and noise.
    """
    face = Face.from_attributes(attributes, rng)
    canvas = Canvas(size, *face.background)
    for draw_part, depth in _PARTS:
        if depth is None:
            canvas.set_pose(face.zoom, 0, face.shift, 0)
        else:
            canvas.set_pose(face.zoom, face.roll, face.shift, face.yaw * depth)
        draw_part(canvas, face)
    return _photograph(canvas, face, rng)


def _photograph(canvas: Canvas, face: Face, rng: np.random.Generator) -> Image.Image:
    """Downsample the drawing, and add random exposure, light gradient, tint, blur and noise."""
    image = canvas.image.reduce(canvas.SCALE)
    if "Blurry" in face.attributes:
        image = image.filter(ImageFilter.GaussianBlur(image.height * 3.4 / SIZE[0]))
    gain = 1 + rng.uniform(-0.1, 0.1)
    slope_x, slope_y = rng.uniform(0.02, 0.12) * face.light_side, rng.uniform(-0.06, 0.06)
    tint = 1 + rng.uniform(-0.03, 0.03, 3)
    light = gain + np.linspace(-slope_x, slope_x, image.width) + np.linspace(-slope_y, slope_y, image.height)[:, None]
    noise = rng.standard_normal((image.height, image.width), np.float32) * np.float32(rng.uniform(1, 4))
    pixels = np.asarray(image) * light.astype(np.float32)[:, :, None]
    pixels *= tint.astype(np.float32)
    pixels += noise[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


def draw_numbered_face(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, Image.Image]:
    """Draw face number `index` of `seed`: its attributes, uint8 (40,), and an RGB image of `size` (height, width)."""
    rng = np.random.default_rng((seed, index))
    attributes = sample_attributes(1, rng)[0]
    return attributes, draw_face(attributes, rng, size)


def draw_faces(count: int, seed: int, size: tuple[int, int] = SIZE) -> Iterator[tuple[np.ndarray, Image.Image]]:
    """Yield the attributes, uint8 (40,), and the RGB image, of `size` (height, width), of `count` faces.

    Face i depends only on `seed` and i, so faces can be drawn in any order and by any process.
    """
    return (draw_numbered_face(index, seed, size) for index in range(count))
