"""A drawn face, and the scores that the starter model gives to images in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from facetools.synthetic.drawing import draw_numbered_face
from tests.conftest import Run

#: How much the scores of the same face may differ.
TOLERANCE = 0.02


def draw_face(number: int = 0) -> Image.Image:
    """A face of 109 x 89 pixels."""
    return draw_numbered_face(number, 0, (109, 89))[1]


def predict_folder(run: Run, folder: Path, *options: str, check: int = 0) -> tuple[dict[str, np.ndarray], str]:
    """The scores of the images in `folder` by file name, and what fa-predict prints on stderr."""
    completed = run("predict", folder, "--quiet", *options, check=check)
    records = [json.loads(line) for line in completed.stdout.splitlines()]
    scores = {Path(record["path"]).name: np.array(list(record["scores"].values())) for record in records}
    return scores, completed.stderr.decode()


def differing(scores: dict[str, np.ndarray], reference: str, tolerance: float = TOLERANCE) -> set[str]:
    """The images whose scores are not those of the image `reference`."""
    return {name for name, values in scores.items() if np.abs(values - scores[reference]).max() > tolerance}


def write_faces(folder: Path, count: int) -> Path:
    """Write `count` faces as 000001.jpg, 000002.jpg, ... and return the folder."""
    folder.mkdir()
    for number in range(1, count + 1):
        draw_face(number).save(folder / f"{number:06}.jpg")
    return folder
