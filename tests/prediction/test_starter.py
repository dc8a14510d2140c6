"""Tests of the starter model: its size and provenance, its predictions for any image, and the figures of its card."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facetools.images import batches, sources
from facetools.network.checkpoint import STARTER_MODEL, read_checkpoint
from facetools.network.thresholds import THRESHOLD_CRITERIA, recenter_scores
from facetools.prediction.metrics import mean_metrics
from facetools.prediction.predictor import load_predictor
from facetools.table.attributes import PAPER37
from facetools.table.celeba import CelebALayout
from facetools.table.labels import GroundTruth
from tests.conftest import Run

CARD = (STARTER_MODEL.parent / "README.md").read_text()


def test_starter_model_is_small_and_records_its_provenance() -> None:
    assert STARTER_MODEL.stat().st_size <= 10e6
    starter = read_checkpoint(STARTER_MODEL)
    assert (starter.config.backbone, starter.config.attributes) == ("mobilenet_v2", PAPER37)
    assert all(len(starter.entries["thresholds"][criterion]) == 37 for criterion in THRESHOLD_CRITERIA)
    assert starter.entries["made_by"]["command"].startswith("fa-train ")
    assert "/" not in starter.entries["made_by"]["command"]
    assert starter.entries["settings"]["recipe"]["weights"] == "none"


def test_prediction_without_model_option_uses_the_starter_model_and_reports_it(tmp_path: Path, run: Run) -> None:
    rng = np.random.default_rng(0)
    for name, mode, size in [
        ("gray.png", "L", (178, 218)),
        ("wide.jpg", "RGB", (400, 90)),
        ("tall.png", "RGBA", (20, 300)),
        ("tiny.bmp", "RGB", (3, 2)),
    ]:
        noise = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(tmp_path / name)
    done = run("predict", tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(row["path"]).name for row in rows] == ["gray.png", "tall.png", "tiny.bmp", "wide.jpg"]
    assert all(list(row["scores"]) == list(PAPER37) for row in rows)
    assert all(0 <= score <= 1 for row in rows for score in row["scores"].values())
    assert b"starter model" in done.stderr
    assert run("predict", tmp_path, "--quiet").stderr == b""


def test_means_on_celeba_equal_those_of_the_card(celeba: Path) -> None:
    model = load_predictor(STARTER_MODEL, "cpu", bfloat16=False)
    layout = CelebALayout.find(celeba)
    assert layout is not None
    paths = layout.select_partition(list(sources.find_images([str(layout.images)])), "test")
    decoded = batches.image_batches(
        paths, model.config.image_size, 64, jobs=2, on_failure=lambda path, reason: pytest.fail(path)
    )
    scores = np.concatenate([model.scores(pixels) for _, pixels in decoded])
    labels = GroundTruth.read(str(celeba), PAPER37).match(paths).labels_for(paths).values
    scores_by_row = {"0.5": scores} | {
        f"`--thresholds {criterion}`": recenter_scores(scores, np.array(model.entries["thresholds"][criterion]))
        for criterion in THRESHOLD_CRITERIA
    }
    for row, row_scores in scores_by_row.items():
        cells = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", CARD, re.MULTILINE)
        assert cells
        means = list(mean_metrics(labels, row_scores).values())[:4]
        assert [100 * mean for mean in means] == pytest.approx([float(c) for c in cells[1].split(" | ")], abs=0.1)


def test_card_lists_every_attribute_and_subgroup() -> None:
    for name in (*PAPER37, "Male", "not Male", "Young", "not Young"):
        assert f"\n| {name} | " in CARD
    assert "non-commercial" in CARD
