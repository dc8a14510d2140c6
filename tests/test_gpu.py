"""On a GPU: what is recorded and replayed is what is computed, and commands do there what they do on the CPU."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facetools.clustering.rows import VectorRows
from facetools.images import decoding, writing
from facetools.network import cuda
from facetools.network.model import AttributeNet
from facetools.prediction.predictor import load_predictor, predict_images
from facetools.table import streams
from facetools.training.averaging import MovingAverage
from facetools.training.examples import Examples
from facetools.training.loop import TrainingInterrupted, train
from facetools.training.recipes import MODERN
from tests.conftest import Drawn, Run
from tests.prediction.test_predictor import SMALL, network
from tests.prediction.test_predictor import faces as pixels_of
from tests.prediction.test_predictor import small as small
from tests.training.test_training import faces as faces

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CUDA = torch.device("cuda")


def test_what_is_replayed_is_computed_anew() -> None:
    total = torch.zeros(3, device=CUDA)

    def function(numbers: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        total.add_(numbers)
        return (numbers * factor).sum()

    replayed = cuda.GraphedFunction(function, CUDA)
    for step in range(6):
        found = replayed(torch.full((3,), float(step), device=CUDA), torch.tensor(float(step), device=CUDA))
        assert found.item() == 3 * step**2
    assert total.tolist() == [15.0] * 3
    assert replayed(torch.ones(4, device=CUDA)[:3], torch.tensor(2.0, device=CUDA)).item() == 6


def test_arrays_go_there() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert (cuda.upload(array, CUDA).cpu().numpy() == array).all()


def test_tensors_come_from_there_in_their_turn() -> None:
    tensor = torch.zeros(1000, 37, device=CUDA)
    waits = []
    for number in range(5):
        tensor.fill_(number)
        waits.append(cuda.download(tensor))
    for number, wait in enumerate(waits):
        found = wait()
        assert found.shape == (1000, 37) and (found == number).all()


def test_scores_are_those_of_the_cpu(small: Path) -> None:
    some = pixels_of(50)
    exact = load_predictor(small, "cpu", bfloat16=False).scores(some)
    for bfloat16, within in ((False, 1e-3), (True, 0.02)):
        model = load_predictor(small, "cuda", bfloat16=bfloat16)
        for _ in range(4):  # of which the third is recorded
            np.testing.assert_allclose(model.scores(some), exact, atol=within)
        np.testing.assert_allclose(model.scores(some[:7]), exact[:7], atol=within)


def test_prediction_is_that_of_the_cpu(drawn: Drawn, run: Run, tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        options = ("--model", drawn.model, "--batch", "16", "--device", device, "-o", tmp_path / f"{device}.npy")
        run("predict", drawn.folder, *options)
    (one, _), (other, _) = (streams.read_table(str(tmp_path / f"{device}.npy")) for device in ("cpu", "cuda"))
    assert (one.paths == other.paths).all()
    assert one.scores is not None and other.scores is not None
    differences = np.abs(one.scores.values - other.scores.values)
    assert 0 < differences.mean() < 0.01 and differences.max() < 0.1


def test_pixels_that_are_decoded_there_are_nobody_elses(tmp_path: Path, small: Path) -> None:
    """Many batches, each of which takes memory that the one before has left."""
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number}.jpg") for number in range(64)]
    for path in paths:
        writing.write_image(
            Path(path),
            decoding.decode_image(writing.encode_image(rng.integers(0, 256, (9, 8, 3), np.uint8), ".png"), (90, 80)),
        )
    model = load_predictor(small, "cuda", bfloat16=False)
    found = [scores for _, scores in predict_images(model, paths * 40, 64, jobs=4, on_failure=lambda *told: None)]
    exact = load_predictor(small, "cpu", bfloat16=False)
    expected = np.concatenate(
        [exact.scores(decoding.decode_image(Path(path).read_bytes(), SMALL.image_size)[None]) for path in paths]
    )
    for scores in found:
        np.testing.assert_allclose(scores, found[0], atol=1e-4)
    np.testing.assert_allclose(found[0], expected, atol=0.05)


def test_faiss_finds_there_what_it_finds_on_the_cpu() -> None:
    faiss = pytest.importorskip("faiss")
    if not faiss.get_num_gpus():
        pytest.skip("this FAISS knows no GPU")
    rng = np.random.default_rng(0)
    rows, centroids = rng.random((10_000, 37), np.float32), rng.random((50, 37), np.float32)
    found, expected = (
        VectorRows(rows, np.ones(10_000, np.int64), 2, number).nearest(centroids) for number in (0, None)
    )
    assert (found[0] == expected[0]).mean() > 0.999
    np.testing.assert_allclose(found[1], expected[1], atol=1e-4)


def losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "history.jsonl").read_text().splitlines()]


STEPS = replace(
    MODERN, weights="none", image_size=(32, 32), batch=16, head=32, epochs=4, dropout=0.0, mixup=0.2, distillation=0.7
)


def test_what_is_seen_and_how_it_is_judged_is_that_of_the_cpu(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    recipe = replace(STEPS, learning_rate=1e-7, amp="off", augmentation=replace(MODERN.augmentation, grayscale=0.5))
    for device in ("cpu", "cuda"):
        train(recipe, ("left", "right"), faces, faces, tmp_path / device, device=torch.device(device))
    np.testing.assert_allclose(losses(tmp_path / "cuda"), losses(tmp_path / "cpu"), rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "muon"},
        {"optimizer": "adamw"},
        {"optimizer": "adadelta", "learning_rate": 0.1},
        {"optimizer": "sgd", "learning_rate": 0.01},
        {"dropout": 0.3},
        {"amp": "bf16"},
        {"averaging": 0.0, "distillation": 0.0},
        {"freeze_epochs": 2},
        {"growth": 0.5, "epochs": 8},
    ],
    ids=lambda settings: " ".join(f"{name} {value}" for name, value in settings.items()),
)
def test_what_is_replayed_is_learned(
    settings: dict[str, Any], faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(STEPS, **{"learning_rate": 1e-4, "amp": "off", **settings})
    replays = {2: 0, 1000: 0}
    replay = torch.cuda.CUDAGraph.replay

    def counted(graph: torch.cuda.CUDAGraph) -> None:
        replays[cuda.EAGER_CALLS] += 1
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    for before in replays:
        monkeypatch.setattr(cuda, "EAGER_CALLS", before)
        train(recipe, ("left", "right"), faces, faces, tmp_path / str(before), device=CUDA)
    assert replays[2] >= 4 and replays[1000] == 0
    found, expected = losses(tmp_path / "2"), losses(tmp_path / "1000")
    np.testing.assert_allclose(found, expected, rtol=0.02 if recipe.amp == "bf16" else 2e-3)


def test_training_goes_on_from_where_it_stopped_on_either_device(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(STEPS, learning_rate=1e-4, dropout=0.3, amp="off")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe, ("left", "right"), faces, faces, whole, device=CUDA)
    for device, until in (("cuda", 5), ("cpu", 1), ("cuda", None)):
        seen: list[int] = []
        with suppress(TrainingInterrupted):
            train(
                recipe, ("left", "right"), faces, faces, parts, device=torch.device(device), resume=True,
                on_step=seen.append, interrupted=lambda seen=seen, until=until: len(seen) == until,
            )  # fmt: skip
    # Dropout of the one step on the CPU is another.
    np.testing.assert_allclose(losses(parts), losses(whole), rtol=0.1)


def test_the_average_follows_by_a_tensor() -> None:
    model: AttributeNet = network(SMALL).to(CUDA)
    one, other = MovingAverage(model, 0.9), MovingAverage(model, 0.9)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(1)
    one.follow(model, 0.25)
    other.follow(model, torch.tensor(0.25, device=CUDA))
    for ours, theirs in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs)
