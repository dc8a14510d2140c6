"""Encode images and write them to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facetools.runtime import files


def to_gray(pixels: np.ndarray) -> np.ndarray:
    """The luma (ITU-R 601) of uint8 RGB (height, width, 3), uint8 (height, width, 1)."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def encode_image(pixels: np.ndarray, suffix: str) -> bytes:
    """uint8 pixels (height, width, 1 or 3) as the content of a file called `suffix`, `.png` or `.jpg`."""
    import imageio.v3 as imageio  # which takes a tenth of a second, and reads nothing here

    quality: dict[str, Any] = {"quality": 95} if suffix == ".jpg" else {}
    squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return imageio.imwrite("<bytes>", squeezed, extension=suffix, **quality)


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Writes uint8 pixels (height, width, 1 or 3) to the image file `path`, whole or not at all."""
    files.write_atomically(path, encode_image(pixels, path.suffix.lower()))
