"""Images and archives that several tests of the images package use."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facetools.images.reading import ImageError, ImageReader, try_read

#: One file name for each kind of archive.
ARCHIVE_NAMES = ["f.zip", "F.ZIP", "f.tar", "f.tar.gz", "f.tgz", "f.tar.bz2", "f.tar.xz"]


def encode(image: Image.Image | np.ndarray, format: str = "png", **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, format, **options)
    return stream.getvalue()


def gradient(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A smooth image, which JPEG preserves well; the gradient differs per axis and channel."""
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    shades = np.stack([rows, columns, (rows + columns) / 2, 1 - rows])[:channels]
    return (20 + 200 * shades).astype(np.uint8).transpose(1, 2, 0)


def gray_png(level: int, side: int = 4) -> bytes:
    """A square PNG in which every pixel has the gray level `level`."""
    return encode(np.full((side, side, 3), level, np.uint8))


def make_zip(path: Path, members: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    is_compressed = ".tar." in path.name or path.suffix == ".tgz"
    mode = f"w:{path.suffix[1:].replace('tgz', 'gz')}" if is_compressed else "w"
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def make_archive(path: Path, members: dict[str, bytes]) -> Path:
    return make_zip(path, members) if path.suffix.lower() == ".zip" else make_tar(path, members)


def write_files(folder: Path, contents: Iterable[bytes]) -> list[str]:
    """Write each content to a file called `.png` in `folder`; return the paths."""
    paths = []
    for number, content in enumerate(contents):
        path = folder / f"{number:04}.png"
        path.write_bytes(content)
        paths.append(str(path))
    return paths


def reason_for(path: str) -> str:
    """The reason why `path` cannot be read."""
    with ImageReader() as reader:
        error = try_read(reader, path)
    assert isinstance(error, ImageError)
    return str(error)
