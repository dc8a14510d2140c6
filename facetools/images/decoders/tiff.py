"""Read TIFF files: their tags, the tags that pixels depend on, and samples of more than 8 bits.

`Directory` reads tags and tolerates damage; EXIF data has the same structure. `open_file` drops all tags that no pixel
depends on, so that Pillow does not stumble over them. `read_samples` reads integers and floating-point numbers of 16,
32 and 64 bits, which Pillow reduces to 8 bits, or does not read, if there are several per pixel.
"""

from __future__ import annotations

import ctypes
import io
import math
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import TiffImagePlugin, _imaging

from facetools.images.reading import ImageError

#: Byte order and whether it is a BigTIFF, for each start of a file. Two of them are wrong, but cameras write them.
_HEADERS = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II\0*": ("<", False),
    b"MM*\0": (">", False),
    b"II+\0": ("<", True),
    b"MM\0+": (">", True),
}
SIGNATURES = tuple(_HEADERS)

#: The format of the numeric types for struct. Text (2) and undefined bytes (7) are no numbers.
_NUMBERS = {1: "B", 3: "H", 4: "L", 5: "LL", 6: "b", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d", 13: "L"}
_NUMBERS |= {16: "Q", 17: "q", 18: "Q"}
_TYPE_BYTES = {2: 1, 7: 1} | {number: struct.calcsize(f"<{format}") for number, format in _NUMBERS.items()}
_SHORT, _LONG, _LONG8_TYPES = 3, 4, (16, 18)

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _PREDICTOR, _COLOR_MAP, _TILE_WIDTH = 277, 278, 284, 317, 320, 322
_MAX_VALUE, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _FLOAT_MAX_VALUE = 281, 338, 339, 341
ORIENTATION, XMP, ICC_PROFILE = 274, 700, 34675

#: Tags that pixels depend on and that have one value, and those that have any number of values.
_SINGLE_TAGS = (
    *(_WIDTH, _HEIGHT, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, 292, 293),
    *(_PREDICTOR, _TILE_WIDTH, 323, 332, 512, 513, 514, 515, 531),
)
_ARRAY_TAGS = (_BITS, 273, 279, _COLOR_MAP, 324, 325, _EXTRA_SAMPLES, _SAMPLE_FORMAT, 347, 519, 520, 521, 529, 530, 532)

#: The most samples per pixel that Pillow reads; it logs an error if there are more.
_MAX_SAMPLES = 6

#: Compressions of bytes, which do not depend on the type of the samples: none, LZW, Deflate, PackBits, LZMA, Zstandard.
_BYTE_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5


class Directory:
    """The tags of the first image of a TIFF file or of EXIF data. What cannot be read is absent."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.byte_order, self._is_big = _HEADERS.get(data[:4], ("<", False))
        #: Type, number of values and position of the values of each tag. The first of equal tags counts, as in Pillow.
        self._entries: dict[int, tuple[int, int, int]] = {}
        if data[:4] in _HEADERS:
            self._read_entries()

    def _read_entries(self) -> None:
        # A directory: the number of entries, then the entries: tag, type, count, and the values or their position.
        offset_format, count_format, entry_format = ("Q", "Q", "HHQQ") if self._is_big else ("L", "H", "HHLL")
        read = self._unpack
        entry_size = struct.calcsize(f"<{entry_format}")
        inline_bytes = struct.calcsize(f"<{offset_format}")
        try:
            (start,) = read(offset_format, 8 if self._is_big else 4)
            (count,) = read(count_format, start)
            start += struct.calcsize(f"<{count_format}")
            for position in range(start, min(start + count * entry_size, len(self._data)), entry_size):
                tag, type_, values, value_position = read(entry_format, position)
                if values * _TYPE_BYTES.get(type_, 0) <= inline_bytes:
                    value_position = position + entry_size - inline_bytes
                self._entries.setdefault(tag, (type_, values, value_position))
        except struct.error:  # the data ends here
            return

    def _unpack(self, format: str, position: int) -> tuple[int, ...]:
        if position > len(self._data):
            raise struct.error
        return struct.unpack_from(f"{self.byte_order}{format}", self._data, position)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image; 0 if they are unknown."""
        return self.integer(_WIDTH), self.integer(_HEIGHT)

    @property
    def bits(self) -> int:
        """The bits of the first sample of a pixel."""
        return self.integer(_BITS, 1)

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries

    def content(self, tag: int) -> bytes:
        """The bytes of the values of a tag; empty if it is absent or its values are not in the file."""
        type_, count, position = self._entries.get(tag, (0, 0, 0))
        size = count * _TYPE_BYTES.get(type_, 0)
        return self._data[position : position + size] if position + size <= len(self._data) else b""

    def numbers(self, tag: int) -> tuple[float, ...]:
        """The values of a tag; empty if it is absent or does not hold numbers."""
        content, format = self.content(tag), _NUMBERS.get(self._entries.get(tag, (0,))[0], "")
        if not content or not format:
            return ()
        values = struct.unpack(
            f"{self.byte_order}{format[0] * (len(content) // struct.calcsize(f'<{format[0]}'))}", content
        )
        if len(format) == 2:  # a fraction
            return tuple(a / b if b else math.nan for a, b in zip(values[::2], values[1::2], strict=True))
        return values

    def integer(self, tag: int, default: int = 0) -> int:
        """The first value of a tag that holds whole numbers, otherwise `default`."""
        first = next(iter(self.numbers(tag)), default)
        return int(first) if math.isfinite(first) and first == int(first) else default

    def integers(self, tag: int) -> tuple[int, ...]:
        """The values of a tag that holds whole numbers, otherwise none."""
        return tuple(value for value in self.numbers(tag) if isinstance(value, int))

    def write(self, changes: dict[int, int | None] | None = None) -> bytes:
        """The file with a new directory, which holds only the tags that pixels depend on. It is no BigTIFF.

        `changes` sets tags to other values; None drops a tag. Raises ImageError if values are not in the file.
        """
        values: dict[int, int | None] = {tag: self.integer(tag) for tag in _SINGLE_TAGS if self.numbers(tag)}
        values |= changes or {}
        entries = {tag: self._encode_number(tag, value) for tag, value in values.items() if value is not None}
        entries |= {tag: self._encode_array(tag) for tag in _ARRAY_TAGS if tag in self._entries and tag not in values}
        start = len(self._data) + len(self._data) % 2
        tail = [bytes(start - len(self._data)), self._pack("H", len(entries))]
        position = start + 2 + 12 * len(entries) + 4  # of values that do not fit into their entry
        long_values: list[bytes] = []
        for tag, (type_, count, content) in sorted(entries.items()):
            if len(content) > 4:
                content += bytes(len(content) % 2)
                tail.append(self._pack("HHLL", tag, type_, count, position))
                long_values.append(content)
                position += len(content)
            else:
                tail.append(self._pack("HHL", tag, type_, count) + content.ljust(4, b"\0"))
        if position >= 2**32:
            raise ImageError("TIFFs of 4 GB and more cannot be decoded")
        tail += [self._pack("L", 0), *long_values]
        header = (b"II" if self.byte_order == "<" else b"MM") + self._pack("HL", 42, start)
        return header + self._data[len(header) :] + b"".join(tail)

    def _pack(self, format: str, *numbers: int) -> bytes:
        return struct.pack(f"{self.byte_order}{format}", *numbers)

    def _encode_number(self, tag: int, value: int) -> tuple[int, int, bytes]:
        """Type, number of values and bytes of the value."""
        if not 0 <= value < 2**32:
            raise ImageError(f"the TIFF is damaged: tag {tag} has the value {value}")
        return (_SHORT, 1, self._pack("H", value)) if value < 2**16 else (_LONG, 1, self._pack("L", value))

    def _encode_array(self, tag: int) -> tuple[int, int, bytes]:
        type_, count, _ = self._entries[tag]
        content = self.content(tag)
        if not content:
            raise ImageError("the TIFF is damaged: the file ends before a part of its directory")
        if type_ in _LONG8_TYPES:
            return _LONG, count, self._pack(f"{count}L", *(min(value, 2**32 - 1) for value in self.integers(tag)))
        return type_, count, content


@dataclass(frozen=True)
class Samples:
    """The samples of a TIFF image, (height, width, channels)."""

    values: np.ndarray
    #: The largest possible sample, if the file declares it.
    white: int | None
    #: The mode of Pillow with these channels. RGBa means that the colors are multiplied by alpha.
    mode: str
    is_white_zero: bool


def open_file(directory: Directory) -> TiffImagePlugin.TiffImageFile:
    """Open the file with Pillow, without tags that no pixel depends on.

    Raises ImageError if the tags of the pixels are damaged, SyntaxError or KeyError if Pillow does not read such
    samples.
    """
    if directory.integer(_SAMPLES, 1) > _MAX_SAMPLES:
        raise SyntaxError
    return _open(directory.write())


def _open(data: bytes) -> TiffImagePlugin.TiffImageFile:
    _silence_libtiff()
    return TiffImagePlugin.TiffImageFile(io.BytesIO(data))


@cache
def _silence_libtiff() -> None:
    """Keep libtiff from printing messages on file descriptor 2; Pillow raises an exception for each error."""
    try:
        library = ctypes.CDLL(_imaging.__file__)  # finds the symbols of the libraries that it is linked with, too
        for function in (library.TIFFSetErrorHandler, library.TIFFSetWarningHandler):
            function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
            function(None)
    except (OSError, AttributeError):  # another build of Pillow, which hides the symbols
        pass


def read_samples(directory: Directory, max_bytes: int) -> Samples | None:
    """Read samples of 16, 32 or 64 bits, or signed ones of 8 bits, if they take at most `max_bytes`.

    Returns None if the image has other samples or another structure; Pillow may then read it. Raises ImageError or any
    exception of Pillow if the data is damaged.
    """
    width, height = directory.size
    channels = directory.integer(_SAMPLES, 1)
    bits, formats = set(directory.integers(_BITS)), set(directory.integers(_SAMPLE_FORMAT)) or {_UNSIGNED}
    photometric = directory.integer(_PHOTOMETRIC)
    colors = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4}.get(photometric, 0)
    extra = directory.integers(_EXTRA_SAMPLES)
    if not extra and photometric == _RGB and channels == 4:
        extra = (2,)  # as Pillow takes it
    if (
        len(bits) != 1
        or len(formats) != 1
        or not colors
        or channels != colors + len(extra)
        or (photometric == _CMYK and extra)
    ):
        return None
    kind = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}.get(*formats)
    size = next(iter(bits)) // 8
    is_readable = bits in ({16}, {32}, {64}) or (bits == {8} and kind == "i")
    if kind is None or not is_readable:
        return None
    if width * height * channels * size > max_bytes:
        return None
    values = _read_values(directory, height, width, channels, np.dtype(f"{directory.byte_order}{kind}{size}"))
    if values is None:
        return None
    has_alpha = bool(extra) and extra[0] in (1, 2)
    is_premultiplied = has_alpha and extra[0] == 1
    declared = directory.integer(_MAX_VALUE) or directory.integer(_FLOAT_MAX_VALUE)
    return Samples(
        values[:, :, : colors + has_alpha],
        # The tag is meant for statistics, so that only the largest number of some bits declares a range.
        declared if declared >= 255 and not declared & (declared + 1) else None,
        {1: "L", 3: "RGB", 4: "CMYK"}[colors] + ("a" if is_premultiplied else "A" if has_alpha else ""),
        photometric == _WHITE_IS_ZERO,
    )


