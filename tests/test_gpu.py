"""On a GPU: CUDA graphs compute what eager calls compute, and results agree with those of the CPU."""

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
from tests.conftest import Run, SyntheticFaces
from tests.prediction.test_predictor import SMALL, random_faces, random_network
from tests.prediction.test_predictor import small as small
from tests.training.test_training import faces as faces

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CUDA = torch.device("cuda")


def test_graphed_function_computes_each_call() -> None:
    total = torch.zeros(3, device=CUDA)

    def function(numbers: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        total.add_(numbers)
        return (numbers * factor).sum()

    graphed = cuda.GraphedFunction(function, CUDA)
    for step in range(6):
        output = graphed(torch.full((3,), float(step), device=CUDA), torch.tensor(float(step), device=CUDA))
        assert output.item() == 3 * step**2
    assert total.tolist() == [15.0] * 3
    assert graphed(torch.ones(4, device=CUDA)[:3], torch.tensor(2.0, device=CUDA)).item() == 6


def test_upload_copies_arrays() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert (cuda.upload(array, CUDA).cpu().numpy() == array).all()


def test_downloads_do_not_see_later_changes() -> None:
    tensor = torch.zeros(1000, 37, device=CUDA)
    waits = []
    for number in range(5):
        tensor.fill_(number)
        waits.append(cuda.download(tensor))
    for number, wait in enumerate(waits):
        array = wait()
        assert array.shape == (1000, 37) and (array == number).all()


def test_scores_agree_with_the_cpu(small: Path) -> None:
    images = random_faces(50)
    expected = load_predictor(small, "cpu", bfloat16=False).scores(images)
    for bfloat16, tolerance in ((False, 1e-3), (True, 0.02)):
        model = load_predictor(small, "cuda", bfloat16=bfloat16)
        for _ in range(4):  # the third call is captured
            np.testing.assert_allclose(model.scores(images), expected, atol=tolerance)
        np.testing.assert_allclose(model.scores(images[:7]), expected[:7], atol=tolerance)


def test_fa_predict_agrees_with_the_cpu(synthetic: SyntheticFaces, run: Run, tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        options = ("--model", synthetic.model, "--batch", "16", "--device", device, "-o", tmp_path / f"{device}.npy")
        run("predict", synthetic.folder, *options)
    (one, _), (other, _) = (streams.read_table(str(tmp_path / f"{device}.npy")) for device in ("cpu", "cuda"))
    assert (one.paths == other.paths).all()
    assert one.scores is not None and other.scores is not None
    differences = np.abs(one.scores.values - other.scores.values)
    assert 0 < differences.mean() < 0.01 and differences.max() < 0.1


def test_decoded_pixels_are_not_overwritten(tmp_path: Path, small: Path) -> None:
    """Predicts many batches, which reuse the GPU memory of earlier ones."""
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"{number}.jpg") for number in range(64)]
    for path in paths:
        small_png = writing.encode_image(rng.integers(0, 256, (9, 8, 3), np.uint8), ".png")
        Path(path).write_bytes(writing.encode_image(decoding.decode_image(small_png, (90, 80)), ".jpg"))
    model = load_predictor(small, "cuda", bfloat16=False)
    batches = [
        scores for _, scores in predict_images(model, paths * 40, 64, jobs=4, on_failure=lambda path, reason: None)
    ]
    reference = load_predictor(small, "cpu", bfloat16=False)
    expected = np.concatenate(
        [reference.scores(decoding.decode_image(Path(path).read_bytes(), SMALL.image_size)[None]) for path in paths]
    )
    for scores in batches:
        np.testing.assert_allclose(scores, batches[0], atol=1e-4)
    np.testing.assert_allclose(batches[0], expected, atol=0.05)


def test_faiss_agrees_with_the_cpu() -> None:
    faiss = pytest.importorskip("faiss")
    if not faiss.get_num_gpus():
        pytest.skip("FAISS is built without GPU support")
    rng = np.random.default_rng(0)
    rows, centroids = rng.random((10_000, 37), np.float32), rng.random((50, 37), np.float32)
    actual, expected = (
        VectorRows(rows, np.ones(10_000, np.int64), 2, number).assign(centroids) for number in (0, None)
    )
    assert (actual[0] == expected[0]).mean() > 0.999
    np.testing.assert_allclose(actual[1], expected[1], atol=1e-4)


def losses(run: Path) -> list[float]:
    """The training loss of each epoch of a run."""
    return [json.loads(line)["loss"] for line in (run / "history.jsonl").read_text().splitlines()]


RECIPE = replace(
    MODERN, weights="none", image_size=(32, 32), batch=16, head=32, epochs=4, dropout=0.0, mixup=0.2, distillation=0.7
)


def test_inputs_and_losses_of_training_agree_with_the_cpu(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    recipe = replace(RECIPE, learning_rate=1e-7, amp="off", augmentation=replace(MODERN.augmentation, grayscale=0.5))
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
def test_replayed_steps_train_like_eager_steps(
    settings: dict[str, Any], faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, **{"learning_rate": 1e-4, "amp": "off", **settings})
    replays = {2: 0, 1000: 0}  # number of replays, by EAGER_CALLS
    replay = torch.cuda.CUDAGraph.replay

    def count_and_replay(graph: torch.cuda.CUDAGraph) -> None:
        replays[cuda.EAGER_CALLS] += 1
        replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", count_and_replay)
    for eager_calls in replays:
        monkeypatch.setattr(cuda, "EAGER_CALLS", eager_calls)
        train(recipe, ("left", "right"), faces, faces, tmp_path / str(eager_calls), device=CUDA)
    assert replays[2] >= 4 and replays[1000] == 0
    replayed, eager = losses(tmp_path / "2"), losses(tmp_path / "1000")
    np.testing.assert_allclose(replayed, eager, rtol=0.02 if recipe.amp == "bf16" else 2e-3)


def test_training_resumes_on_another_device(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, learning_rate=1e-4, dropout=0.3, amp="off")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe, ("left", "right"), faces, faces, whole, device=CUDA)
    for device, last_step in (("cuda", 5), ("cpu", 1), ("cuda", None)):
        steps: list[int] = []
        with suppress(TrainingInterrupted):
            train(
                recipe, ("left", "right"), faces, faces, parts, device=torch.device(device), resume=True,
                on_step=steps.append, should_stop=lambda steps=steps, last_step=last_step: len(steps) == last_step,
            )  # fmt: skip
    # Dropout draws other random numbers in the step on the CPU.
    np.testing.assert_allclose(losses(parts), losses(whole), rtol=0.1)


def test_moving_average_updates_equally_by_number_and_by_tensor() -> None:
    model: AttributeNet = random_network(SMALL).to(CUDA)
    by_number, by_tensor = MovingAverage(model, 0.9), MovingAverage(model, 0.9)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(1)
    by_number.update(model, 0.25)
    by_tensor.update(model, torch.tensor(0.25, device=CUDA))
    for actual, expected in zip(by_tensor.state_dict().values(), by_number.state_dict().values(), strict=True):
        torch.testing.assert_close(actual, expected)
