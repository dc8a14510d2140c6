"""Encode images as the content of files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

#: Pillow's format of each suffix of an image file that can be written.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 RGB (height, width, 3) to its luma (ITU-R BT.601), uint8 (height, width, 1)."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def encode_image(pixels: np.ndarray, suffix: str) -> bytes:
    """Encode uint8 pixels (height, width, 1 or 3) as the content of a file with this suffix, one of FORMATS.

    Raises ValueError for other suffixes.
    """
    if suffix not in FORMATS:
        raise ValueError(f"images are written as {', '.join(FORMATS)}, not as '{suffix}'")
    squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    stream = io.BytesIO()
    Image.fromarray(squeezed).save(stream, FORMATS[suffix], quality=95)
    return stream.getvalue()
