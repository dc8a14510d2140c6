"""The benchmark of fa-align: composed pictures show their faces where they say, and the script measures them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from facetools.images.decoding import decode_image
from facetools.photos.alignment import TEMPLATE, crop_face

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def align() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    import align

    yield align
    sys.path.remove(str(BENCHMARKS))


def record(kind: str, height: float, **values: Any) -> dict[str, Any]:
    about = {"number": 0, "blur": 0.0, "brightness": 1.0, "quality": 90}
    return about | {"kind": kind, "height": height} | values


def test_faces_in_composed_pictures_are_where_their_transforms_say(celeba: Path, align: ModuleType) -> None:
    composer = align.Composer(celeba, align.SEED)
    # No shift, and shifts in pixels of CelebA's images.
    shifts = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    differences = []
    for number in range(8):
        picture = composer.compose(number)
        photo = decode_image(picture.jpeg)
        for face in picture.faces:
            if face.height < 112 or picture.brightness < 1:
                continue
            original = decode_image(composer.read(face.name), (218, 178))[60:180, 40:140].astype(float)
            crops = [crop_face(photo, face.transform + [[0, 0, x], [0, 0, y]])[60:180, 40:140] for x, y in shifts]
            differences.append([np.abs(crop - original).mean() for crop in crops])
    assert len(differences) >= 3
    assert np.argmin(differences, axis=1).tolist() == [0] * len(differences)


def test_composed_pictures_follow_the_rules_and_repeat(celeba: Path, align: ModuleType) -> None:
    composer = align.Composer(celeba, align.SEED)
    pictures = [composer.compose(number) for number in range(10)]
    assert composer.compose(3).jpeg == pictures[3].jpeg != pictures[4].jpeg
    for picture in pictures:
        rows, columns = decode_image(picture.jpeg).shape[:2]
        assert 1 <= len(picture.faces) <= 4 and 30 <= picture.quality <= 95
        assert 0 <= picture.blur <= 1.5 and 0.25 <= picture.brightness <= 1
        for face in picture.faces:
            assert 30 <= face.height <= 400 and face.tilt <= 30
            assert (face.points > 0).all() and (face.points < (columns, rows)).all()


def test_errors_are_relative_to_the_distance_of_the_eyes(align: ModuleType) -> None:
    eye_distance = TEMPLATE[1, 0] - TEMPLATE[0, 0]
    assert align.relative_error(TEMPLATE + [0.1 * eye_distance, 0], TEMPLATE) == pytest.approx(0.1)
    assert align.relative_error(5 * TEMPLATE, 5 * TEMPLATE + [0, eye_distance]) == pytest.approx(0.2)


def test_small_faces_are_not_required_but_all_false_detections_count(align: ModuleType) -> None:
    records = [
        *(record("found", 50, tilt=5.0, error=error, landmark_error=2 * error) for error in (0.03, 0.04)),
        record("found", 35, tilt=5.0, error=9.0, landmark_error=9.0),
        *(record("missed", height, tilt=25.0, tested=True) for height in (45, 35)),
        *(record("false", height) for height in (36, 80)),
    ]
    result = align.summarize(records, 1)
    whole = result["all"]
    assert (whole["faces"], whole["missed"], whole["false"], whole["false_under_40"]) == (3, 1, 2, 1)
    assert whole["recall"] == pytest.approx(2 / 3) and whole["precision"] == pytest.approx(2 / 4)
    assert whole["rms_error"] == pytest.approx(np.sqrt((0.03**2 + 0.04**2) / 2))
    assert whole["landmark_median_error"] == pytest.approx(0.07)
    for group in ("tilt over 20", "test partition"):
        assert result["groups"][group] == {"faces": 1, "missed": 1, "false": 0, "false_under_40": 0}


def test_a_partial_run_keeps_the_other_parts(celeba: Path, tmp_path: Path) -> None:
    results, sheet = tmp_path / "align.json", tmp_path / "sheet.png"
    results.write_text(json.dumps({"photos": {"mtcnn": {"photos": 3, "wrong_counts": 1}}}))
    line = [sys.executable, str(BENCHMARKS / "align.py"), "--celeba", str(celeba), "--only", "composites"]
    options = ["--pictures", "12", "--results", str(results), "--sheet", str(sheet)]
    done = subprocess.run([*line, *options], check=True, capture_output=True, text=True)
    content = json.loads(results.read_text())
    assert content["photos"] == {"mtcnn": {"photos": 3, "wrong_counts": 1}}
    assert content["composites"]["mtcnn"]["all"]["recall"] > 0.9
    assert content["composites"]["mtcnn"]["all"]["rms_error"] < 0.08
    assert decode_image(sheet.read_bytes()).shape[0] >= 218
    stored = [sys.executable, str(BENCHMARKS / "align.py"), "--stored", "--results", str(results)]
    assert subprocess.run(stored, check=True, capture_output=True, text=True).stdout == done.stdout
