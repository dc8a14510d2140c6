"""Decode images to uint8 RGB arrays.

`decode_image` decodes bytes, `load_image` reads and decodes one path. For many images see `batches`.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from facetools.images.reading import ImageError, ImageReader, try_read

#: The largest image that is decoded, in pixels (0.8 GB as RGB). A JPEG counts with its reduced size.
MAX_PIXELS = 2**28

# Pillow's own limit is lower, and it warns only once, in an arbitrary thread.
Image.MAX_IMAGE_PIXELS = None


def decode_image(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode `data` to uint8 RGB (height, width, 3), upright according to its EXIF orientation.

    `size` (height, width) resizes the image with an antialiased bilinear filter and ignores the aspect ratio. A JPEG at
    least twice as large is decoded at 1/2, 1/4 or 1/8 of its size first. Transparent pixels are blended with white,
    16-bit samples lose their lower byte, and only the first frame of an animation is decoded. Raises ImageError.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
            if size is not None:
                swaps_axes = orientation >= 5
                image.draft("RGB", size if swaps_axes else size[::-1])
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{image.width} x {image.height} pixels exceed the limit of {MAX_PIXELS} pixels")
            # exif_transpose copies even an upright image.
            upright = _convert_to_rgb(image if orientation == 1 else ImageOps.exif_transpose(image))
            if size is not None and upright.size != size[::-1]:
                upright = upright.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(upright)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not an image of a known format") from None
    except Exception as error:  # Pillow's decoders raise exceptions of any type on damaged data.
        raise ImageError(f"cannot be decoded: {error}") from None


def _convert_to_rgb(image: Image.Image) -> Image.Image:
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


def try_decode(data: bytes, size: tuple[int, int] | None) -> np.ndarray | ImageError:
    """The result of `decode_image`, or the reason why `data` cannot be decoded."""
    try:
        return decode_image(data, size)
    except ImageError as error:
        return error


def load_image(reader: ImageReader, path: str, size: tuple[int, int] | None) -> np.ndarray | ImageError:
    """Read and decode one image: its pixels as from `decode_image`, or the reason why there are none."""
    data = try_read(reader, path)
    return data if isinstance(data, ImageError) else try_decode(data, size)
