"""The model that comes along: small, for any face crop, and as right as its card says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools.images import batches, sources
from facetools.network import checkpoint
from facetools.network.checkpoint import STARTER_MODEL
from facetools.network.thresholds import recenter_scores
from facetools.prediction import metrics
from facetools.prediction.predictor import load_predictor
from facetools.table.attributes import PAPER37
from facetools.table.celeba import CelebALayout
from facetools.table.labels import GroundTruth
from tests.conftest import Run

CARD = (STARTER_MODEL.parent / "README.md").read_text()


def test_it_is_small_and_says_what_made_it() -> None:
    assert STARTER_MODEL.stat().st_size <= 10e6
    starter = checkpoint.read_checkpoint(STARTER_MODEL)
    assert (starter.config.backbone, starter.config.attributes) == ("mobilenet_v2", PAPER37)
    assert all(len(starter.parts["thresholds"][aim]) == 37 for aim in ("accuracy", "balanced"))
    assert starter.parts["made_by"]["command"].startswith("fa-train ")
    assert "/" not in starter.parts["made_by"]["command"]
    assert starter.parts["settings"]["recipe"]["weights"] == "none"


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


def test_real_faces_are_told_as_the_card_says(celeba: Path) -> None:
    model = load_predictor(STARTER_MODEL, "cpu", bfloat16=False)
    layout = CelebALayout.find(celeba)
    assert layout is not None
    paths = layout.in_partition(list(sources.find_images([str(layout.images)])), "test")
    decoded = batches.image_batches(
        paths, model.config.image_size, 64, jobs=2, on_failure=lambda path, reason: pytest.fail(path)
    )
    found = np.concatenate([model.scores(pixels) for _, pixels in decoded])
    truth = GroundTruth.read(str(celeba), PAPER37).of(paths).values
    for aim in ("0.5", "accuracy", "balanced"):
        scores = found if aim == "0.5" else recenter_scores(found, np.array(model.parts["thresholds"][aim]))
        row = aim if aim == "0.5" else f"`--thresholds {aim}`"
        stated = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", CARD, re.MULTILINE)
        assert stated
        means = list(metrics.mean_metrics(truth, scores).values())[:4]
        assert [100 * mean for mean in means] == pytest.approx([float(c) for c in stated[1].split(" | ")], abs=0.1)


def test_every_attribute_and_subgroup_is_on_the_card() -> None:
    for name in (*PAPER37, "Male", "not Male", "Young", "not Young"):
        assert f"\n| {name} | " in CARD
    assert "non-commercial" in CARD
