"""Where images come from (files, folders, lists, zip and tar archives) and their decoding to uint8 batches.

An image is known by its path alone; a member of an archive is `faces.zip/dir/000001.jpg`. `listed` turns sources into
paths, a `Reader` turns a path into bytes, `decode` turns bytes into pixels, and `batches` does all of it in threads
(decoding releases the interpreter lock), in the order of the paths.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from facetools import archives, files
from facetools.archives import Archive

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".gif", ".jp2"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"),
)

#: The largest image that is decoded, in pixels (0.8 GB as RGB); a JPEG is measured after its reduction while decoding.
MAX_PIXELS = 2**28

S = TypeVar("S")
T = TypeVar("T")

#: Images that one thread decodes at a time.
CHUNK = 8

# Pillow's own limit warns at a third of this one, once a process, from whichever thread comes first.
Image.MAX_IMAGE_PIXELS = None


class SourceError(ValueError):
    """A source of images does not exist, cannot be read or holds no image."""


class MissingError(SourceError):
    """There is no such file or folder."""


class ImageError(ValueError):
    """One image cannot be read or decoded; the message is the reason, without the path."""


# From sources to paths


def listed(sources: Iterable[str], stdin: BinaryIO | None = None, *, null: bool = False) -> Iterator[str]:
    """The paths of the images in `sources`, in order: image files, folders (recursive, sorted by name), zip and tar
    archives (members in order), `.txt` lists (a path a line), and `-` for paths read from `stdin`.

    Lists and stdin may name any source but themselves; `null` says that paths on stdin end with NUL, not newline. What
    they name that is not there comes as an image, which fails where it is read, so that the others go on.
    """
    for source in sources:
        if source == "-":
            if stdin is None:
                raise SourceError("'-' may not be named by a list")
            yield from _named(_stream_paths(stdin, b"\0" if null else b"\n"))
        elif source.lower().endswith(".txt"):
            yield from _named(_list_paths(source))
        else:
            yield from _images_in(source)


def _named(sources: Iterable[str]) -> Iterator[str]:
    for source in sources:
        try:
            yield from listed([source])
        except MissingError:
            yield source


def _images_in(source: str) -> Iterator[str]:
    if Path(source).is_dir():
        yield from _folder_images(source)
    elif _is_archive(source) and Path(source).is_file():
        with closing(_opened(source)) as archive:
            names = archive.names()
        yield from (f"{source}/{name}" for name in names if is_image_name(name))
    elif Path(source).exists() or _archive_of(source):
        yield source
    else:
        raise MissingError(f"{source}: no such file or folder")


def _folder_images(folder: str, above: tuple[str, ...] = ()) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return  # a link to a folder that this one is in
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _folder_images(entry.path, (*above, real))
        elif is_image_name(entry.name):
            yield entry.path


def is_image_name(name: str) -> bool:
    """Whether a file name says image; hidden files, and what macOS adds to archives, are none."""
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(IMAGE_SUFFIXES) and not base.startswith(".") and not name.startswith("__MACOSX/")


def _list_paths(source: str) -> Iterator[str]:
    try:
        with Path(source).open("rb") as stream:
            yield from _stream_paths(stream, b"\n")
    except FileNotFoundError:
        raise MissingError(f"{source}: no such file or folder") from None


def _stream_paths(stream: BinaryIO, end: bytes) -> Iterator[str]:
    rest = b""
    while block := stream.read1(65536) if isinstance(stream, io.BufferedReader) else stream.read(65536):
        *complete, rest = (rest + block).split(end)
        yield from _texts(complete)
    yield from _texts([rest])


def _texts(paths: list[bytes]) -> Iterator[str]:
    for path in paths:
        path = path.removesuffix(b"\r")
        if path:
            yield os.fsdecode(path)


# From paths to bytes


def _is_archive(path: str) -> bool:
    return path.lower().endswith(archives.SUFFIXES)


def _archive_of(path: str) -> str | None:
    """The archive file that `path` leads into, if it does."""
    at = path.find("/")
    while at >= 0:
        if _is_archive(path[:at]) and Path(path[:at]).is_file():
            return path[:at]
        at = path.find("/", at + 1)
    return None


def file_of(path: str) -> str:
    """The file that holds an image: the archive of a member, else the image itself."""
    return _archive_of(path) or path


def _opened(path: str) -> Archive:
    try:
        return archives.opened(path)
    except archives.BROKEN as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else "it ends too early"
        raise SourceError(f"{path}: not a readable archive: {reason}") from None


class Reader:
    """Reads images by their paths and keeps the archives they are in open; threads may share one."""

    def __init__(self) -> None:
        self._archives: dict[str, Archive] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._archives.values():
            archive.close()
        self._archives.clear()

    def read(self, path: str) -> bytes:
        """The bytes of the image file or archive member `path`; an ImageError says why there are none."""
        try:
            archive, name = self._member(path)
            data = Path(path).read_bytes() if archive is None else archive.read(name)
        except KeyError:
            raise ImageError("no such member in the archive") from None
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from None
        except EOFError:
            raise ImageError("the archive ends within it") from None
        except (SourceError, *archives.BROKEN, NotImplementedError) as error:
            raise ImageError(str(error)) from None
        except RuntimeError:
            raise ImageError("it is encrypted") from None
        if not data:
            raise ImageError("the file is empty")
        return data

    def _member(self, path: str) -> tuple[Archive | None, str]:
        for known, archive in self._archives.items():
            if path.startswith(f"{known}/"):
                return archive, path[len(known) + 1 :]
        found = _archive_of(path)
        if found is None:
            return None, path
        with self._lock:
            if found not in self._archives:
                # A new dictionary, since other threads may be walking over this one.
                self._archives = {**self._archives, found: _opened(found)}
        return self._archives[found], path[len(found) + 1 :]


# From bytes to pixels


def decode(data: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
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


def mapped(paths: Iterable[str], function: Callable[[Reader, int, str], T], *, jobs: int) -> Iterator[tuple[str, T]]:
    """Each path with what `function` makes of a Reader, the path's number from 0 and the path, in the order of `paths`.

    `jobs` threads work ahead by a bounded number of images.
    """
    with Reader() as reader:

        def do(chunk: Sequence[tuple[int, str]]) -> list[tuple[str, T]]:
            return [(path, function(reader, number, path)) for number, path in chunk]

        with closing(in_order(enumerate(paths), CHUNK, do, jobs)) as chunks:
            for chunk in chunks:
                yield from chunk


def in_order(items: Iterable[S], size: int, do: Callable[[list[S]], T], jobs: int) -> Generator[T]:
    """What `do` makes of each `size` of the `items`, in their order; `jobs` threads work ahead, but not far."""
    with ThreadPoolExecutor(jobs) as pool:
        rest = iter(items)
        ahead: deque[Future[T]] = deque()
        try:
            while chunk := list(islice(rest, size)):
                ahead.append(pool.submit(do, chunk))
                if len(ahead) > 4 * jobs:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def decoded(
    paths: Iterable[str], size: tuple[int, int] | None, *, jobs: int
) -> Iterator[tuple[str, np.ndarray | ImageError]]:
    """Each path with its pixels, uint8 (height, width, 3), or why there are none, in the order of `paths`."""
    return mapped(paths, lambda reader, _, path: load(reader, path, size), jobs=jobs)


def load(reader: Reader, path: str, size: tuple[int, int] | None) -> np.ndarray | ImageError:
    """The pixels of one image as `decode` gives them, or the reason why there are none."""
    data = content(reader, path)
    return data if isinstance(data, ImageError) else pixels_of(data, size)


def content(reader: Reader, path: str) -> bytes | ImageError:
    """The bytes of one image, or the reason why there are none."""
    try:
        path.encode("utf-8")
        return reader.read(path)
    except UnicodeEncodeError:
        return ImageError("the file name is not UTF-8")
    except ImageError as error:
        return error


def pixels_of(data: bytes, size: tuple[int, int] | None) -> np.ndarray | ImageError:
    """What `decode` makes of `data`, or the reason why it cannot."""
    try:
        return decode(data, size)
    except ImageError as error:
        return error


def batches(
    paths: Iterable[str],
    size: tuple[int, int],
    rows: int,
    *,
    jobs: int,
    failed: Callable[[str, str], None],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Batches of `rows` paths, less those whose image cannot be had: paths and pixels, uint8 (n, height, width, 3).

    An image that cannot be had is told to `failed` by its path and the reason; a batch may be smaller for it, but has
    nothing of the next.
    """
    images = decoded(paths, size, jobs=jobs)
    while batch := list(islice(images, rows)):
        names, found = zip(*batch, strict=True)
        there = kept(names, found, failed)
        if there:
            yield there, _stacked(found)


