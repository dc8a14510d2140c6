"""Which files are images, archives or neither: by suffix, and by content where the suffix says nothing.

`classify` decides with as little reading as possible: a file with a common suffix is never opened. What counts as an
image is what the installed Pillow decodes to pixels.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Literal

from facetools.images import signatures

#: Formats of Pillow that hold no photograph: documents, drawings, videos, and stubs that only applications can load.
NOT_DECODED = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PDF", "WMF"})

#: Suffixes of archives that can be read.
ARCHIVE_SUFFIXES = (
    *(".zip", ".cbz", ".tar", ".cbt"),
    *(".tar.gz", ".tgz", ".taz", ".tar.bz2", ".tbz2", ".tbz", ".tb2", ".tz2", ".tar.xz", ".txz", ".tar.lzma", ".tlz"),
    *(".tar.zst", ".tar.zstd", ".tzst"),
)

#: The bytes at the start of a file that decide what it is: a tar header is the longest.
HEAD_BYTES = 512

#: Bytes that Pillow gets to decide whether it knows the header of an image.
_OPEN_BYTES = 2**20

Role = Literal["image", "archive", "compressed", "unsupported", "other"]


@dataclass(frozen=True)
class FileKind:
    """What a file is.

    - `image`: Pillow decodes it
    - `archive`: a zip or tar archive that can be read
    - `compressed`: compressed data that may hold a tar archive; `reason` tells why it cannot be read, if so
    - `unsupported`: holds images, but cannot be read; `reason` tells why
    - `other`: anything else

    `label` is the name of the kind, such as `JPEG image` or `.txt`.
    """

    role: Role
    label: str
    reason: str = ""


ARCHIVE = FileKind("archive", "archive")


def classify(name: str, read: Callable[[int], bytes]) -> FileKind:
    """Return the kind of the file called `name`. `read(n)` returns its first n bytes; it is called only if needed."""
    lower = name.rsplit("/", 1)[-1].lower()
    suffix = _suffix(lower)
    kind = _kind_by_suffix(lower, suffix)
    if kind is not None and kind.role != "unsupported":
        return kind
    content = kind_of_content(read(HEAD_BYTES))
    if kind is not None:
        # A file called .heic is often a JPEG, and .cbr often a zip. Camera raw files have the structure of TIFF.
        is_raw_tiff = suffix in signatures.RAW_SUFFIXES and content is not None and content.label == "TIFF image"
        return kind if content is None or content.role not in ("image", "archive") or is_raw_tiff else content
    if content is None:
        content = _kind_by_pillow(suffix, read)
    if content is None or (content.role == "compressed" and content.reason and suffix):
        return FileKind("other", suffix_label(name))
    return FileKind("unsupported", content.label, content.reason) if content.reason else content


def classify_named(name: str, read: Callable[[int], bytes]) -> FileKind:
    """Return the kind of a file that the user names.

    Here the suffix of a text or document says nothing: only images and archives are of use.
    """
    lower = name.rsplit("/", 1)[-1].lower()
    suffix = _suffix(lower)
    return classify(lower.removesuffix(suffix) if suffix in signatures.OTHER_SUFFIXES else lower, read)


def kind_of_content(head: bytes) -> FileKind | None:
    """Return the kind that the first HEAD_BYTES of a file tell beyond doubt, or None."""
    for magic, kind in _content_table():
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        return _kind_by_brands(head)
    if head.startswith(b"RIFF"):
        return _decodable("WebP") if head[8:12] == b"WEBP" else FileKind("other", "audio or video")
    if head[128:132] == b"DICM":
        return _unsupported_image("DICOM")
    if head[:2] == b"PK" and head[2:4] in (b"\3\4", b"\5\6", b"\7\x08"):
        return FileKind("archive", "zip archive")
    if is_tar_header(head):
        return FileKind("archive", "tar archive")
    if head.lstrip()[:5].lower() in (b"<svg ", b"<?xml", b"<html", b"<!doc"):
        return FileKind("other", "SVG drawing" if b"<svg" in head else "HTML or XML document")
    return None


@cache
def _content_table() -> tuple[tuple[bytes, FileKind], ...]:
    """All first bytes and what they mean. A longer one comes before a shorter one that it starts with."""
    table: list[tuple[bytes, FileKind]] = [
        *((magic, _unsupported_image(name)) for magic, name in signatures.UNSUPPORTED_IMAGE_MAGIC),
        *((magic, _raw_image()) for magic in signatures.RAW_MAGIC),
        *((magic, _decodable(name)) for magic, name in signatures.IMAGE_MAGIC),
        *((magic, FileKind("compressed", name)) for magic, name in signatures.COMPRESSION_MAGIC),
        # zstd may start with a skippable frame.
        *((bytes([0x50 + n]) + b"\x2a\x4d\x18", FileKind("compressed", "zstd")) for n in range(16)),
        *((magic, _unsupported_archive(name)) for magic, name in signatures.UNSUPPORTED_ARCHIVE_MAGIC),
        *((magic, _unsupported_compression(name)) for magic, name in signatures.UNSUPPORTED_COMPRESSION_MAGIC),
        *((magic, FileKind("other", label)) for magic, label in signatures.OTHER_MAGIC),
    ]
    return tuple(sorted(table, key=lambda entry: -len(entry[0])))


def is_tar_header(block: bytes) -> bool:
    """Whether the first 512 bytes of `block` are the header of a tar member: the checksum fits."""
    if len(block) < HEAD_BYTES or not block[0]:
        return False
    digits = re.fullmatch(rb"\s*([0-7]+)[\s\0]*", block[148:156])
    if digits is None:
        return False
    total = sum(block[:148]) + sum(block[156:HEAD_BYTES]) + 8 * ord(" ")
    if int(digits[1], 8) == total:
        return True
    # Some old tars add the bytes as signed numbers.
    negative = sum(byte > 127 for byte in block[:148]) + sum(byte > 127 for byte in block[156:HEAD_BYTES])
    return int(digits[1], 8) == total - 256 * negative


def has_suffix(name: str) -> bool:
    """Whether a file name has a suffix."""
    return bool(_suffix(name.rsplit("/", 1)[-1]))


def is_other_name(name: str) -> bool:
    """Whether the suffix of a file name says that the file holds no images."""
    return _suffix(name.rsplit("/", 1)[-1].lower()) in signatures.OTHER_SUFFIXES


def is_archive_name(path: str) -> bool:
    """Whether the file name ends like that of an archive that can be read."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def is_tar_name(path: str) -> bool:
    """Whether the file name ends like that of a tar archive, which may be compressed."""
    return is_archive_name(path) and not path.lower().endswith((".zip", ".cbz"))


