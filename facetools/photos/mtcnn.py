"""The face detector MTCNN: three networks in a cascade (Zhang, Zhang, Li, Qiao 2016).

P-Net proposes boxes in an image pyramid, R-Net and O-Net reject most of them and refine the rest. Here a fourth step
follows: O-Net looks at each face again, turned upright, once as it is and once mirrored. This gives more exact
landmarks and a confidence that does not depend on the tilt. The weights come from the PyPI package `mtcnn`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facetools.photos.alignment import (
    alignment_points,
    apply_transforms,
    fit_transforms,
    invert_transforms,
    warp_region,
)
from facetools.photos.boxes import suppress, to_squares
from facetools.photos.detection import NO_FACES, Faces
from facetools.photos.mtcnn_networks import (
    OUTPUT_CELL,
    PROPOSAL_CELL,
    PROPOSAL_STRIDE,
    REFINEMENT_CELL,
    build_output_network,
    build_proposal_network,
    build_refinement_network,
)
from facetools.runtime import extras
from facetools.runtime.inference import create_session

#: The lowest scores that each network accepts. They are lower than usual (0.6, 0.7, 0.7), because the fourth step
#: rejects more reliably.
_PROPOSAL_SCORE, _REFINEMENT_SCORE, _OUTPUT_SCORE = 0.5, 0.5, 0.2

#: The ratio of successive levels of the image pyramid, in size.
_PYRAMID_RATIO = 0.709

#: The height of a face for P-Net relative to that of its box in the end: low faces are proposed with some tolerance.
_PROPOSAL_TOLERANCE = 0.75

#: Boxes that overlap by more than this belong to the same face: at one level of the pyramid, and later.
_LEVEL_OVERLAP, _OVERLAP = 0.5, 0.7

#: The squares of an aligned image (178 x 218) that O-Net sees in the fourth step: their center and sides.
_UPRIGHT_CENTER, _UPRIGHT_SIDES = np.array([89.5, 122.0]), (88.0, 100.0)
_UPRIGHT_ROUNDS = 2

#: Where the alignment points that O-Net finds lie relative to CelebA's, in pixels of an aligned image. The median over
#: the training faces of CelebA; benchmarks/align.py --fit computes it.
_LANDMARK_BIAS = np.array([(-0.6, -0.35), (-0.3, -0.37), (-0.2, -0.2), (-0.4, -0.05), (-0.4, -0.05)])

#: Landmarks of a mirrored face, in the order of LANDMARKS.
_MIRRORED = [1, 0, 2, 4, 3]

#: Cells per call of a network, which bounds the memory.
_BATCH_CELLS = 256


class Mtcnn:
    """Finds upright faces, and faces that are tilted by up to about 30 degrees."""

    default_min_score = 0.85

    def __init__(self, device: str = "auto") -> None:
        """For `device` see create_session. Raises MissingExtraError if the weights are not installed."""
        weights = [_read_weights(name) for name in ("pnet", "rnet", "onet")]
        builders = (build_proposal_network, build_refinement_network, build_output_network)
        self._proposal, self._refinement, self._output = (
            create_session(build(arrays).SerializeToString(), device=device)
            for build, arrays in zip(builders, weights, strict=True)
        )

    def detect(self, images: Sequence[np.ndarray], min_faces: Sequence[float]) -> list[Faces]:
        """See Detector.detect. The candidates of all images are computed in common batches."""
        pictures = [Image.fromarray(image) for image in images]
        boxes = [self._propose(picture, min_face) for picture, min_face in zip(pictures, min_faces, strict=True)]
        boxes = self._refine(pictures, boxes)
        return self._align(images, self._locate(pictures, boxes))

    def _propose(self, picture: Image.Image, min_face: float) -> np.ndarray:
        """P-Net: boxes, float (n, 4), that may show a face of at least `min_face` pixels."""
        full_size = np.array(picture.size)
        scale = PROPOSAL_CELL / (_PROPOSAL_TOLERANCE * min_face)
        boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
        while full_size.min() * scale >= PROPOSAL_CELL:
            size = np.ceil(full_size * scale).astype(int)
            # Each level is made from the one before, which is nearly as good as from the photo, and faster.
            picture = picture.resize(tuple(size), Image.Resampling.BILINEAR, reducing_gap=3.0)
            maps = self._proposal.run(["scores", "boxes"], {"pixels": np.asarray(picture)[None]})
            rows, columns = np.nonzero(maps[0][0] > _PROPOSAL_SCORE)
            corners = PROPOSAL_STRIDE * np.stack((columns, rows), axis=1)
            level_boxes = np.concatenate((corners, corners + PROPOSAL_CELL), axis=1)
            level_boxes = (level_boxes + PROPOSAL_CELL * maps[1][0][:, rows, columns].T) / np.tile(size / full_size, 2)
            level_scores = maps[0][0][rows, columns]
            kept = suppress(level_boxes, level_scores, _LEVEL_OVERLAP)
            boxes.append(level_boxes[kept])
            scores.append(level_scores[kept])
            scale *= _PYRAMID_RATIO
        all_boxes = np.concatenate(boxes)
        return all_boxes[suppress(all_boxes, np.concatenate(scores), _OVERLAP)]

    def _refine(self, pictures: list[Image.Image], boxes: list[np.ndarray]) -> list[np.ndarray]:
        """R-Net: the boxes that are still likely faces, float (n, 4) per picture."""
        squares = [to_squares(image_boxes) for image_boxes in boxes]
        cells = _crop_cells(pictures, squares, REFINEMENT_CELL)
        scores, shifts = _run_in_batches(self._refinement, ["scores", "boxes"], cells)
        results = []
        for square, (score, shift) in _split(squares, scores, shifts):
            moved = square + shift * _sides(square)
            likely = score > _REFINEMENT_SCORE
            results.append(moved[likely][suppress(moved[likely], score[likely], _OVERLAP)])
        return results

    def _locate(self, pictures: list[Image.Image], boxes: list[np.ndarray]) -> list[Faces]:
        """O-Net: the faces in each picture, with landmarks."""
        squares = [to_squares(image_boxes) for image_boxes in boxes]
        cells = _crop_cells(pictures, squares, OUTPUT_CELL)
        scores, shifts, points = _run_in_batches(self._output, ["scores", "boxes", "landmarks"], cells)
        results = []
        for square, (score, shift, point) in _split(squares, scores, shifts, points):
            landmarks = _to_landmarks(point) * _sides(square)[:, None, :2] + square[:, None, :2]
            faces = Faces(square + shift * _sides(square), landmarks, score.astype(float)).take(score > _OUTPUT_SCORE)
            results.append(faces.take(suppress(faces.boxes, faces.scores, _OVERLAP, "smaller")))
        return results

    def _align(self, images: Sequence[np.ndarray], results: list[Faces]) -> list[Faces]:
        """O-Net on upright faces: the same faces with new landmarks and scores."""
        if not any(len(faces) for faces in results):
            return [NO_FACES] * len(results)
        photos = [image for image, faces in zip(images, results, strict=True) for _ in range(len(faces))]
        landmarks = np.concatenate([faces.landmarks for faces in results])
        scores = np.zeros(len(landmarks))
        for _ in range(_UPRIGHT_ROUNDS):
            transforms = fit_transforms(alignment_points(landmarks))
            found = [self._locate_upright(photos, transforms, side) for side in _UPRIGHT_SIDES]
            aligned = np.mean([points for points, _ in found], axis=0) - _LANDMARK_BIAS
            landmarks = apply_transforms(invert_transforms(transforms), aligned)
            scores = np.mean([values for _, values in found], axis=0)
        ends = np.cumsum([len(faces) for faces in results])
        return [
            Faces(faces.boxes, landmarks[end - len(faces) : end], scores[end - len(faces) : end])
            for faces, end in zip(results, ends.tolist(), strict=True)
        ]

    def _locate_upright(
        self, photos: list[np.ndarray], transforms: np.ndarray, side: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The landmarks, float (n, 5, 2), in aligned images, and the scores, float (n,), of one face per photo.

        `transforms`, float (n, 2, 3), map the photos to aligned images; O-Net sees a square of them.
        """
        corner, scale = _UPRIGHT_CENTER - side / 2, OUTPUT_CELL / side
        to_cells = scale * transforms
        to_cells[:, :, 2] -= scale * corner
        size = (OUTPUT_CELL, OUTPUT_CELL)
        cells = np.stack(
            [
                _stretch_contrast(warp_region(photo, transform, size, Image.Resampling.BILINEAR))
                for photo, transform in zip(photos, to_cells, strict=True)
            ]
        )
        scores, points = _run_in_batches(self._output, ["scores", "landmarks"], cells)
        mirrored_scores, mirrored_points = _run_in_batches(self._output, ["scores", "landmarks"], cells[:, :, ::-1])
        mirrored = _to_landmarks(mirrored_points)[:, _MIRRORED]
        mirrored[:, :, 0] = 1 - mirrored[:, :, 0]
        return corner + side * (_to_landmarks(points) + mirrored) / 2, (scores + mirrored_scores) / 2


