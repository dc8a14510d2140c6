"""Decode images to uint8 RGB arrays.

`decode_image` decodes bytes, `load_image` reads and decodes one path. For many images see `batches`.

Pillow decodes most pixels. Metadata is read here, so that no damage of it costs an image: `jpeg`, `png` and `tiff` hand
only what pixels depend on to Pillow. They also read samples of more than 8 bits, which `samples` scales. `color`
converts to sRGB.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin

from facetools.images import formats
from facetools.images.decoders import color, icons, jpeg, jpeg2000, netpbm, png, samples, tiff, truncation
from facetools.images.decoders.metadata import Metadata
from facetools.images.decoders.truncation import TruncatedImageError
from facetools.images.reading import ImageError, ImageReader, try_read

#: The largest image that is decoded, in pixels (0.8 GB as RGB). A JPEG counts with its reduced size.
MAX_PIXELS = 2**28


class _Limit(int):
    """The limit of Pillow for images within images, above which it refuses at once; it refuses above twice an int."""

    def __rmul__(self, factor: int) -> int:
        return self


Image.MAX_IMAGE_PIXELS = _Limit(MAX_PIXELS)

#: Increases when decoding gives other pixels than before, so that cached pixels are not used.
VERSION = 2

#: Called with the path of each truncated image that is accepted, in the thread that decodes it.
TruncatedCallback = Callable[[str], None]

#: Bytes before the start of a JPEG or PNG that are skipped, such as a line feed.
_MAX_JUNK_BYTES = 16

#: The largest JPEG without an end marker, in pixels, that is decoded three times to see whether more is missing.
_MAX_CHECKED_PIXELS = 2**24

#: The entry of an AVIF file that announces EXIF data. Pillow fails if the data is damaged, and does not need it: the
#: orientation of an AVIF image is stored elsewhere.
_EXIF_ITEM = re.compile(rb"(infe.{,16}?)Exif", re.DOTALL)

#: Messages of Python and bare numbers, which tell users nothing.
_WORDS_OF_PYTHON = re.compile(r"unpack|literal|convert string|buffer|index|object|argument|b['\"]|error -\d|\bnot \w+$")

#: What Pillow does to turn an image upright, by its EXIF orientation.
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(data: bytes, size: tuple[int, int] | None = None, *, accept_truncated: bool = False) -> np.ndarray:
    """Decode `data` to uint8 RGB (height, width, 3), in sRGB, upright according to its EXIF orientation.

    `size` (height, width) resizes the image with an antialiased bilinear filter and ignores the aspect ratio. A JPEG at
    least twice as large is decoded at 1/2, 1/4 or 1/8 of its size first. Transparent pixels are blended with white,
    only the first frame of an animation is decoded, and samples of more than 8 bits are scaled as described in
    `samples`. With `accept_truncated`, pixels that are missing at the end of the file are gray or black.

    Raises TruncatedImageError if the end is missing and not `accept_truncated`, ImageError for any other failure.
    """
    accepted_before = truncation.accept_truncated(accept_truncated)
    try:
        return _decode(data, size)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise exceptions of any type on damaged data.
        if "truncated" in str(error).lower() and not accept_truncated:
            raise TruncatedImageError from None
        raise ImageError(_describe(error)) from None
    finally:
        truncation.accept_truncated(accepted_before)


def try_decode(
    data: bytes, size: tuple[int, int] | None, path: str = "", on_truncated: TruncatedCallback | None = None
) -> np.ndarray | ImageError:
    """The result of `decode_image`, or the reason why `data` cannot be decoded.

    Truncated images are refused, unless on_truncated(path) is to be called for each.
    """
    try:
        try:
            return decode_image(data, size)
        except TruncatedImageError:
            if on_truncated is None:
                raise
            pixels = decode_image(data, size, accept_truncated=True)
            on_truncated(path)
            return pixels
    except ImageError as error:
        return error


def load_image(
    reader: ImageReader, path: str, size: tuple[int, int] | None, on_truncated: TruncatedCallback | None = None
) -> np.ndarray | ImageError:
    """Read and decode one image as `try_decode` does: its pixels, or the reason why there are none."""
    data = try_read(reader, path)
    return data if isinstance(data, ImageError) else try_decode(data, size, path, on_truncated)


def _describe(error: Exception) -> str:
    """What an exception of Pillow means to a user."""
    if isinstance(error, MemoryError):
        return "the memory does not suffice to decode it"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"it exceeds the limit of {MAX_PIXELS} pixels"
    reason = " ".join(str(error).split()).removesuffix(" when reading image file")
    is_of_pillow = isinstance(error, OSError | SyntaxError | ValueError) and not _WORDS_OF_PYTHON.search(reason)
    return f"cannot be decoded: {reason if reason and is_of_pillow else 'it is damaged'}"


def _decode(data: bytes, size: tuple[int, int] | None) -> np.ndarray:
    if not data:
        raise ImageError("the file is empty")
    if data.startswith(jpeg.SIGNATURE):
        return _finish(*_open_jpeg(data, size), size)
    if data.startswith(png.SIGNATURE):
        return _finish(*_open_png(data), size)
    if data.startswith(tiff.SIGNATURES):
        return _finish(*_open_tiff(data), size)
    if (header := netpbm.parse_header(data)) is not None:
        _check_size(header.width, header.height)
        values = netpbm.read_samples(header, data)
        white = header.white if header.declares_range else None
        return _finish(_image_of_samples(values, white), Metadata(), size)
    if data.startswith(icons.SIGNATURE) and (picture := icons.find_png(data)) is not None:
        return _finish(*_open_png(picture), size)
    for signature in (jpeg.SIGNATURE, png.SIGNATURE):
        start = data.find(signature, 0, _MAX_JUNK_BYTES + len(signature))
        if start > 0:
            return _decode(data[start:], size)
    return _finish(*_open_other(data), size)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels exceed the limit of {MAX_PIXELS} pixels")


def _open_jpeg(data: bytes, size: tuple[int, int] | None) -> tuple[Image.Image, Metadata]:
    """Decode a JPEG, at a reduced size if `size` (height, width) is much smaller."""
    header = jpeg.parse_header(data)
    if header.bits != 8:
        raise ImageError(f"JPEGs of {header.bits} bits per sample cannot be decoded")
    if header.data >= len(data):
        raise ImageError("the JPEG ends before its pixels")
    content = header.without_metadata(data)

    def decode(content: bytes, size: tuple[int, int] | None) -> Image.Image:
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(content))
        if not header.has_one_scan:
            _check_size(*image.size)  # the decoder keeps the coefficients of all pixels
        if size is not None:
            swaps_axes = header.metadata.orientation >= 5
            image.draft("RGB", size if swaps_axes else size[::-1])
        _check_size(*image.size)
        image.load()
        return image

    try:
        return decode(content, size), header.metadata
    except OSError:
        if jpeg.END_OF_IMAGE in data[header.data :]:
            raise
    if header.has_one_scan and header.width * header.height <= _MAX_CHECKED_PIXELS:
        # If the pixels do not depend on what follows the file, only the end marker is missing, or a part of it.
        whole = content.removesuffix(jpeg.END_OF_IMAGE[:1])
        ending, *others = (decode(whole + byte * 4096 + jpeg.END_OF_IMAGE, None) for byte in (b"", b"\x55", b"\xaa"))
        if all(other.tobytes() == ending.tobytes() for other in others):
            return decode(whole + jpeg.END_OF_IMAGE, size), header.metadata
    raise TruncatedImageError


def _open_png(data: bytes) -> tuple[Image.Image, Metadata]:
    file = png.parse_file(data)
    _check_size(file.width, file.height)
    if not file.has_pixels:
        raise ImageError("the PNG ends before its pixels")
    if file.depth == 16:
        return _image_of_samples(png.read_samples(file)), file.metadata
    image = png.open_file(file)
    image.load()
    return image, file.metadata


def _open_tiff(data: bytes) -> tuple[Image.Image, Metadata]:
    directory = tiff.Directory(data)
    metadata = Metadata(data, directory.content(tiff.XMP), directory.content(tiff.ICC_PROFILE))
    if not all(directory.size):
        raise ImageError("the TIFF is damaged: its directory has no image size")
    _check_size(*directory.size)
    values = tiff.read_samples(directory, MAX_PIXELS)
    if values is not None:
        return _image_of_samples(values.values, values.white, values.mode, is_inverted=values.is_white_zero), metadata
    try:
        image = tiff.open_file(directory)
        image.load()
    except (SyntaxError, KeyError):  # Pillow knows no such combination
        raise ImageError(f"TIFFs with {tiff.describe_samples(directory)} cannot be decoded") from None
    if image.mode.startswith("I") and directory.bits < 16:
        return _image_of_samples(np.asarray(image)[:, :, None], 2**directory.bits - 1), metadata
    return image, metadata


def _open_other(data: bytes) -> tuple[Image.Image, Metadata]:
    """Decode an image of a format that only Pillow reads."""
    if jpeg2000.has_too_many_tiles(data):
        raise ImageError("the JPEG 2000 image ends before its pixels")
    image = _identify(_EXIF_ITEM.sub(rb"\1exif", data) if data[4:8] == b"ftyp" else data)
    _check_size(*image.size)
    image.load()
    info = image.info
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    contents = (info.get("exif"), xmp.encode() if isinstance(xmp, str) else xmp, info.get("icc_profile"))
    return image, Metadata(*(content if isinstance(content, bytes) else b"" for content in contents))


def _identify(data: bytes) -> Image.Image:
    """Open `data` with the first plugin of Pillow that accepts it. Image.open would hide why plugins fail."""
    reasons: list[str] = []
    tried: set[str] = set()
    # The first plugins are those that Pillow loads at once; to load the others takes longer.
    for find_formats in (_common_formats, formats.decodable_formats):
        for name in find_formats():
            if name in tried:
                continue
            tried.add(name)
            factory, accept = Image.OPEN[name]
            if accept is not None and not _accepts(accept, data[:16]):
                continue
            try:
                image = factory(io.BytesIO(data), "")
            except Exception as error:  # Plugins raise exceptions of any type on data that are not of their format.
                if accept is not None:
                    reasons.append(_describe(error).replace("decoded:", f"decoded as {name}:"))
            else:
                if not isinstance(image, ImageFile.StubImageFile):
                    return image
    raise ImageError(_describe_content(data, reasons))


def _accepts(accept: Callable[[bytes], bool | str], start: bytes) -> bool:
    try:
        return accept(start) is True  # text is the reason why a library is missing
    except Exception:  # of a short file
        return False


def _common_formats() -> tuple[str, ...]:
    Image.preinit()
    return tuple(name for name in Image.ID if name not in formats.NOT_DECODED)


def _describe_content(data: bytes, reasons: list[str]) -> str:
    """Why `data` is no image that can be decoded; `reasons` are those of Pillow."""
    kind = formats.kind_of_content(data[: formats.HEAD_BYTES])
    if kind is not None and kind.role != "image":
        return kind.reason or f"not an image, but {kind.label}"
    if reasons:
        return reasons[0]
    is_text = re.fullmatch(rb"[\t\n\f\r -~]+", data[: formats.HEAD_BYTES]) is not None
    return "not an image, but text" if is_text else "not an image of a known format"


def _image_of_samples(
    values: np.ndarray, white: float | None = None, mode: str | None = None, *, is_inverted: bool = False
) -> Image.Image:
    """Scale samples (height, width, channels) of any type to an image of 8 bits per sample."""
    scaled = samples.scale_to_8_bits(values, white)
    if is_inverted:
        scaled[:, :, 0] = 255 - scaled[:, :, 0]
    mode = mode or {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[scaled.shape[2]]
    return Image.frombytes(mode, scaled.shape[1::-1], np.ascontiguousarray(scaled).tobytes())


def _finish(image: Image.Image, metadata: Metadata, size: tuple[int, int] | None) -> np.ndarray:
    """Blend with white, turn upright, resize to `size` (height, width) and convert to sRGB."""
    # Pillow converts Lab, which does not depend on a device, to sRGB.
    profile = b"" if image.mode == "LAB" else metadata.icc_profile
    if image.mode == "F" or image.mode.startswith("I"):
        image = _image_of_samples(np.asarray(image)[:, :, None])
    image = _flatten(image)
    if not profile and image.mode != "RGB":
        image = image.convert("RGB")
    transposition = _TRANSPOSITIONS.get(metadata.orientation)
    if transposition is not None:
        image = image.transpose(transposition)
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    # Last, because it takes the longest, and small images are faster.
    return np.asarray(color.convert_to_srgb(image, profile) if profile else image)


def _flatten(image: Image.Image) -> Image.Image:
    """Convert to RGB, L or CMYK without transparency."""
    has_transparency = _has_transparency(image)
    if image.mode in ("RGB", "L", "CMYK") and not has_transparency:
        return image
    is_gray = image.mode in ("1", "L", "LA", "La")
    if has_transparency:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if is_gray else "RGB")


def _has_transparency(image: Image.Image) -> bool:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return True
    return image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")
