"""Detect, crop and encode the faces of many photographs in threads, in the order of their paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from facetools.images.decoding import TruncatedCallback, load_image
from facetools.images.reading import ImageError, ImageReader
from facetools.images.sheets import shrink_image
from facetools.images.writing import encode_image
from facetools.photos.alignment import CROP_SIZE, alignment_points, crop_face, fit_transforms
from facetools.photos.detection import Detector, Faces, detect_faces
from facetools.runtime.threads import map_in_order

#: Photos that a thread decodes at once; the detector computes their candidates together.
CHUNK_PHOTOS = 4


@dataclass(frozen=True)
class AlignmentSettings:
    """What is detected, and how it is cropped.

    max_faces: the number of faces per photo, largest first; None for all.
    min_face: the lowest height of a face, in pixels of the photo.
    min_score: the lowest confidence, from 0 to 1; None for that of the detector.
    max_side: the longer side of the photo for the detector, in pixels.
    size: height and width of the crops.
    suffix: the file format of the crops, `.jpg` or `.png`; None makes no crops.
    """

    max_faces: int | None = None
    min_face: float = 40
    min_score: float | None = None
    max_side: int = 1280
    size: tuple[int, int] = CROP_SIZE
    suffix: str | None = ".jpg"


@dataclass(frozen=True)
class AlignedPhoto:
    """The faces in one photo, largest first.

    transforms: float64 (n, 2, 3), from the photo to each crop.
    crops: the encoded crop of each face, or nothing.
    size: height and width of the photo.
    thumbnail: the photo, reduced to the side that was asked for, uint8 (height, width, 3), or None.
    """

    faces: Faces
    transforms: np.ndarray
    crops: list[bytes]
    size: tuple[int, int]
    thumbnail: np.ndarray | None = None


def align_photos(
    paths: Iterable[str],
    detector: Detector,
    settings: AlignmentSettings,
    *,
    jobs: int,
    on_truncated: TruncatedCallback | None = None,
    thumbnails: int = 0,
    thumbnail_side: int = 256,
) -> Iterator[tuple[str, AlignedPhoto | ImageError]]:
    """Yield each path with the faces in the photo, or the reason why the photo cannot be read.

    `jobs` threads work ahead of the caller by a bounded number of photos. The first `thumbnails` photos are returned
    too, reduced to `thumbnail_side` pixels. For `on_truncated` see `batches.decode_images`.
    """
    with ImageReader() as reader:

        def process(chunk: Sequence[tuple[int, str]]) -> list[tuple[str, AlignedPhoto | ImageError]]:
            photos = [load_image(reader, path, None, on_truncated) for _, path in chunk]
            aligned = iter(_align([photo for photo in photos if isinstance(photo, np.ndarray)], detector, settings))
            results: list[tuple[str, AlignedPhoto | ImageError]] = []
            for (index, path), photo in zip(chunk, photos, strict=True):
                if isinstance(photo, ImageError):
                    results.append((path, photo))
                    continue
                result = next(aligned)
                if index < thumbnails:
                    result = replace(result, thumbnail=shrink_image(photo, thumbnail_side))
                results.append((path, result))
            return results

        with closing(map_in_order(enumerate(paths), CHUNK_PHOTOS, process, jobs)) as chunks:
            for chunk in chunks:
                yield from chunk


def _align(photos: list[np.ndarray], detector: Detector, settings: AlignmentSettings) -> Iterator[AlignedPhoto]:
    min_score = detector.default_min_score if settings.min_score is None else settings.min_score
    results = detect_faces(
        detector, photos, max_side=settings.max_side, min_face=settings.min_face, min_score=min_score
    )
    for photo, detected in zip(photos, results, strict=True):
        faces = detected.take(np.arange(len(detected))[: settings.max_faces])
        transforms = fit_transforms(alignment_points(faces.landmarks))
        transforms = transforms * np.divide(settings.size, CROP_SIZE)[::-1, None]
        crops = []
        if settings.suffix is not None:
            crops = [
                encode_image(crop_face(photo, transform, settings.size), settings.suffix) for transform in transforms
            ]
        yield AlignedPhoto(faces, transforms, crops, photo.shape[:2])
