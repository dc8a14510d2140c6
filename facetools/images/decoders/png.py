"""Read the chunks of a PNG: `parse_file` keeps those that pixels depend on, `read_samples` reads 16-bit samples.

Other chunks (texts, times, resolutions, animation frames) may be damaged or of any length. The image of an animation is
its first frame.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, PngImagePlugin

from facetools.images.decoders.metadata import Metadata
from facetools.images.reading import ImageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

#: The color types.
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6

#: The bytes of a transparent color in tRNS, for the color types that have one.
_TRANSPARENT_BYTES = {_GRAY: 2, _RGB: 6}

#: The largest size of decompressed metadata; longer metadata is ignored.
_MAX_METADATA_BYTES = 2**23

#: If a sample has a larger first byte, it is from 0 to 65535; see `samples`.
_MIN_HIGH_BYTE = 64

_XMP_KEYWORD, _EXIF_KEYWORD = b"XML:com.adobe.xmp\0", b"Raw profile type exif\0"


@dataclass(frozen=True)
class Png:
    """A PNG file without other chunks than those of its pixels, and its metadata."""

    data: bytes
    width: int
    height: int
    depth: int
    color_type: int
    #: The transparent gray level or color, uint16 (channels,); None if there is none.
    transparent: np.ndarray | None
    metadata: Metadata
    #: Whether there is at least one byte of compressed pixels.
    has_pixels: bool


def parse_file(data: bytes) -> Png:
    """Read the chunks of a PNG. Raises ImageError if a chunk that pixels depend on is damaged."""
    chunks: dict[bytes, bytes] = {}  # the first chunk of each type
    pixels: list[memoryview] = []
    exif, xmp, profile = b"", b"", b""
    for kind, position, end in _find_chunks(data):
        if kind == b"IDAT":
            pixels.append(memoryview(data)[position:end])
        elif kind in (b"IHDR", b"PLTE"):
            if data[end : end + 4] != zlib.crc32(data[position - 4 : end]).to_bytes(4):
                raise ImageError("the PNG is damaged: the checksum of its header or palette is wrong")
            chunks.setdefault(kind, data[position:end])
        elif kind == b"tRNS" and not pixels:
            chunks.setdefault(kind, data[position:end])
        elif kind == b"eXIf":
            exif = exif or data[position:end]
        elif kind == b"iCCP" and not profile:
            content = data[position:end].partition(b"\0")[2]  # after the name; then the method of compression, 0
            profile = _decompress(content[1:]) if content[:1] == b"\0" else b""
        elif kind == b"iTXt" and data.startswith(_XMP_KEYWORD, position):
            xmp = xmp or _international_text(data[position + len(_XMP_KEYWORD) : end])
        elif kind in (b"zTXt", b"tEXt") and data.startswith(_EXIF_KEYWORD, position):
            text = data[position + len(_EXIF_KEYWORD) : end]
            exif = exif or _hexadecimal_profile(_decompress(text[1:]) if kind == b"zTXt" else text)
    header = chunks.get(b"IHDR", b"")
    if len(header) < 13:
        raise ImageError("the PNG ends before its pixels, or has no header")
    width, height, depth, color_type = struct.unpack_from(">LLBB", header)
    kept = [_encode_chunk(b"IHDR", header)]
    if color_type == _PALETTE:
        kept.append(_encode_chunk(b"PLTE", chunks.get(b"PLTE", b"")))
    transparency = chunks.get(b"tRNS", b"")
    transparent = None
    if len(transparency) >= _TRANSPARENT_BYTES.get(color_type, 2**32):
        transparent = np.frombuffer(transparency[: _TRANSPARENT_BYTES[color_type]], ">u2").astype(np.uint16)
        if color_type == _GRAY and depth in (2, 4):
            # Pillow compares with levels that it has scaled to 8 bits. Higher bits have no meaning.
            transparency = (int(transparent[0]) % 2**depth * 255 // (2**depth - 1)).to_bytes(2)
    if color_type == _PALETTE or (transparent is not None and depth < 16):
        kept.append(_encode_chunk(b"tRNS", transparency))
    kept.append(_encode_chunk(b"IDAT", b"".join(pixels)))
    kept.append(_encode_chunk(b"IEND", b""))
    has_pixels = any(map(len, pixels))
    metadata = Metadata(exif, xmp, profile)
    return Png(SIGNATURE + b"".join(kept), width, height, depth, color_type, transparent, metadata, has_pixels)


def _find_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk and where its content starts and ends; the last one may be incomplete."""
    position = len(SIGNATURE)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, position)
        if not kind.isalpha() or kind == b"IEND":
            return
        start, end = position + 8, position + 8 + length
        is_ancillary = kind[:1].islower()
        is_followed = end + 4 == len(data) or data[end + 8 : end + 12].isalpha()
        if end > len(data) or (is_ancillary and not is_followed):
            # The length is wrong, or the file ends here.
            pixels = data.find(b"IDAT", start) - 4 if is_ancillary else -1
            if pixels >= 0:
                position = pixels
                continue
            end = min(end, len(data))
        yield kind, start, end
        position = end + 4


