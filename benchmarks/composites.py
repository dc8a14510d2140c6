"""Pictures with known faces: CelebA's images pasted at random positions, sizes and angles into random backgrounds.

A picture has one to four faces, 30 to 400 pixels high and tilted by up to 30 degrees. Half of the pictures are blurred
and half are darkened; all are JPEGs of quality 30 to 95. The true alignment points of a face are those of CelebA's
template, mapped into the picture.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from facetools.images.decoding import decode_image
from facetools.photos.alignment import CROP_SIZE, TEMPLATE, apply_transforms, crop_face, invert_transforms

#: The height of a face in CelebA's images, from the forehead to the chin, in pixels of CROP_SIZE.
FACE_HEIGHT = 112

#: The corners of CelebA's images.
CORNERS = np.array([(0, 0), (CROP_SIZE[1], 0), CROP_SIZE[::-1], (0, CROP_SIZE[0])], float)

HEIGHTS, ANGLES, SIDES, QUALITIES = (30, 400), (-30, 30), (640, 1281), (30, 96)


@dataclass(frozen=True)
class PastedFace:
    """A face in a picture.

    name: the image of CelebA.
    height: in pixels of the picture.
    transform: float64 (2, 3), from the picture to CelebA's image of CROP_SIZE.
    """

    name: str
    height: float
    transform: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """The alignment points in the picture, float64 (3, 2)."""
        return apply_transforms(invert_transforms(self.transform[None]), TEMPLATE[None])[0]

    @property
    def tilt(self) -> float:
        """The angle from upright in either direction, in degrees."""
        return float(np.degrees(abs(np.arctan2(self.transform[1, 0], self.transform[0, 0]))))


@dataclass(frozen=True)
class Picture:
    """A composed picture.

    jpeg: the content of its file.
    blur: the standard deviation of the Gaussian blur in pixels, 0 if there is none.
    brightness: the factor that darkened it, 1 if none did.
    quality: that of the JPEG.
    """

    jpeg: bytes
    faces: list[PastedFace]
    blur: float
    brightness: float
    quality: int


class Composer:
    """Composes pictures of the images in a CelebA folder. The same number gives the same picture."""

    def __init__(self, celeba: Path, seed: int) -> None:
        self._archive = zipfile.ZipFile(celeba / "img_align_celeba.zip")
        self.names = sorted(name for name in self._archive.namelist() if name.endswith(".jpg"))
        self._seed = seed

    def read(self, name: str) -> bytes:
        """The content of the file of an image."""
        return self._archive.read(name)

    def compose(self, number: int) -> Picture:
        rng = np.random.default_rng([self._seed, number])
        width, height = (int(side) for side in rng.integers(*SIDES, 2))
        pixels = _background(rng, height, width)
        faces: list[PastedFace] = []
        taken: list[np.ndarray] = []
        for _ in range(int(rng.integers(1, 5))):
            name = self.names[int(rng.integers(len(self.names)))]
            face = _place(rng, name, height, width, taken)
            if face is not None:
                _paste(pixels, decode_image(self.read(name)), face)
                faces.append(face)
        is_blurred, is_dark = (bool(value) for value in rng.random(2) < 0.5)
        blur = rng.uniform(0, 1.5) if is_blurred else 0.0
        brightness = rng.uniform(0.25, 1) if is_dark else 1.0
        quality = int(rng.integers(*QUALITIES))
        picture = Image.fromarray(pixels)
        if blur:
            picture = picture.filter(ImageFilter.GaussianBlur(blur))
        if brightness < 1:
            picture = picture.point(lambda value: round(value * brightness))
        jpeg = io.BytesIO()
        picture.save(jpeg, "JPEG", quality=quality)
        return Picture(jpeg.getvalue(), faces, blur, brightness, quality)


def _background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Colored clouds with details of four sizes, computed at a quarter of the resolution."""
    small = (width // 4, height // 4)
    pixels = np.zeros((*small[::-1], 3))
    for cells in (4, 9, 25, 80):
        rows, columns = (max(2, side * cells // 1000 + 2) for side in (height, width))
        for channel in range(3):
            noise = Image.fromarray(rng.normal(size=(rows, columns)).astype(np.float32))
            pixels[:, :, channel] += np.asarray(noise.resize(small)) * 2 / np.sqrt(cells)
    picture = Image.fromarray((128 + 40 * pixels).clip(0, 255).astype(np.uint8))
    return np.array(picture.resize((width, height)))


def _place(rng: np.random.Generator, name: str, height: int, width: int, taken: list[np.ndarray]) -> PastedFace | None:
    """A random place for an image, clear of the boxes in `taken`, to which its own is added; None if there is none."""
    for _ in range(20):
        face_height = np.exp(rng.uniform(*np.log(HEIGHTS)))
        angle = np.deg2rad(rng.uniform(*ANGLES))
        rotation = (
            face_height / FACE_HEIGHT * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
        )
        outline = CORNERS @ rotation.T
        start, size = outline.min(axis=0), np.ptp(outline, axis=0)
        room = np.array((width, height)) - 4 - size
        if (room <= 0).any():
            continue
        offset = 2 + rng.random(2) * room - start
        box = np.concatenate((offset + start, offset + start + size))
        if any((np.minimum(box[2:], other[2:]) > np.maximum(box[:2], other[:2])).all() for other in taken):
            continue
        taken.append(box)
        to_picture = np.concatenate((rotation, offset[:, None]), axis=1)
        return PastedFace(name, float(face_height), invert_transforms(to_picture[None])[0])
    return None


def _paste(pixels: np.ndarray, image: np.ndarray, face: PastedFace) -> None:
    """Paste an image of CelebA, of any size, with soft edges at the place of `face`."""
    to_picture = invert_transforms(face.transform[None])
    outline = apply_transforms(to_picture, CORNERS[None])[0]
    left, top = np.floor(outline.min(axis=0)).astype(int)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int)
    # From the pixels of the image to the part of the picture that shows it.
    transform = to_picture[0] @ np.diag([CROP_SIZE[1] / image.shape[1], CROP_SIZE[0] / image.shape[0], 1])
    transform[:, 2] -= (left, top)
    edge = max(1, image.shape[1] // 30)
    mask = np.zeros((*image.shape[:2], 3), np.uint8)
    mask[edge:-edge, edge:-edge] = 255
    mask = np.asarray(Image.fromarray(mask).filter(ImageFilter.GaussianBlur(edge / 2)))
    part = pixels[top:bottom, left:right]
    share = crop_face(mask, transform, part.shape[:2]) / 255
    part[:] = np.rint(share * crop_face(image, transform, part.shape[:2]) + (1 - share) * part)
