"""Read portable graymaps, pixmaps and floatmaps whose samples are not 8 bits: `read_samples`.

Pillow reads them one sample at a time, and reduces colors to 8 bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from facetools.images.decoders.truncation import TruncatedImageError, accepts_truncated
from facetools.images.reading import ImageError

_BLANK = rb"(?:\s|#[^\n\r]*[\n\r])+"
_HEADER = re.compile(
    rb"P([2356])" + _BLANK + rb"(\d{1,10})" + _BLANK + rb"(\d{1,10})" + _BLANK + rb"(\d{1,10})(?:#[^\n\r]*[\n\r]|\s)"
)
_FLOAT_HEADER = re.compile(rb"P([fF])\s+(\d{1,10})\s+(\d{1,10})\s+(-?[0-9.eE+-]+)\s")


@dataclass(frozen=True)
class Netpbm:
    """The header of a file, and where its samples start."""

    width: int
    height: int
    channels: int
    #: The largest possible sample; None for floating-point numbers.
    white: int | None
    #: The type of binary samples; None if they are text.
    dtype: np.dtype | None
    start: int

    @property
    def declares_range(self) -> bool:
        """Whether the file declares its range: 65535 is also what programs write for samples of 16 bits in general."""
        return self.white is not None and self.white != 65535


def parse_header(data: bytes) -> Netpbm | None:
    """Read the header of a file; None if Pillow should read it."""
    if header := _FLOAT_HEADER.match(data):
        byte_order = "<" if header[4].startswith(b"-") else ">"
        channels = 3 if header[1] == b"F" else 1
        return Netpbm(int(header[2]), int(header[3]), channels, None, np.dtype(f"{byte_order}f4"), header.end())
    header = _HEADER.match(data)
    if header is None:
        return None
    white, is_text = int(header[4]), header[1] in (b"2", b"3")
    if not 0 < white < 65536 or (white == 255 and not is_text):
        return None
    dtype = None if is_text else np.dtype(">u2" if white > 255 else "u1")
    return Netpbm(int(header[2]), int(header[3]), 3 if header[1] in (b"3", b"6") else 1, white, dtype, header.end())


def read_samples(image: Netpbm, data: bytes) -> np.ndarray:
    """Read the samples, (height, width, channels); raises TruncatedImageError, or ImageError.

    Missing samples are 0 if this thread accepts truncated images.
    """
    count = image.width * image.height * image.channels
    if image.dtype is None:
        samples = _read_text(data[image.start :], count)
    else:
        content = data[image.start : image.start + count * image.dtype.itemsize]
        samples = np.frombuffer(content[: len(content) // image.dtype.itemsize * image.dtype.itemsize], image.dtype)
    if not samples.size:
        raise ImageError("it ends before its pixels")
    if samples.size < count:
        if not accepts_truncated():
            raise TruncatedImageError
        samples = np.concatenate([samples, np.zeros(count - samples.size, samples.dtype)])
    pixels = samples.reshape(image.height, image.width, image.channels)
    if image.white is None:
        return pixels[::-1]  # floatmaps start with the bottom row
    return np.minimum(pixels, image.white) if image.declares_range else pixels


def _read_text(text: bytes, count: int) -> np.ndarray:
    words = re.sub(rb"#[^\n\r]*", b"", text).split(maxsplit=count)[:count]
    try:
        return np.array(words).astype(np.uint16) if words else np.zeros(0, np.uint16)
    except (ValueError, OverflowError):
        raise ImageError("it is damaged: a sample is not a number up to 65535") from None
