"""Face detectors: MTCNN finds real faces where they were pasted, and YuNet's numbers are decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facetools.images.decoding import decode_image
from facetools.images.reading import ImageReader
from facetools.images.sources import find_images
from facetools.network.graph import GraphBuilder
from facetools.photos.alignment import (
    TEMPLATE,
    alignment_points,
    apply_transforms,
    crop_face,
    fit_transforms,
    invert_transforms,
)
from facetools.photos.detection import Detector, DetectorError, Faces, detect_faces, load_detector
from facetools.photos.faces import AlignmentSettings, align_photos
from facetools.photos.yunet import YuNet
from tests.images.cases import encode
from tests.photos.markers import yunet_file

#: Scale relative to CelebA's 178 x 218 pixels, tilt in degrees, and position of the center in the photo.
PLACES = ((1.3, 0, (250, 300)), (0.8, 25, (700, 200)), (0.6, -25, (720, 520)))
PHOTO_SIZE = (700, 900)


def paste(photo: np.ndarray, crop: np.ndarray, scale: float, degrees: float, center: tuple[int, int]) -> np.ndarray:
    """Paste one of CelebA's crops into the photo, in place; returns where the photo has the points of TEMPLATE."""
    angle = np.deg2rad(degrees)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    to_photo = np.column_stack((rotation, center - rotation @ (89, 109)))
    # The stored crop may have another size than 178 x 218.
    from_crop = np.column_stack((rotation * (178 / crop.shape[1]), to_photo[:, 2]))
    warped = crop_face(crop, from_crop, PHOTO_SIZE)
    rows, columns = np.indices(PHOTO_SIZE) + 0.5
    positions = apply_transforms(invert_transforms(to_photo[None]), np.stack((columns, rows), axis=2).reshape(1, -1, 2))
    inside = ((positions[0] > 2) & (positions[0] < (176, 216))).all(axis=1).reshape(PHOTO_SIZE)
    photo[inside] = warped[inside]
    return apply_transforms(to_photo[None], TEMPLATE[None])[0]


@pytest.fixture(scope="module")
def photo(celeba: Path) -> tuple[np.ndarray, np.ndarray]:
    """A photo with three real faces, and the points of TEMPLATE of each, (3, 3, 2)."""
    paths = list(find_images([str(celeba / "img_align_celeba.zip")]))[:3]
    pixels = np.full((*PHOTO_SIZE, 3), 120, np.uint8)
    with ImageReader() as reader:
        points = [
            paste(pixels, decode_image(reader.read(path)), *place) for path, place in zip(paths, PLACES, strict=True)
        ]
    return pixels, np.array(points)


@pytest.fixture(scope="module")
def mtcnn() -> Detector:
    return load_detector("mtcnn")


@pytest.mark.parametrize("max_side", [1280, 500])
def test_mtcnn_finds_tilted_faces_and_their_alignment(
    mtcnn: Detector, photo: tuple[np.ndarray, np.ndarray], max_side: int
) -> None:
    pixels, expected = photo
    (faces,) = detect_faces(mtcnn, [pixels], max_side=max_side, min_face=40, min_score=mtcnn.default_min_score)
    assert len(faces) == 3
    transforms = fit_transforms(alignment_points(faces.landmarks))
    found = apply_transforms(invert_transforms(transforms), np.repeat(TEMPLATE[None], 3, axis=0))
    errors = np.sqrt(((found - expected) ** 2).sum(axis=2).mean(axis=1))
    assert (errors / np.linalg.norm(expected[:, 1] - expected[:, 0], axis=1) < 0.12).all()
    # Each box contains its landmarks.
    assert (faces.landmarks.min(axis=1) > faces.boxes[:, :2]).all()
    assert (faces.landmarks.max(axis=1) < faces.boxes[:, 2:]).all()


