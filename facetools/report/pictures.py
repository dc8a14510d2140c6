"""Pictures of the report, uint8 (h, w, 3): decoded, shrunk, and encoded to stand in a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def load_pictures(encoded: bytes) -> np.ndarray:
    """The picture in an encoded file; OSError where it is none."""
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"))


def shrink_picture(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture uint8 (h, w, 3) made smaller, never larger, until its longer side is `side`."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def data_url(pixels: np.ndarray, quality: int = 82) -> str:
    """A picture uint8 (h, w, 3) as a JPEG that stands in a page."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
