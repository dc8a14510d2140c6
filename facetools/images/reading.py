"""Read the bytes of an image file or archive member."""

from __future__ import annotations

import threading
from pathlib import Path

from facetools.images import archives
from facetools.images.archives import Archive
from facetools.images.sources import SourceError, containing_archive, open_source_archive


class ImageError(ValueError):
    """One image cannot be read or decoded; the message is the reason, without the path."""


class ImageReader:
    """Reads images by their paths and keeps the archives they are in open; threads may share one."""

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
        except (SourceError, *archives.ARCHIVE_ERRORS, NotImplementedError) as error:
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
        found = containing_archive(path)
        if found is None:
            return None, path
        with self._lock:
            if found not in self._archives:
                # A new dictionary, since other threads may be walking over this one.
                self._archives = {**self._archives, found: open_source_archive(found)}
        return self._archives[found], path[len(found) + 1 :]


def try_read(reader: ImageReader, path: str) -> bytes | ImageError:
    """The bytes of one image, or the reason why there are none."""
    try:
        path.encode("utf-8")
        return reader.read(path)
    except UnicodeEncodeError:
        return ImageError("the file name is not UTF-8")
    except ImageError as error:
        return error