@cache
def enable_plugins() -> None:
    """Let Pillow decode HEIC if pillow-heif is installed."""
    if _has_heif():
        import_module("pillow_heif").register_heif_opener()


@cache
def _has_heif() -> bool:
    return find_spec("pillow_heif") is not None


def decodable_formats() -> tuple[str, ...]:
    """Return the names of all formats that Pillow decodes to pixels, as Image.open takes them."""
    from PIL import Image

    Image.init()
    enable_plugins()
    return tuple(name for name in Image.OPEN if name not in NOT_DECODED)


def _suffix(name: str) -> str:
    """The suffix of a lower-case file name, with its dot; empty if there is none."""
    dot = name.rfind(".")
    return name[dot:] if dot > 0 else ""


def suffix_label(name: str) -> str:
    """Return the suffix of a file name in lower case, as the label of a kind."""
    suffix = _suffix(name.rsplit("/", 1)[-1].lower())
    return suffix if re.fullmatch(r"\.\w[\w+~-]{0,11}", suffix) else "without a known suffix"


def _kind_by_suffix(name: str, suffix: str) -> FileKind | None:
    if suffix in signatures.IMAGE_SUFFIXES:
        return _decodable(signatures.OPTIONAL_SUFFIXES.get(suffix, suffix))
    if name.endswith(ARCHIVE_SUFFIXES):
        return ARCHIVE
    if suffix in signatures.OTHER_SUFFIXES:
        return FileKind("other", suffix)
    if suffix in signatures.UNSUPPORTED_IMAGES:
        return _unsupported_image(signatures.UNSUPPORTED_IMAGES[suffix])
    if suffix in signatures.RAW_SUFFIXES:
        return _raw_image()
    for ending, label in signatures.UNSUPPORTED_ARCHIVES.items():
        if name.endswith(ending):
            return _unsupported_archive(label)
    return None


@cache
def _decodable(name: str) -> FileKind:
    """An image of the format `name`, unless Pillow was built without the library for it."""
    from PIL import features

    feature = signatures.FEATURES.get(name)
    if feature is not None and feature not in features.get_supported():
        return FileKind("unsupported", f"{name} image", f"the installed Pillow does not decode {name} images")
    return FileKind("image", f"{name} image")


@cache
def _unsupported_image(name: str) -> FileKind:
    if name == "HEIC" and _has_heif():
        return FileKind("image", "HEIC image")
    remedy = "pip install pillow-heif, or convert it to JPEG" if name == "HEIC" else "convert it to JPEG or PNG"
    return FileKind("unsupported", f"{name} image", f"{name} images cannot be decoded; {remedy}")


def _raw_image() -> FileKind:
    reason = "raw images of cameras cannot be decoded; convert it to JPEG or PNG"
    return FileKind("unsupported", "camera raw image", reason)


def _unsupported_archive(name: str) -> FileKind:
    reason = f"{name} archives cannot be read; unpack it, or pack it as zip or tar"
    return FileKind("unsupported", f"{name} archive", reason)


def _unsupported_compression(name: str) -> FileKind:
    return FileKind("compressed", name, f"files compressed by {name} cannot be read; decompress it")


def _kind_by_brands(head: bytes) -> FileKind:
    """The kind of an ISO media file: its box `ftyp` has the major brand at byte 8 and compatible ones from byte 16."""
    size = min(int.from_bytes(head[:4]), len(head))
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, size - 3, 4))]
    if not signatures.AVIF_BRANDS.isdisjoint(brands):
        return _decodable("AVIF")
    if not signatures.HEIC_BRANDS.isdisjoint(brands):
        return _unsupported_image("HEIC")
    return _raw_image() if brands[0] == b"crx " else FileKind("other", "video")


def _kind_by_pillow(suffix: str, read: Callable[[int], bytes]) -> FileKind | None:
    """The kind of an image that Pillow recognizes, although its first bytes alone leave a doubt."""
    formats = _candidates(suffix, read(16))
    if not formats:
        return None
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(read(_OPEN_BYTES)), formats=formats) as image:
                return FileKind("image", f"{image.format} image")
    except Exception:  # Pillow's plugins raise exceptions of any type on data that are not of their format
        return None


def _candidates(suffix: str, start: bytes) -> list[str]:
    """The formats of Pillow that go with the suffix or with the first 16 bytes of a file."""
    from PIL import Image

    decodable = decodable_formats()
    by_suffix = Image.EXTENSION.get(suffix)
    candidates = [by_suffix] if by_suffix in decodable else []
    for name in decodable:
        accepts = Image.OPEN[name][1]
        try:
            # Some accept functions return the reason why their library is missing.
            is_accepted = accepts is not None and accepts(start) is True
        except Exception:  # of a short file
            is_accepted = False
        if is_accepted and name not in candidates:
            candidates.append(name)
    return candidates
