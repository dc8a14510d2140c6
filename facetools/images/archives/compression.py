"""Open compressed files as streams of their content. zstd needs Python 3.14 or the package backports.zstd."""

from __future__ import annotations

import bz2
import gzip
import lzma
import sys
import zlib
from importlib import import_module
from types import ModuleType
from typing import BinaryIO, cast

from facetools.runtime.extras import require


def open_decompressed(path: str, method: str) -> BinaryIO:
    """Open the file `path`, which is compressed by `method`: gzip, bzip2, xz, lzma or zstd.

    The stream is seekable, but seeking backwards decompresses again from the start. Reading raises one of
    `damage_errors()` if the data are damaged. Raises MissingExtraError if there is no library for zstd.
    """
    if method == "gzip":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if method == "bzip2":
        return cast(BinaryIO, bz2.open(path, "rb"))
    if method == "zstd":
        return cast(BinaryIO, zstd_module().open(path, "rb"))
    return cast(BinaryIO, lzma.open(path, "rb"))


def zstd_module() -> ModuleType:
    """Return the module for zstd. Raises MissingExtraError if there is none."""
    if sys.version_info >= (3, 14):
        return import_module("compression.zstd")
    require("backports.zstd", "a zstd archive")
    return import_module("backports.zstd")


def damage_errors() -> tuple[type[Exception], ...]:
    """The exceptions that reading damaged compressed data raises. An OSError among them has no errno."""
    loaded = [sys.modules[name] for name in ("compression.zstd", "backports.zstd") if name in sys.modules]
    return (OSError, EOFError, zlib.error, lzma.LZMAError, *(module.ZstdError for module in loaded))
