"""Read the segments before the pixels of a JPEG: `parse_header` separates metadata from what the decoder needs."""

from __future__ import annotations

from typing import NamedTuple

from facetools.images.decoders.metadata import NO_METADATA, Metadata
from facetools.images.reading import ImageError

SIGNATURE = b"\xff\xd8\xff"

START_OF_IMAGE, END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"

#: The second byte of the markers: frames; start of the scan; application data and comments.
BASELINE_FRAME, _EXTENDED_FRAME, _START_OF_SCAN = 0xC0, 0xC1, 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_APP0, _APP1, _APP2, _APP14, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE

#: Markers without a segment: those of restarts, the start of the image, and a temporary one of arithmetic coding.
_STANDALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))

#: Segments that no decoder needs, unless they tell how colors are encoded.
_METADATA = frozenset((*range(0xE0, 0xF0), _COMMENT))

#: How the segments start that tell this, and the shortest content that libjpeg accepts.
_COLOR_ENCODINGS = {_APP0: (b"JFIF\0", 14), _APP14: (b"Adobe", 12)}

_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


class Header(NamedTuple):
    """What precedes the pixels of a JPEG."""

    #: The second byte of the frame's marker, the bits per sample, and the number of components.
    frame: int
    bits: int
    components: int
    height: int
    width: int
    #: The components in the first scan; a baseline image with fewer than all has several scans.
    scan_components: int
    #: The marker, the start and the end of each segment before the scan.
    segments: list[tuple[int, int, int]]
    #: Where the segment of the scan starts, and where its data starts.
    scan: int
    data: int
    metadata: Metadata

    @property
    def has_one_scan(self) -> bool:
        """Whether all pixels are in one scan, so that a decoder can reduce them without keeping all coefficients."""
        return self.frame in (BASELINE_FRAME, _EXTENDED_FRAME) and self.scan_components == self.components

    def without_metadata(self, data: bytes) -> bytes:
        """The JPEG `data`, whose header this is, without metadata."""
        kept = [
            data[start:end]
            for marker, start, end in self.segments
            if marker not in _METADATA or _encodes_colors(data, marker, start, end)
        ]
        if len(kept) == len(self.segments):
            return data
        return b"".join((START_OF_IMAGE, *kept, data[self.scan :]))


def _encodes_colors(data: bytes, marker: int, start: int, end: int) -> bool:
    name, size = _COLOR_ENCODINGS.get(marker, (b"", 2**16))
    return end - start - 4 >= size and data.startswith(name, start + 4)


def parse_header(data: bytes) -> Header:
    """Read the header of a JPEG. Raises ImageError if it is damaged or incomplete."""
    position, scan_found = len(START_OF_IMAGE), False
    segments: list[tuple[int, int, int]] = []
    frame, frame_marker = b"", 0
    while not scan_found:
        # Like libjpeg, skip bytes that belong to no segment, and fill bytes before a marker.
        position = data.find(b"\xff", position)
        if position < 0 or position + 4 > len(data):
            raise ImageError("the JPEG ends before its pixels")
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker in _STANDALONE:
            position += 2
            continue
        if marker == END_OF_IMAGE[1]:
            raise ImageError("the JPEG has no pixels")
        length = data[position + 2] << 8 | data[position + 3]
        end = position + 2 + length
        if length < 2 or end > len(data):
            raise ImageError("the JPEG is damaged" if length < 2 else "the JPEG ends before its pixels")
        if marker in _FRAMES:
            frame_marker, frame = marker, data[position + 4 : end]
        scan_found = marker == _START_OF_SCAN
        if not scan_found:
            segments.append((marker, position, end))
            position = end
    if len(frame) < 6 or length < 3:
        raise ImageError("the JPEG is damaged: it has no frame before its pixels")
    return Header(
        frame_marker,
        frame[0],
        frame[5],
        frame[1] << 8 | frame[2],
        frame[3] << 8 | frame[4],
        data[position + 4],
        segments,
        position,
        end,
        _read_metadata(data, segments),
    )


def _read_metadata(data: bytes, segments: list[tuple[int, int, int]]) -> Metadata:
    sources = [segment for segment in segments if segment[0] in (_APP1, _APP2)]
    if not sources:
        return NO_METADATA
    exif, xmp, profile = b"", b"", {}
    for marker, start, end in sources:
        content = data[start + 4 : end]
        if marker == _APP1 and content.startswith(_EXIF):
            exif += content[len(_EXIF) :] if exif else content  # long data continues in further segments
        elif marker == _APP1 and content.startswith(_XMP):
            xmp = content[len(_XMP) :]
        elif marker == _APP2 and content.startswith(_ICC) and len(content) > len(_ICC) + 2:
            # The number of the segment, the number of segments, and a part of the profile.
            profile[content[len(_ICC)]] = content[len(_ICC) + 1 :]
    is_complete = bool(profile) and len(profile) == next(iter(profile.values()))[0]
    return Metadata(exif, xmp, b"".join(profile[number][1:] for number in sorted(profile)) if is_complete else b"")
