"""The face detector YuNet (Wu, Peng, Yu 2023), as an ONNX file of OpenCV's model zoo or libfacedetection.

The network sees the image at strides 8, 16 and 32. For each cell it gives the probabilities of a face and of an
object, the box and the landmarks, relative to the cell's upper left corner and in units of the stride; the logarithm
of width and height. Source: https://github.com/ShiqiYu/libfacedetection.train
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facetools.images.sheets import shrink_image
from facetools.photos.boxes import suppress
from facetools.photos.detection import NO_FACES, DetectorError, Faces
from facetools.runtime.inference import create_session

_STRIDES = (8, 16, 32)
_PARTS = ("cls", "obj", "bbox", "kps")
_OUTPUTS = [f"{part}_{stride}" for stride in _STRIDES for part in _PARTS]

#: Boxes that overlap by more than this belong to the same face.
_OVERLAP = 0.3

#: Cells with lower scores are not considered.
_LOWEST_SCORE = 0.3


class YuNet:
    """Finds faces with one network. The landmarks are less exact than those of MTCNN."""

    default_min_score = 0.7

    def __init__(self, path: Path, device: str = "auto") -> None:
        """For `device` see create_session.

        Raises DetectorError if the file is not a YuNet, OSError if it cannot be read.
        """
        model = path.read_bytes()
        try:
            self._session = create_session(model, device=device)
        except Exception as error:  # ONNX Runtime has no common base class for its exceptions
            reason = str(error).splitlines()[0]
            raise DetectorError(f"{path}: ONNX Runtime cannot read it: {reason}") from None
        inputs, outputs = self._session.get_inputs(), {output.name for output in self._session.get_outputs()}
        if len(inputs) != 1 or not outputs >= set(_OUTPUTS):
            raise DetectorError(f"{path}: not a YuNet: it does not have the outputs {', '.join(_OUTPUTS[:4])}, ...")
        self._input = inputs[0].name
        sizes = inputs[0].shape[2:]
        if any(isinstance(size, int) and size % _STRIDES[-1] for size in sizes):
            raise DetectorError(f"{path}: its input size {sizes} is not a multiple of {_STRIDES[-1]}")
        #: Height and width of the input, or None if the network takes any size.
        self._fixed_size = tuple(sizes) if all(isinstance(size, int) for size in sizes) else None

    def detect(self, images: Sequence[np.ndarray], min_faces: Sequence[float]) -> list[Faces]:
        """See Detector.detect. The network has one input size per image, so images are not batched."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Faces:
        pixels, factors = self._fit_to_input(image)
        tensor = np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)  # YuNet expects BGR
        values = dict(zip(_OUTPUTS, self._session.run(_OUTPUTS, {self._input: tensor}), strict=True))
        columns = pixels.shape[1]
        parts = [_decode_stride(values, stride, columns // stride) for stride in _STRIDES]
        faces = Faces(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        if not len(faces):
            return NO_FACES
        return faces.take(suppress(faces.boxes, faces.scores, _OVERLAP)).scale(factors)

    def _fit_to_input(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image with black borders right and below, and the factors (x, y) from it back to `image`."""
        height, width = image.shape[:2]
        if self._fixed_size is not None:
            image = shrink_image(image, min(self._fixed_size))
        rows, columns = self._fixed_size or (_round_up(image.shape[0]), _round_up(image.shape[1]))
        pixels = np.zeros((rows, columns, 3), np.uint8)
        pixels[: image.shape[0], : image.shape[1]] = image
        return pixels, np.array([width / image.shape[1], height / image.shape[0]])


def _round_up(size: int) -> int:
    return -(-size // _STRIDES[-1]) * _STRIDES[-1]


def _decode_stride(
    values: dict[str, np.ndarray], stride: int, columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, landmarks and scores, as in Faces, of the cells at one stride; a row has `columns` cells."""
    classes, objects, boxes, points = (values[f"{part}_{stride}"][0].astype(float) for part in _PARTS)
    scores = np.sqrt(classes[:, 0].clip(0, 1) * objects[:, 0].clip(0, 1))
    cells = np.flatnonzero(scores > _LOWEST_SCORE)
    corners = np.stack((cells % columns, cells // columns), axis=1)
    centers, sizes = (boxes[cells, :2] + corners) * stride, np.exp(boxes[cells, 2:]) * stride
    landmarks = (points[cells].reshape(-1, 5, 2) + corners[:, None]) * stride
    return np.concatenate((centers - sizes / 2, centers + sizes / 2), axis=1), landmarks, scores[cells]