def _read_values(directory: Directory, height: int, width: int, channels: int, dtype: np.dtype) -> np.ndarray | None:
    """Read samples as (height, width, channels), or return None if they are stored in an unusual way.

    Pillow reads the file as if each byte were a gray pixel.
    """
    is_planar = directory.integer(_PLANAR, 1) == 2 and channels > 1
    tile_width, rows_per_strip = directory.integer(_TILE_WIDTH), directory.integer(_ROWS_PER_STRIP, height)
    predictor = directory.integer(_PREDICTOR, _NO_PREDICTOR)
    if directory.integer(_COMPRESSION, 1) not in _BYTE_COMPRESSIONS or directory.integer(_FILL_ORDER, 1) != 1:
        return None
    if is_planar and (tile_width or (rows_per_strip < height and height % rows_per_strip)):
        return None
    if predictor not in (_NO_PREDICTOR, _DIFFERENCES) and (predictor, dtype.kind) != (_FLOAT_DIFFERENCES, "f"):
        return None
    interleaved = 1 if is_planar else channels
    block_width = tile_width or width  # predictors start anew in each tile
    padded_width = math.ceil(width / block_width) * block_width
    pixel_bytes = interleaved * dtype.itemsize
    rows = height * channels if is_planar else height
    changes: dict[int, int | None] = dict.fromkeys((_PREDICTOR, _SAMPLE_FORMAT, _EXTRA_SAMPLES, _COLOR_MAP, _PLANAR))
    changes |= {_WIDTH: padded_width * pixel_bytes, _HEIGHT: rows, _BITS: 8, _SAMPLES: 1, _PHOTOMETRIC: _BLACK_IS_ZERO}
    if tile_width:
        changes[_TILE_WIDTH] = tile_width * pixel_bytes
    else:
        changes[_ROWS_PER_STRIP] = min(rows_per_strip, height) or height
    with _open(directory.write(changes)) as image:
        image.load()
        content = np.asarray(image)
    blocks = content.reshape(rows, -1, block_width, interleaved, dtype.itemsize)
    values = _undo_predictor(blocks, predictor, dtype).reshape(rows, padded_width, interleaved)[:, :width]
    if is_planar:
        return values.reshape(channels, height, width).transpose(1, 2, 0)
    return values


