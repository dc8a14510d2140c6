"""Continuing a run whose checkpoint is damaged, belongs to something else, or was changed: a CheckpointError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from facetools.network.checkpoint import CheckpointError
from facetools.training.examples import Examples
from facetools.training.loop import train
from facetools.training.recipes import Recipe
from tests.conftest import TINY, Run

RECIPE = Recipe(
    backbone="shufflenet_v2_x0_5",
    weights="none",
    image_size=(32, 32),
    batch=4,
    head=4,
    epochs=1,
    loss="bce",
    optimizer="adamw",
    averaging=0.9,
)
LABELS = (np.arange(8)[:, None] % 2 == [0, 1]).astype(np.uint8)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{number}.png") for number in range(len(LABELS))]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return Examples(paths, LABELS)


@pytest.fixture(scope="module")
def content(faces: Examples, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The entries of last.pt after one epoch."""
    run = tmp_path_factory.mktemp("run")
    train(RECIPE, ("left", "right"), faces, faces, run, device=torch.device("cpu"))
    return torch.load(run / "last.pt", weights_only=True)


def resume(faces: Examples, run: Path) -> None:
    train(RECIPE, ("left", "right"), faces, faces, run, device=torch.device("cpu"), resume=True)


def test_an_unchanged_run_is_continued(content: dict[str, Any], faces: Examples, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "last.pt")
    resume(faces, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value", "reason"),
    [
        ("settings", None, "it has no settings"),
        ("settings", [1], "it has no settings"),
        ("settings", {}, "was trained with attributes None"),
        ("progress", None, "it has no progress"),
        ("progress", {"epoch": -1}, "epoch is -1"),
        ("progress", {"epoch": 0.5}, "epoch is 0.5"),
        ("progress", {"loss_sum": float("nan")}, "loss_sum is nan"),
        ("progress", {"history": [1]}, "history is not a list of records"),
        ("progress", {"pages": 1}, "unexpected keyword argument 'pages'"),
        ("optimizer", None, "it has no optimizer"),
        ("optimizer", {}, "'param_groups' is missing"),
        ("optimizer", {"param_groups": [], "state": {}}, "list index out of range"),
        ("optimizer", {"param_groups": 3, "state": {}}, "mismatched entries"),
        ("average", None, "mismatched entries"),
        ("average", {}, "mismatched entries: .*Missing key"),
        ("average", {"n_averaged": torch.ones(3, 3)}, "mismatched entries"),
    ],
)
def test_impossible_entries_are_rejected(
    entry: str, value: Any, reason: str, content: dict[str, Any], faces: Examples, tmp_path: Path
) -> None:
    path = tmp_path / "last.pt"
    torch.save(content | {entry: value}, path)
    with pytest.raises(CheckpointError, match=f"^{path}[^\n]*{reason}[^\n]*$"):
        resume(faces, tmp_path)


def test_state_of_another_shape_is_rejected(content: dict[str, Any], faces: Examples, tmp_path: Path) -> None:
    optimizer = content["optimizer"]
    state = optimizer["state"] | {0: optimizer["state"][0] | {"exp_avg": torch.ones(3)}}
    torch.save(content | {"optimizer": optimizer | {"state": state}}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="exp_avg of the optimizer has another shape than its weights"):
        resume(faces, tmp_path)


def test_fa_train_refuses_a_damaged_run(faces: Examples, run: Run, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(
        "image_id,left\n" + "".join(f"{path},{label}\n" for path, label in zip(faces.paths, LABELS[:, 0], strict=True))
    )
    arguments = (*faces.paths, "--labels", tmp_path / "labels.csv", "--attributes", "left", *TINY, "--epochs", "1")
    (tmp_path / "run").mkdir()
    for content, reason in ((b"", "it is empty"), (b"PK\x03\x04 cut", "it is cut off or damaged")):
        (tmp_path / "run" / "last.pt").write_bytes(content)
        failed = run("train", *arguments, "-o", tmp_path / "run", "--resume", check=1)
        message = f"fa-train: {tmp_path}/run/last.pt: not a readable checkpoint: {reason}\n"
        assert failed.stderr.decode().endswith(message)
        assert (tmp_path / "run" / "last.pt").read_bytes() == content
        failed = run("train", *arguments, "-o", tmp_path / "x", "--weights", tmp_path / "run" / "last.pt", check=1)
        assert b"not a readable checkpoint: " in failed.stderr
        assert not (tmp_path / "x").exists()
