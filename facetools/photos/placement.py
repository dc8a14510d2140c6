"""Tell face crops as CelebA has them from photographs, by where the faces are."""

from __future__ import annotations

import numpy as np

from facetools.images.sheets import shrink_image
from facetools.photos.alignment import CROP_SIZE, TEMPLATE, alignment_points
from facetools.photos.detection import Detector

#: Images are reduced to this many pixels per side.
_MAX_SIDE = 256

#: The height of a face as a share of a CelebA image is about 0.5.
_MIN_FACE_SHARE = 0.25

#: The largest mean distance from the template, in distances of the eyes.
_TOLERANCE = 0.5


def has_centered_face(image: np.ndarray, detector: Detector) -> bool:
    """Whether `image`, uint8 (height, width, 3) of any size, shows a face about where CelebA's images have it."""
    small = shrink_image(image, _MAX_SIDE)
    height, width = small.shape[:2]
    (faces,) = detector.detect([small], [_MIN_FACE_SHARE * height])
    faces = faces.take(faces.scores >= detector.default_min_score)
    template = TEMPLATE * np.divide((width, height), CROP_SIZE[::-1])
    eye_distance = np.linalg.norm(template[1] - template[0])
    errors = np.linalg.norm(alignment_points(faces.landmarks) - template, axis=2).mean(axis=1)
    return bool((errors < _TOLERANCE * eye_distance).any())