def computed(
    paths: Iterable[str],
    size: tuple[int, int],
    rows: int,
    compute: Callable[[np.ndarray], T],
    *,
    jobs: int,
    failed: Callable[[str, str], None],
) -> Iterator[tuple[list[str], T]]:
    """The batches of `batches` with what `compute` makes of their pixels: each is decoded and computed by one of `jobs`
    threads."""
    with Reader() as reader:

        def do(names: list[str]) -> tuple[list[str], list[ImageError | None], T | None]:
            found = [load(reader, path, size) for path in names]
            errors = [image if isinstance(image, ImageError) else None for image in found]
            return names, errors, None if all(errors) else compute(_stacked(found))

        with closing(in_order(paths, rows, do, jobs)) as results:
            for names, errors, result in results:
                there = kept(names, errors, failed)
                if result is not None:
                    yield there, result


def kept(names: Sequence[str], found: Sequence[object], failed: Callable[[str, str], None]) -> list[str]:
    """The paths of the images that could be had; the others are told to `failed`."""
    for path, image in zip(names, found, strict=True):
        if isinstance(image, ImageError):
            failed(path, str(image))
    return [path for path, image in zip(names, found, strict=True) if not isinstance(image, ImageError)]


def _stacked(found: Iterable[np.ndarray | ImageError]) -> np.ndarray:
    return np.stack([image for image in found if not isinstance(image, ImageError)])