def _undo_predictor(blocks: np.ndarray, predictor: int, dtype: np.dtype) -> np.ndarray:
    """Turn bytes, uint8 (rows, blocks, width, channels, size), into samples (rows, blocks, width, channels)."""
    if predictor == _FLOAT_DIFFERENCES:
        # The first bytes of all samples, which are the most significant ones, then the second bytes, and so on.
        rows, count, width, channels, size = blocks.shape
        planes = blocks.reshape(rows, count, size * width, channels).cumsum(axis=2, dtype=np.uint8)
        planes = planes.reshape(rows, count, size, width * channels).transpose(0, 1, 3, 2)
        return np.ascontiguousarray(planes).view(f">f{size}").reshape(blocks.shape[:4])
    samples = np.ascontiguousarray(blocks).view(dtype)[..., 0]
    if predictor == _DIFFERENCES:
        unsigned = np.dtype(f"u{dtype.itemsize}")
        differences = np.ascontiguousarray(blocks).view(unsigned.newbyteorder(dtype.byteorder))[..., 0]
        return differences.cumsum(axis=2, dtype=unsigned).view(dtype.newbyteorder("="))
    return samples


def describe_samples(directory: Directory) -> str:
    """What the samples are, such as `3 samples of 64 bits (floating-point)`."""
    channels = directory.integer(_SAMPLES, 1)
    kind = {_SIGNED: " (signed)", _FLOAT: " (floating-point)", 5: " (complex)", 6: " (complex)"}
    bits = directory.integer(_BITS, 1)
    return (
        f"{channels} {'sample' if channels == 1 else 'samples'} of {bits} bits"
        f"{kind.get(directory.integer(_SAMPLE_FORMAT), '')}, compression {directory.integer(_COMPRESSION, 1)}"
    )
