"""Convert images to sRGB by their embedded ICC profiles, as browsers do: `convert_to_srgb`.

A profile that is damaged, or that does not suit the image, counts as absent.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

#: The largest profile that is used, in bytes. Profiles of printers take one to three megabytes.
MAX_PROFILE_BYTES = 2**23

#: Conversions that are kept for the next images.
_CACHED_CONVERSIONS = 32

#: The color space in the header of a profile, for each mode of an image.
_COLOR_SPACES = {"RGB": b"RGB ", "L": b"GRAY", "CMYK": b"CMYK"}
_SPACE_START, _SPACE_END, _HEADER_BYTES = 16, 20, 128

#: Flags of Little CMS; old versions of Pillow have no names for them.
_BLACK_POINT_COMPENSATION, _NO_OPTIMIZATION = 0x2000, 0x0100

#: A profile that changes no color by more than this many levels (of 255) is sRGB.
_SRGB_TOLERANCE = 2

_Conversion = Callable[[Image.Image], Image.Image]

#: Conversions by profile and mode, the most recently used last; None if the profile changes nothing.
_conversions: OrderedDict[tuple[bytes, str], _Conversion | None] = OrderedDict()
_lock = threading.Lock()


def convert_to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image, of mode RGB, L or CMYK, to RGB in sRGB by its profile.

    The intent is relative colorimetric, with black point compensation.
    """
    conversion = _find_conversion(profile, image.mode)
    return image.convert("RGB") if conversion is None else conversion(image)


def changes_colors(profile: bytes, mode: str) -> bool:
    """Whether `convert_to_srgb` changes the colors of images of `mode` with this profile."""
    return _find_conversion(profile, mode) is not None


def _find_conversion(profile: bytes, mode: str) -> _Conversion | None:
    if not _HEADER_BYTES < len(profile) <= MAX_PROFILE_BYTES:
        return None
    if profile[_SPACE_START:_SPACE_END] != _COLOR_SPACES.get(mode):
        return None
    key = profile, mode
    with _lock:
        if key in _conversions:
            _conversions.move_to_end(key)
        else:
            _conversions[key] = _build_conversion(profile, mode)
            if len(_conversions) > _CACHED_CONVERSIONS:
                _conversions.popitem(last=False)
        return _conversions[key]


def _build_conversion(profile: bytes, mode: str) -> _Conversion | None:
    from PIL import ImageCms

    flags: Any = _BLACK_POINT_COMPENSATION
    if mode == "L":
        flags |= _NO_OPTIMIZATION  # otherwise the curve is approximated, and dark levels are wrong
    try:
        source, target = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
        convert: _Conversion = ImageCms.buildTransform(source, target, mode, "RGB", intent, flags).apply
        if mode == "CMYK":
            return convert
        colors = _sample_colors(mode)
        converted = np.asarray(convert(colors))
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):  # no Little CMS; a damaged profile
        return None
    if np.abs(converted.astype(int) - np.asarray(colors.convert("RGB"))).max() <= _SRGB_TOLERANCE:
        return None
    if mode == "L":
        table = converted.reshape(256, 3).T.reshape(-1).tolist()
        return lambda image: image.convert("RGB").point(table)
    return convert


@cache
def _sample_colors(mode: str) -> Image.Image:
    """All gray levels, or colors from all over the space of RGB."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3))
