"""Decode images to uint8 RGB arrays."""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from facetools.images.reading import ImageError, ImageReader, try_read

#: The largest image that is decoded, in pixels (0.8 GB as RGB); a JPEG is measured after its reduction while decoding.
MAX_PIXELS = 2**28

# Pillow's own limit is lower, and its warning comes from whichever thread decodes such an image first.
Image.MAX_IMAGE_PIXELS = None


def decode_image(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """The image in `data` as uint8 RGB (height, width, 3), turned upright by its EXIF orientation.

    `size` (height, width) stretches it, antialiased; a JPEG two times as large or more is decoded at 1/2, 1/4 or 1/8.
    Transparency shows white; 16-bit samples lose their lower byte; an animation gives its first frame.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            if size is not None:
                image.draft("RGB", size if orientation >= 5 else size[::-1])
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS} in all")
            # Pillow copies an image that is upright already.
            upright = _rgb(image if orientation == 1 else ImageOps.exif_transpose(image))
            if size is not None and upright.size != size[::-1]:
                upright = upright.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(upright)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image of a known format") from None
    except Exception as error:  # of any kind: decoders meet bytes that nobody foresaw
        raise ImageError(f"cannot be decoded: {error}") from None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        samples = np.asarray(image).astype(np.int64)
        return Image.fromarray((samples >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        return Image.fromarray(np.asarray(image).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def load_image(reader: ImageReader, path: str, size: tuple[int, int] | None) -> np.ndarray | ImageError:
    """The pixels of one image as `decode` gives them, or the reason why there are none."""
    data = try_read(reader, path)
    return data if isinstance(data, ImageError) else try_decode(data, size)


def try_decode(data: bytes, size: tuple[int, int] | None) -> np.ndarray | ImageError:
    """What `decode` makes of `data`, or the reason why it cannot."""
    try:
        return decode_image(data, size)
    except ImageError as error:
        return error
