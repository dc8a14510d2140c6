"""Thumbnails, and contact sheets that show rows of images in one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def shrink_image(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Shrink uint8 (height, width, 3) to at most `max_side` pixels per side, keeping the aspect ratio. Smaller images
    stay unchanged."""
    image = Image.fromarray(pixels)
    image.thumbnail((max_side, max_side))
    return np.asarray(image)


def make_contact_sheet(rows: Sequence[Sequence[np.ndarray]], height: int, gap: int = 4) -> np.ndarray:
    """Arrange rows of images, uint8 (h, w, 3), on a white sheet, uint8 (H, W, 3).

    Images are scaled to `height` pixels; `gap` pixels separate them from each other and from the border.
    """
    scaled_rows = [[_scale_to_height(image, height) for image in row] for row in rows]
    width = max(sum(image.width + gap for image in row) for row in scaled_rows) + gap
    sheet = Image.new("RGB", (width, gap + len(rows) * (height + gap)), "white")
    for row, images in enumerate(scaled_rows):
        left = gap
        for image in images:
            sheet.paste(image, (left, gap + row * (height + gap)))
            left += image.width + gap
    return np.asarray(sheet)


def _scale_to_height(pixels: np.ndarray, height: int) -> Image.Image:
    width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
    return Image.fromarray(pixels).resize((width, height))