def test_the_result_does_not_depend_on_the_other_photos(mtcnn: Detector, photo: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, _ = photo
    settings = {"max_side": 1280, "min_face": 40, "min_score": 0.85}
    (alone,) = detect_faces(mtcnn, [pixels], **settings)
    blank, first, mirrored = detect_faces(
        mtcnn, [np.zeros((300, 200, 3), np.uint8), pixels, pixels[:, ::-1]], **settings
    )
    assert len(blank) == 0
    assert first.landmarks == pytest.approx(alone.landmarks, abs=1e-3)
    assert len(mirrored) == 3


def test_small_and_unlikely_faces_are_left_out(mtcnn: Detector, photo: tuple[np.ndarray, np.ndarray]) -> None:
    pixels, _ = photo
    (faces,) = detect_faces(mtcnn, [pixels], max_side=1280, min_face=40, min_score=0.5)
    heights = faces.boxes[:, 3] - faces.boxes[:, 1]
    (large,) = detect_faces(mtcnn, [pixels], max_side=1280, min_face=0.85 * float(heights.max()), min_score=0.5)
    assert len(large) == 1
    (likely,) = detect_faces(mtcnn, [pixels], max_side=1280, min_face=40, min_score=float(faces.scores.max()) + 1e-6)
    assert len(likely) == 0


@pytest.mark.parametrize("size", [(1, 1), (12, 3000), (40, 11)])
def test_photos_of_any_size_are_searched(mtcnn: Detector, size: tuple[int, int]) -> None:
    (faces,) = detect_faces(mtcnn, [np.zeros((*size, 3), np.uint8)], max_side=1280, min_face=40, min_score=0.5)
    assert len(faces) == 0


def test_photos_are_aligned_in_their_order(
    mtcnn: Detector, photo: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    pixels, _ = photo
    (tmp_path / "faces.png").write_bytes(encode(pixels))
    (tmp_path / "none.png").write_bytes(encode(np.zeros((60, 80, 3), np.uint8)))
    (tmp_path / "bad.png").write_bytes(b"no image")
    paths = [str(tmp_path / name) for name in ("none.png", "faces.png", "bad.png", "faces.png")]
    settings = AlignmentSettings(max_faces=2, size=(109, 89), suffix=".png")
    results = list(align_photos(paths, mtcnn, settings, jobs=2, thumbnails=2, thumbnail_side=100))
    assert [path for path, _ in results] == paths
    blank, first, bad, second = (result for _, result in results)
    assert str(bad) == "not an image, but text"
    assert len(blank.faces) == 0 and blank.crops == []
    assert len(first.faces) == len(first.crops) == 2
    assert first.crops == second.crops
    assert decode_image(first.crops[0]).shape == (109, 89, 3)
    assert first.thumbnail.shape == (78, 100, 3) and second.thumbnail is None
    assert first.size == PHOTO_SIZE
    assert first.transforms == pytest.approx(fit_transforms(alignment_points(first.faces.landmarks)) / 2, rel=0.02)


def test_yunet_is_decoded(tmp_path: Path) -> None:
    values = {
        name: np.zeros((1, 16, width)) for name, width in (("cls_16", 1), ("obj_16", 1), ("bbox_16", 4), ("kps_16", 10))
    }
    cell = 1 * 4 + 2  # row 1, column 2 of 4 x 4 cells of 16 pixels
    values["cls_16"][0, cell], values["obj_16"][0, cell] = 0.9, 0.4
    values["bbox_16"][0, cell] = (0.5, 0.25, np.log(2), np.log(3))
    values["kps_16"][0, cell] = np.arange(10) / 10
    detector = YuNet(yunet_file(tmp_path / "yunet.onnx", values))
    (faces,) = detector.detect([np.zeros((60, 50, 3), np.uint8)], [40])
    assert faces.scores == pytest.approx([0.6])
    assert faces.boxes == pytest.approx(np.array([[40 - 16, 20 - 24, 40 + 16, 20 + 24]]), abs=1e-4)
    landmarks = np.arange(10).reshape(5, 2) / 10 * 16 + (32, 16)
    assert faces.landmarks[0] == pytest.approx(landmarks, abs=1e-4)


def test_what_is_no_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(DetectorError, match="'haar' is not a detector"):
        load_detector("haar")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(DetectorError, match=r"bad\.onnx: ONNX Runtime cannot read it"):
        load_detector(str(tmp_path / "bad.onnx"))
    builder = GraphBuilder()
    builder.node("Identity", "pixels", output="other")
    model = builder.model([1], {"other": [1]})
    model.graph.output[0].type.tensor_type.elem_type = model.graph.input[0].type.tensor_type.elem_type
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DetectorError, match=r"other\.onnx: not a YuNet"):
        load_detector(str(tmp_path / "other.onnx"))
    with pytest.raises(FileNotFoundError):
        load_detector(str(tmp_path / "missing.onnx"))


def test_faces_are_taken_and_scaled() -> None:
    faces = Faces(np.arange(8.0).reshape(2, 4), np.ones((2, 5, 2)), np.array([0.1, 0.9]))
    (scaled,) = faces.take(faces.scores > 0.5).scale(np.array([2, 10])).boxes
    assert scaled.tolist() == [8, 50, 12, 70]
