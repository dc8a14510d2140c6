"""Encode images and write them to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facetools.runtime import files


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 RGB (height, width, 3) to its luma (ITU-R BT.601), uint8 (height, width, 1)."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def encode_image(pixels: np.ndarray, suffix: str) -> bytes:
    """Encode uint8 pixels (height, width, 1 or 3) as the content of a file with this suffix, `.png` or `.jpg`."""
    import imageio.v3 as imageio  # Takes 0.1 s, and programs that only read images do not need it.

    quality: dict[str, Any] = {"quality": 95} if suffix == ".jpg" else {}
    squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return imageio.imwrite("<bytes>", squeezed, extension=suffix, **quality)


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels (height, width, 1 or 3) to the image file `path` atomically."""
    files.write_atomically(path, encode_image(pixels, path.suffix.lower()))
