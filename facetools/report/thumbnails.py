"""Pictures for the report, uint8 (h, w, 3): shrink them, and encode them as data URLs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def shrink_picture(pixels: np.ndarray, side: int) -> np.ndarray:
    """Shrink a picture uint8 (h, w, 3) so that its longer side is at most `side`; smaller pictures are unchanged."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def jpeg_data_url(pixels: np.ndarray, quality: int = 82) -> str:
    """Encode a picture uint8 (h, w, 3) as a JPEG data URL."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