def _read_weights(name: str) -> Sequence[np.ndarray]:
    """The weights of one network, in the order of its layers."""
    extras.require("mtcnn", "the face detector mtcnn")
    import joblib

    package = find_spec("mtcnn")
    assert package is not None and package.origin is not None
    return joblib.load(Path(package.origin).parent / "assets" / "weights" / f"{name}.lz4")


def _crop_cells(pictures: list[Image.Image], squares: list[np.ndarray], side: int) -> np.ndarray:
    """All squares of all pictures, resized to `side` pixels: uint8 (n, side, side, 3). Black outside the pictures."""
    cells = [
        _crop_cell(picture, square, side)
        for picture, image_squares in zip(pictures, squares, strict=True)
        for square in image_squares
    ]
    return np.array(cells, np.uint8).reshape(-1, side, side, 3)


def _crop_cell(picture: Image.Image, square: np.ndarray, side: int) -> np.ndarray:
    left, top = np.floor(square[:2]).astype(int).tolist()
    right, bottom = np.ceil(square[2:]).astype(int).tolist()
    region = picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
    box = tuple((square - (left, top, left, top)).clip(0, np.tile(region.size, 2)).tolist())
    return np.asarray(region.resize((side, side), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))


def _stretch_contrast(pixels: np.ndarray) -> np.ndarray:
    """`pixels`, uint8, with the 2nd and 98th percentile at 10 and 245, which helps O-Net with dark faces."""
    low, high = np.percentile(pixels, (2, 98))
    if high - low < 8:
        return pixels
    return ((pixels - low) * (235 / (high - low)) + 10).clip(0, 255).astype(np.uint8)


def _run_in_batches(session: Any, outputs: list[str], cells: np.ndarray) -> list[np.ndarray]:
    """The outputs of a network for all cells; one call with no cells gives arrays of length 0."""
    starts = range(0, max(len(cells), 1), _BATCH_CELLS)
    parts = [session.run(outputs, {"pixels": cells[start : start + _BATCH_CELLS]}) for start in starts]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _split(squares: list[np.ndarray], *arrays: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...]]]:
    """Yield the squares of each picture with the rows of `arrays` that belong to them."""
    start = 0
    for image_squares in squares:
        end = start + len(image_squares)
        yield image_squares, tuple(array[start:end] for array in arrays)
        start = end


def _sides(boxes: np.ndarray) -> np.ndarray:
    """Width, height, width and height of each box, float (n, 4)."""
    return np.tile(boxes[:, 2:] - boxes[:, :2], 2)


def _to_landmarks(points: np.ndarray) -> np.ndarray:
    """(n, 10) with five x and five y as (n, 5, 2)."""
    return points.reshape(-1, 2, 5).swapaxes(1, 2)
