"""Read the bytes of image files and archive members.

`ImageReader` reads by path and raises ImageError; `try_read` returns the error instead, so that a loop over many images
can go on.
"""

from __future__ import annotations

import threading
from pathlib import Path

from facetools.images import archives
from facetools.images.archives import Archive, ArchiveError


class ImageError(ValueError):
    """An image cannot be read or decoded. The message is the reason, without the path."""


class ImageReader:
    """Reads images by path and keeps their archives open. Threads may share a reader. It is a context manager."""

    def __init__(self) -> None:
        self._archives: dict[str, Archive] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *_: object) -> None:
        for archive in self._archives.values():
            archive.close()
        self._archives.clear()

    def read(self, path: str) -> bytes:
        """The content of an image file or archive member. Raises ImageError."""
        try:
            archive, name = self._locate(path)
            data = Path(path).read_bytes() if archive is None else archive.read(name)
        except KeyError:
            raise ImageError("no such member in the archive") from None
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from None
        except EOFError:
            raise ImageError("the archive ends before the end of this member") from None
        except (ArchiveError, *archives.READ_ERRORS, NotImplementedError) as error:
            raise ImageError(str(error)) from None
        except RuntimeError:
            raise ImageError("the archive member is encrypted") from None
        if not data:
            raise ImageError("the file is empty")
        return data

    def _locate(self, path: str) -> tuple[Archive | None, str]:
        """The archive that contains `path` and the member's name, or None and `path`."""
        for archive_path, archive in self._archives.items():
            if path.startswith(f"{archive_path}/"):
                return archive, path[len(archive_path) + 1 :]
        containing = archives.containing_archive(path)
        if containing is None:
            return None, path
        with self._lock:
            if containing not in self._archives:
                # Replace the dictionary: other threads may be iterating over the current one.
                self._archives = {**self._archives, containing: archives.open_archive(containing)}
        return self._archives[containing], path[len(containing) + 1 :]


def try_read(reader: ImageReader, path: str) -> bytes | ImageError:
    """The content of an image, or the reason why it cannot be read."""
    try:
        path.encode("utf-8")
        return reader.read(path)
    except UnicodeEncodeError:
        return ImageError("the file name is not UTF-8")
    except ImageError as error:
        return error
