"""The header of JPEG 2000 images, for a check that Pillow does not make.

OpenJPEG allocates some kilobytes per tile before it reads any, so a file of a few bytes could take gigabytes.
"""

from __future__ import annotations

import struct

#: The first two markers of a codestream: start, and image and tile size.
_START = b"\xff\x4f\xff\x51"

#: The first box of a JP2 file, which holds a codestream.
_FILE_TYPE = b"jP  "

#: Behind the markers and four bytes: width and height of the reference grid, offset of the image, size of a tile,
#: offset of the first tile.
_SIZES = struct.Struct(">8L")

#: The bytes of the shortest tile: its two markers.
_MIN_TILE_BYTES = 14


def has_too_many_tiles(data: bytes) -> bool:
    """Whether the header of a JPEG 2000 image declares more tiles than `data` can hold.

    Source: ISO/IEC 15444-1, annex A.5.1.
    """
    if not data.startswith(_START) and data[4:8] != _FILE_TYPE:
        return False
    start = data.find(_START)
    try:
        width, height, _, _, tile_width, tile_height, left, top = _SIZES.unpack_from(data, start + 8)
    except struct.error:
        return False
    if start < 0 or not tile_width or not tile_height:
        return False
    columns, rows = -(-(width - left) // tile_width), -(-(height - top) // tile_height)
    return columns * rows * _MIN_TILE_BYTES > len(data)