def _encode_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + zlib.crc32(content, zlib.crc32(kind)).to_bytes(4)


def _decompress(content: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(content, _MAX_METADATA_BYTES)
    except zlib.error:
        return b""
    return b"" if decompressor.unconsumed_tail else text


def _international_text(content: bytes) -> bytes:
    """The text of an iTXt chunk, whose content after the keyword is given."""
    is_compressed = content[:1] == b"\1"
    text = content[2:].split(b"\0", 2)[-1]  # after the language and the translated keyword
    return _decompress(text) if is_compressed else text


def _hexadecimal_profile(text: bytes) -> bytes:
    """Metadata as ImageMagick writes it: an empty line, its kind, its length, and hexadecimal digits."""
    digits = re.sub(rb"\s", b"", b"".join(text.split(b"\n")[3:]))
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def read_samples(png: Png) -> np.ndarray:
    """Read the samples of a PNG of 16 bits: (height, width, channels), 1 or 3 channels, and one more with transparency.

    They are uint16, or uint8 if the first byte of each sample is enough. Raises any exception of Pillow if the data is
    damaged.
    """
    if png.color_type == _GRAY:
        samples = _decode(png.data)[:, :, None]
    elif png.color_type == _GRAY_ALPHA:
        # With the same number of bytes per pixel, an image of RGBA with 8 bits is filtered and compressed alike.
        samples = _decode(_replace_type(png.data, 8, _RGB_ALPHA)).view(">u2")
    else:
        # Pillow keeps the first byte of each sample, or the second one if it takes them for little-endian.
        mode = "RGB" if png.color_type == _RGB else "RGBA"
        high_bytes = _decode(png.data, f"{mode};16B")
        if png.transparent is None and high_bytes.max() >= _MIN_HIGH_BYTE:
            return high_bytes
        samples = high_bytes.astype(np.uint16) << 8 | _decode(png.data, f"{mode};16L")
    if png.transparent is None:
        return samples
    is_opaque = (samples != png.transparent).any(axis=2, keepdims=True)
    return np.concatenate([samples, is_opaque * samples.max(initial=1)], axis=2)


def _replace_type(data: bytes, depth: int, color_type: int) -> bytes:
    header = data[12:24] + bytes((depth, color_type)) + data[26:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4) + data[33:]


def _decode(data: bytes, raw_mode: str | None = None) -> np.ndarray:
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
        if raw_mode is not None:
            image.tile = [(*tile[:3], raw_mode) for tile in image.tile]  # type: ignore[misc]
        image.load()
        return np.asarray(image)


def open_file(png: Png) -> Image.Image:
    """Open the cleaned file with Pillow."""
    return PngImagePlugin.PngImageFile(io.BytesIO(png.data))
