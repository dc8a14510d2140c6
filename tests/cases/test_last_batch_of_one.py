"""Training on a number of images that leaves one for the last batch, which batch norm could not normalize."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.cases.faces import write_faces
from tests.conftest import Run

OPTIONS = ("--weights", "none", "--image-size", "32", "--epochs", "2", "--head", "8", "--jobs", "1")


@pytest.fixture
def five(tmp_path: Path) -> tuple[str, ...]:
    """The arguments for five faces: none has a mustache, which must not lead to NaN."""
    rows = "".join(f"{number:06}.jpg,{number % 2},0\n" for number in range(1, 6))
    (tmp_path / "labels.csv").write_text(f"image_id,Smiling,Mustache\n{rows}")
    folder = write_faces(tmp_path / "five", 5)
    return (str(folder), "--labels", str(tmp_path / "labels.csv"), "--attributes", "Smiling,Mustache")


@pytest.mark.parametrize("valid_share", ["0", "0.2"])
def test_a_last_batch_of_one_image_trains(five: tuple[str, ...], tmp_path: Path, run: Run, valid_share: str) -> None:
    done = run("train", *five, *OPTIONS, "--batch", "4", "--valid-share", valid_share, "-o", tmp_path / "run")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["epoch"] for record in records] == [1, 2]
    assert all(math.isfinite(value) for record in records for value in record.values())
    assert (tmp_path / "run" / "best.pt").exists()


def test_a_batch_of_one_image_is_refused(five: tuple[str, ...], tmp_path: Path, run: Run) -> None:
    done = run("train", *five, *OPTIONS, "--batch", "1", "-o", tmp_path / "run", check=None)
    assert done.returncode in (1, 2)
    assert b"at least 2" in done.stderr
