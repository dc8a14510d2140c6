"""Contact sheets: rows of images as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image


def shrink_image(pixels: np.ndarray, side: int) -> np.ndarray:
    """`pixels`, uint8 (height, width, 3), made smaller where a side is longer than `side`, in proportion."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    return np.asarray(image)


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], height: int, gap: int = 4) -> np.ndarray:
    """Rows of images, uint8 (h, w, 3) each, at `height` pixels on white, as one image, uint8 (H, W, 3)."""
    scaled = [
        [
            Image.fromarray(image).resize((max(1, round(image.shape[1] * height / image.shape[0])), height))
            for image in row
        ]
        for row in rows
    ]
    width = max(sum(image.width + gap for image in row) for row in scaled) + gap
    sheet = Image.new("RGB", (width, gap + len(rows) * (height + gap)), "white")
    for number, row in enumerate(scaled):
        left = gap
        for image in row:
            sheet.paste(image, (left, gap + number * (height + gap)))
            left += image.width + gap
    return np.asarray(sheet)
