"""Truncated images: whether this thread accepts them, and the error if not.

Pillow has one setting for the whole process. Here each thread has its own, because threads decode at the same time.
"""

from __future__ import annotations

import threading

from PIL import ImageFile

from facetools.images.reading import ImageError


class TruncatedImageError(ImageError):
    """The end of an image is missing, but some of its pixels may be there."""

    def __init__(self) -> None:
        super().__init__("it is truncated; --truncated accepts it")


class _LoadTruncatedImages(threading.local):
    """Stands for the setting LOAD_TRUNCATED_IMAGES of Pillow, which any code tests by its truth value."""

    def __init__(self, is_enabled: bool) -> None:
        self.is_enabled = is_enabled

    def __bool__(self) -> bool:
        return self.is_enabled


_setting = _LoadTruncatedImages(bool(ImageFile.LOAD_TRUNCATED_IMAGES))
ImageFile.LOAD_TRUNCATED_IMAGES = _setting  # type: ignore[assignment]


def accept_truncated(is_enabled: bool) -> bool:
    """Decide whether this thread decodes truncated images; returns what it did before."""
    before = _setting.is_enabled
    _setting.is_enabled = is_enabled
    return before


def accepts_truncated() -> bool:
    """Whether this thread decodes truncated images."""
    return _setting.is_enabled
