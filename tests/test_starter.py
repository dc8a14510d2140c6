"""The model that comes along: small, for any face crop, and as right as its card says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools.attributes import PAPER37
from facetools.model import STARTER, load_checkpoint

from .conftest import Run

CARD = (STARTER.parent / "README.md").read_text()


def test_it_is_small_and_says_what_made_it() -> None:
    assert STARTER.stat().st_size <= 10e6
    model, content = load_checkpoint(STARTER)
    assert (model.config.backbone, model.config.attributes) == ("mobilenet_v2", PAPER37)
    assert all(len(content["thresholds"][aim]) == 37 for aim in ("accuracy", "balanced"))
    assert content["made_by"]["command"].startswith("fa-train ")
    assert "/" not in content["made_by"]["command"]
    assert content["settings"]["recipe"]["weights"] == "none"


def test_without_a_model_it_predicts_any_crop_and_says_so(tmp_path: Path, run: Run) -> None:
    rng = np.random.default_rng(0)
    for name, mode, size in [
        ("grey.png", "L", (178, 218)),
        ("wide.jpg", "RGB", (400, 90)),
        ("tall.png", "RGBA", (20, 300)),
        ("tiny.bmp", "RGB", (3, 2)),
    ]:
        noise = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(tmp_path / name)
    done = run("predict", tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["grey.png", "tall.png", "tiny.bmp", "wide.jpg"]
    assert all(list(row["scores"]) == list(PAPER37) for row in rows)
    assert all(0 <= score <= 1 for row in rows for score in row["scores"].values())
    assert b"the starter model predicts" in done.stderr
    assert run("predict", tmp_path, "--quiet").stderr == b""


def test_real_faces_are_told_as_the_card_says(celeba: Path, run: Run) -> None:
    for thresholds, row in [("0.5", "0.5"), ("balanced", "`--thresholds balanced`")]:
        line = run("predict", celeba, "--partition", "test", "--labels", celeba, "--thresholds", thresholds).stderr
        found = [float(share) for share in re.findall(rb"(\d+\.\d+)%", line)]
        stated = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", CARD, re.MULTILINE)
        assert stated
        # bfloat16, where the hardware has it, moves scores by up to 0.01.
        assert found == pytest.approx([float(cell) for cell in stated[1].split(" | ")], abs=0.5)


def test_every_attribute_and_subgroup_is_on_the_card() -> None:
    for name in (*PAPER37, "Male", "not Male", "Young", "not Young"):
        assert f"\n| {name} | " in CARD
    assert "non-commercial" in CARD
