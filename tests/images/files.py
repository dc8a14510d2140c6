"""Image files byte by byte: EXIF data, PNG chunks, TIFF files of any sample type, and ICC profiles."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

Tag = tuple[int, int, int, bytes]


def tiff_directory(tags: Sequence[Tag], start: int, order: str = "<") -> bytes:
    """A directory of TIFF at position `start`: tags are (number, type, count, bytes of the values)."""
    entries, values = struct.pack(f"{order}H", len(tags)), b""
    position = start + 2 + 12 * len(tags) + 4
    for number, type_, count, content in tags:
        entries += struct.pack(f"{order}HHL", number, type_, count)
        if len(content) <= 4:
            entries += content.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}L", position + len(values))
            values += content + bytes(len(content) % 2)
    return entries + bytes(4) + values


def exif(*tags: Tag, order: str = "<") -> bytes:
    """EXIF data with its header."""
    header = (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08")[order == ">"]
    return b"Exif\0\0" + header + tiff_directory(tags, 8, order)


def orientation(value: int, type_: int = 3) -> Tag:
    """The orientation tag as a short, or as a byte (1) or long (4)."""
    return 0x0112, type_, 1, struct.pack({1: "<B", 3: "<H", 4: "<L"}[type_], value)


#: EXIF data, and the orientation that it means.
EXIF = {
    "upright": (exif(orientation(1)), 1),
    "turned": (exif(orientation(6)), 6),
    "big-endian": (exif((0x0112, 3, 1, b"\0\6"), order=">"), 6),
    "doubled header": (b"Exif\0\0" + exif(orientation(6)), 6),
    "byte": (exif(orientation(6, 1)), 6),
    "long": (exif(orientation(6, 4)), 6),
    "two values": (exif((0x0112, 3, 2, struct.pack("<HH", 6, 6))), 6),
    "fraction": (exif((0x0112, 5, 1, struct.pack("<LL", 6, 1))), 6),
    "fraction of 0": (exif((0x0112, 5, 1, struct.pack("<LL", 6, 0))), 1),
    "NaN": (exif((0x0112, 11, 1, struct.pack("<f", float("nan")))), 1),
    "half": (exif((0x0112, 11, 1, struct.pack("<f", 6.5))), 1),
    "text": (exif((0x0112, 2, 2, b"6\0")), 1),
    "undefined": (exif((0x0112, 7, 1, b"\6")), 1),
    "unknown type": (exif((0x0112, 99, 1, b"\6")), 1),
    "0": (exif(orientation(0)), 1),
    "9": (exif(orientation(9)), 1),
    "65535": (exif(orientation(65535)), 1),
    "no values": (exif((0x0112, 3, 0, b"")), 1),
    "billions of values": (exif((0x0112, 3, 2**31, b"")), 1),
    "signed fraction of 0 before": (exif((0x9204, 10, 1, struct.pack("<ll", -2, 0)), orientation(6)), 6),
    "text that is no UTF-8": (exif((0x0131, 2, 6, b"\xff\xfe\xe9\xe8\x80\0"), orientation(6)), 6),
    "wrong offset before": (exif((0x0131, 2, 400, b"")[:3] + (b"\xff" * 400,), orientation(6))[:40], 6),
    "header alone": (b"Exif\0\0", 1),
    "rubbish": (b"Exif\0\0" + bytes(range(64)), 1),
    "only a byte order": (b"Exif\0\0II*\0", 1),
    "directory outside": (b"Exif\0\0II*\0\xff\xff\xff\x7f", 1),
    "directory of itself": (b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHLLL", 1, 0x8769, 4, 1, 8, 8), 1),
}


def insert_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """`jpeg` with a segment after its start."""
    return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def png_chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", crc)


def png_file(width: int, height: int, depth: int, color_type: int, pixels: bytes, *chunks: bytes) -> bytes:
    """A PNG whose rows, `pixels`, start with their filter; `chunks` precede the pixels."""
    header = png_chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, depth, color_type, 0, 0, 0))
    data = png_chunk(b"IDAT", zlib.compress(pixels))
    return PNG_SIGNATURE + header + b"".join(chunks) + data + png_chunk(b"IEND", b"")


def deep_png(samples: np.ndarray, *chunks: bytes) -> bytes:
    """A PNG of 16-bit samples (height, width, channels)."""
    height, width, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png_file(width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows, *chunks)


def tiff_file(
    samples: np.ndarray,
    *,
    order: str = "<",
    photometric: int | None = None,
    compression: int = 1,
    predictor: int = 1,
    planar: int = 1,
    rows: int | None = None,
    tile: tuple[int, int] | None = None,
    extra: Sequence[int] = (),
    tags: Sequence[Tag] = (),
) -> bytes:
    """A TIFF of `samples` (height, width, channels) of any type, in strips of `rows` or in tiles (height, width).

    `compression` is 1 (none) or 8 (Deflate), `predictor` 1 (none), 2 (differences) or 3 (of floating-point numbers).
    """
    height, width, channels = samples.shape
    samples = samples.astype(samples.dtype.newbyteorder(order))
    rows = rows or height
    if tile:
        tall, wide = tile
        padded = np.pad(samples, ((0, -height % tall), (0, -width % wide), (0, 0)))
        blocks = [padded[y : y + tall, x : x + wide] for y in range(0, height, tall) for x in range(0, width, wide)]
    elif planar == 2:
        blocks = [samples[y : y + rows, :, [c]] for c in range(channels) for y in range(0, height, rows)]
    else:
        blocks = [samples[y : y + rows] for y in range(0, height, rows)]
    encoded = [_predict(block, predictor) for block in blocks]
    contents = [zlib.compress(content) if compression == 8 else content for content in encoded]
    positions = (8 + np.cumsum([0, *map(len, contents)])).tolist()

    def short(number: int, *values: int) -> Tag:
        return number, 3, len(values), struct.pack(f"{order}{len(values)}H", *values)

    def long(number: int, *values: int) -> Tag:
        return number, 4, len(values), struct.pack(f"{order}{len(values)}L", *values)

    color = (2 if channels >= 3 else 1) if photometric is None else photometric
    all_tags = [
        *(long(256, width), long(257, height), short(258, *[8 * samples.dtype.itemsize] * channels)),
        *(short(259, compression), short(262, color), short(277, channels), short(284, planar), short(317, predictor)),
        short(339, *[{"u": 1, "i": 2, "f": 3}[samples.dtype.kind]] * channels),
        *((short(338, *extra),) if extra else ()),
        *((long(322, tile[1]), long(323, tile[0])) if tile else (long(278, rows),)),
        long(324 if tile else 273, *positions[:-1]),
        long(325 if tile else 279, *map(len, contents)),
        *tags,
    ]
    start = positions[-1] + positions[-1] % 2
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", start)
    return (header + b"".join(contents)).ljust(start, b"\0") + tiff_directory(sorted(all_tags), start, order)


def _predict(block: np.ndarray, predictor: int) -> bytes:
    size, channels = block.dtype.itemsize, block.shape[2]
    if predictor == 2:
        values = np.ascontiguousarray(block).view(f"{block.dtype.byteorder}u{size}".replace("|", ""))
        native = values.astype(f"u{size}")
        differences = np.diff(native, axis=1, prepend=np.zeros_like(native[:, :1]))
        return differences.astype(values.dtype).tobytes()
    if predictor == 3:
        content = b""
        for row in block:
            planes = np.frombuffer(row.astype(row.dtype.newbyteorder(">")).tobytes(), np.uint8).reshape(-1, size).T
            values = planes.reshape(-1, channels)
            content += np.diff(values, axis=0, prepend=np.zeros((1, channels), np.uint8)).tobytes()
        return content
    return block.tobytes()


#: Red, green and blue of Display P3 as columns, X, Y and Z relative to D50.
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])


def icc_profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 for the color space `space`, b"RGB ", b"GRAY" or b"CMYK"."""
    white = _xyz(0.9642, 1.0, 0.8249)
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">L", 5) + b"test\0" + bytes(78), b"wtpt": white, **tags}
    table, content = struct.pack(">L", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">LL", start + len(content), len(value))
        content += value + bytes(-len(value) % 4)
    size = 128 + len(table) + len(content)
    header = struct.pack(">L4x", size) + b"\x02\x40\0\0" + (b"prtr" if space == b"CMYK" else b"mntr") + space + pcs
    header += bytes(12) + b"acsp" + bytes(28) + white[8:]
    return header.ljust(128, b"\0") + table + content


def rgb_profile(primaries: np.ndarray = DISPLAY_P3, gamma: float = 2.2) -> bytes:
    """A profile of the primaries, the columns of a matrix (3, 3), and a power function."""
    columns = {name: _xyz(*primaries[:, n]) for n, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return icc_profile(b"RGB ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma)))


def gray_profile(gamma: float) -> bytes:
    return icc_profile(b"GRAY", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A profile in which cyan ink is black, and the other inks are invisible."""
    identity = bytes(range(256))
    nodes = b"".join(bytes([255 if cyan == 0 else 0, 128, 128]) for cyan in (0, 1) for _ in range(8))
    head = struct.pack(">BBBx9l", 4, 3, 2, *(int(n in (0, 4, 8)) * 65536 for n in range(9)))
    table = b"mft1" + bytes(4) + head + identity * 4 + nodes + identity * 3
    return icc_profile(b"CMYK", {b"A2B0": table, b"A2B1": table}, b"Lab ")


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3l", *(round(value * 65536) for value in values))


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">LH", 1, round(gamma * 256))
