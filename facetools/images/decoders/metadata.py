"""Metadata that decides how the pixels of an image are shown: the orientation in EXIF or XMP, and the color profile.

Metadata is often damaged while the pixels are intact. What cannot be read counts as absent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from facetools.images.decoders import tiff

_EXIF_HEADER = b"Exif\0\0"
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


@dataclass(frozen=True)
class Metadata:
    """EXIF data, with or without its header, XMP data and an ICC profile, each empty if there is none."""

    exif: bytes = b""
    xmp: bytes = b""
    icc_profile: bytes = b""

    @property
    def orientation(self) -> int:
        """The orientation, 1 (upright) to 8. EXIF takes precedence over XMP, as in Pillow."""
        if self.exif:
            directory = tiff.Directory(_remove_headers(self.exif))
            if tiff.ORIENTATION in directory:
                orientation = directory.integer(tiff.ORIENTATION, 1)
                return orientation if 1 <= orientation <= 8 else 1
        match = _XMP_ORIENTATION.search(self.xmp) if self.xmp else None
        return int(match[1]) if match else 1


def _remove_headers(exif: bytes) -> bytes:
    # Some cameras write the header twice.
    return exif.removeprefix(_EXIF_HEADER).removeprefix(_EXIF_HEADER)


NO_METADATA = Metadata()