# From pixels to files


def gray(pixels: np.ndarray) -> np.ndarray:
    """The luma (ITU-R 601) of uint8 RGB (height, width, 3), uint8 (height, width, 1)."""
    return np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    """uint8 pixels (height, width, 1 or 3) as the content of a file called `suffix`, `.png` or `.jpg`."""
    import imageio.v3 as imageio  # which takes a tenth of a second, and reads nothing here

    quality: dict[str, Any] = {"quality": 95} if suffix == ".jpg" else {}
    squeezed = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return imageio.imwrite("<bytes>", squeezed, extension=suffix, **quality)


def write(path: Path, pixels: np.ndarray) -> None:
    """Writes uint8 pixels (height, width, 1 or 3) to the image file `path`, whole or not at all."""
    files.write(path, encode(pixels, path.suffix.lower()))


def within(pixels: np.ndarray, side: int) -> np.ndarray:
    """`pixels`, uint8 (height, width, 3), made smaller where a side is longer than `side`, in proportion."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    return np.asarray(image)


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], height: int, gap: int = 4) -> np.ndarray:
    """Rows of images, uint8 (h, w, 3) each, at `height` pixels on white, as one image, uint8 (H, W, 3)."""
    scaled = [
        [
            Image.fromarray(image).resize((max(1, round(image.shape[1] * height / image.shape[0])), height))
            for image in row
        ]
        for row in rows
    ]
    width = max(sum(image.width + gap for image in row) for row in scaled) + gap
    sheet = Image.new("RGB", (width, gap + len(rows) * (height + gap)), "white")
    for number, row in enumerate(scaled):
        left = gap
        for image in row:
            sheet.paste(image, (left, gap + number * (height + gap)))
            left += image.width + gap
    return np.asarray(sheet)
