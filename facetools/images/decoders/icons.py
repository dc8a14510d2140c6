"""Find the largest picture of a Windows icon, before Pillow decodes it: an icon contains PNG files or bitmaps."""

from __future__ import annotations

import struct

from facetools.images.decoders import png
from facetools.images.reading import ImageError

SIGNATURE = b"\0\0\1\0"

_HEADER, _ENTRY = struct.Struct("<HHH"), struct.Struct("<BBBxHHLL")


def find_png(data: bytes) -> bytes | None:
    """The PNG file that is the largest picture of an icon; None if that is a bitmap.

    Raises ImageError if the bitmap has another size than the icon claims.
    """
    pictures = []
    for number in range(_HEADER.unpack_from(data)[2] if len(data) >= _HEADER.size else 0):
        start = _HEADER.size + number * _ENTRY.size
        if start + _ENTRY.size > len(data):
            break
        width, height, colors, _, bits, size, position = _ENTRY.unpack_from(data, start)
        width, height = width or 256, height or 256  # 256 does not fit into a byte
        pictures.append(
            (-width * height, bits or colors.bit_length() - 1 or 256, number, width, height, size, position)
        )
    if not pictures:
        raise ImageError("the icon is damaged: it has no pictures")
    *_, width, height, size, position = min(pictures)
    picture = data[position : position + size]
    if picture.startswith(png.SIGNATURE):
        return picture
    if len(picture) < 16 or struct.unpack_from("<LL", picture, 4) != (width, 2 * height):  # colors, then a mask
        raise ImageError("the icon is damaged: the size of its picture is wrong")
    return None
