"""What face detectors have in common: their protocol, their result, and the choice of faces.

`load_detector` returns a detector, `detect_faces` runs it on photographs of any size, `select_faces` chooses faces.

Coordinates are (x, y) in pixels. (0, 0) is the upper left corner of the image, so the center of the first pixel is
(0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from facetools.images.sheets import shrink_image


class DetectorError(ValueError):
    """A detector cannot be loaded; the message names it."""


@dataclass(frozen=True)
class Faces:
    """The faces in one image.

    boxes: float64 (n, 4), each as (left, top, right, bottom).
    landmarks: float64 (n, 5, 2), the points that LANDMARKS names.
    scores: float64 (n,), the confidence of the detector, from 0 to 1.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> Faces:
        """The faces at `rows`, int (m,) or bool (n,)."""
        return Faces(self.boxes[rows], self.landmarks[rows], self.scores[rows])

    def scale(self, factors: np.ndarray) -> Faces:
        """The faces with x and y multiplied by `factors`, float (2,)."""
        return Faces(self.boxes * np.tile(factors, 2), self.landmarks * factors, self.scores)


#: The landmarks of a face. Left and right are those of the image.
LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")

NO_FACES = Faces(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))


class Detector(Protocol):
    """Finds faces in images. Threads may share a detector."""

    #: The lowest score of a face that is more likely right than wrong, from 0 to 1.
    default_min_score: float

    def detect(self, images: Sequence[np.ndarray], min_faces: Sequence[float]) -> list[Faces]:
        """The faces in each of `images`, uint8 (height, width, 3).

        Faces lower than the image's entry of `min_faces`, in pixels, may be missed.
        """
        ...


def load_detector(name: str, device: str = "auto") -> Detector:
    """The detector `mtcnn`, or the YuNet in an ONNX file. For `device` see inference.create_session.

    Raises DetectorError if there is no such detector or file, MissingExtraError if the weights are not installed.
    """
    if name == "mtcnn":
        from facetools.photos.mtcnn import Mtcnn

        return Mtcnn(device)
    if not name.lower().endswith(".onnx"):
        raise DetectorError(f"'{name}' is not a detector; give mtcnn or the ONNX file of a YuNet")
    from facetools.photos.yunet import YuNet

    return YuNet(Path(name), device)


def detect_faces(
    detector: Detector, photos: Sequence[np.ndarray], *, max_side: int, min_face: float, min_score: float
) -> list[Faces]:
    """The faces in each of `photos`, uint8 (height, width, 3), largest first.

    The detector sees photos whose longer side is at most `max_side` pixels. Faces lower than `min_face` pixels of the
    photo, and those with a lower score than `min_score`, are left out.
    """
    images = [shrink_image(photo, max_side) for photo in photos]
    # Width and height may have been rounded differently.
    factors = [np.divide(photo.shape[1::-1], image.shape[1::-1]) for photo, image in zip(photos, images, strict=True)]
    results = detector.detect(images, [min_face / factor.max() for factor in factors])
    return [
        _filter_faces(faces.scale(factor), min_face, min_score) for faces, factor in zip(results, factors, strict=True)
    ]


def _filter_faces(faces: Faces, min_face: float, min_score: float) -> Faces:
    widths, heights = (faces.boxes[:, 2:] - faces.boxes[:, :2]).T
    faces_by_area = np.argsort(-widths * heights, kind="stable")
    is_valid = (heights >= min_face) & (faces.scores >= min_score)
    return faces.take(faces_by_area[is_valid[faces_by_area]])
