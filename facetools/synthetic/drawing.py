"""Faces, drawn back to front and then photographed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageFilter

from facetools.synthetic import attire, features, hair
from facetools.synthetic.canvas import SIZE, Canvas
from facetools.synthetic.face import Face
from facetools.synthetic.sampling import sample_attributes

Part = Callable[[Canvas, Face], None]

#: Back to front: each part, and how far it lies in front of the axis of the head (None: it does not move with it).
_PARTS: tuple[tuple[Part, float | None], ...] = (
    (attire.scenery, None),
    (hair.behind, -0.5),
    (attire.body, None),
    (attire.necklace, None),
    (attire.necktie, None),
    (features.double_chin, 0.3),
    (features.ears, -0.2),
    (features.head, 0),
    (hair.stubble, 0.3),
    (features.cheeks, 0.8),
    (features.age_lines, 0.8),
    (features.eyes, 1),
    (hair.beard, 0.4),
    (features.mouth, 1),
    (features.nose, 1.4),
    (hair.in_front, 0.3),
    (features.eyebrows, 1),
    (attire.hat, 0.3),
    (attire.eyeglasses, 1),
    (attire.earrings, 0),
)


def draw_face(attributes: np.ndarray, rng: np.random.Generator, size: tuple[int, int] = SIZE) -> Image.Image:
    """A face with `attributes`, uint8 0/1 (40,) in the order of CELEBA40, as an RGB image of `size` (height, width).

    Every attribute has a visible sign, as in a caricature. All that is not an attribute comes from `rng`: pose, scale,
    skin, colours, light, background and noise.
    """
    face = Face.of(attributes, rng)
    canvas = Canvas(size, *face.backdrop)
    for part, depth in _PARTS:
        if depth is None:
            canvas.place(face.zoom, 0, face.shift, 0)
        else:
            canvas.place(face.zoom, face.roll, face.shift, face.turn * depth)
        part(canvas, face)
    return _photograph(canvas, face, rng)


def _photograph(canvas: Canvas, face: Face, rng: np.random.Generator) -> Image.Image:
    """What a camera makes of the drawing: exposure, a slope and a tint of light, blur and noise."""
    image = canvas.image.reduce(canvas.SCALE)
    if "Blurry" in face.shows:
        image = image.filter(ImageFilter.GaussianBlur(image.height * 3.4 / SIZE[0]))
    gain, slope, fall = 1 + rng.uniform(-0.1, 0.1), rng.uniform(0.02, 0.12) * face.light, rng.uniform(-0.06, 0.06)
    tint = 1 + rng.uniform(-0.03, 0.03, 3)
    light = gain + np.linspace(-slope, slope, image.width) + np.linspace(-fall, fall, image.height)[:, None]
    noise = rng.standard_normal((image.height, image.width), np.float32) * np.float32(rng.uniform(1, 4))
    pixels = np.asarray(image) * light.astype(np.float32)[:, :, None]
    pixels *= tint.astype(np.float32)
    pixels += noise[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


def numbered_face(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, Image.Image]:
    """Face `index` of `seed`: its attributes, uint8 (40,), and an RGB image of `size` (height, width)."""
    rng = np.random.default_rng((seed, index))
    attributes = sample_attributes(1, rng)[0]
    return attributes, draw_face(attributes, rng, size)


def draw_faces(count: int, seed: int, size: tuple[int, int] = SIZE) -> Iterator[tuple[np.ndarray, Image.Image]]:
    """`count` faces: their attributes, uint8 (40,), and RGB images of `size` (height, width).

    Face i depends on `seed` and i alone, so any subset can be drawn in any order and process.
    """
    return (numbered_face(index, seed, size) for index in range(count))
