"""The training loop and fa-train: learning, interruption and exact resumption, averaging, distillation, failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facetools.images import decoding, reading, writing
from facetools.images.augmentation import NO_AUGMENTATION, Augmentation
from facetools.network.checkpoint import CheckpointError
from facetools.network.model import load_checkpoint
from facetools.training import batches, learner
from facetools.training.averaging import recompute_batch_statistics
from facetools.training.examples import Examples, split_examples
from facetools.training.loop import TrainingInterrupted, train
from facetools.training.losses import LOSSES
from facetools.training.progress import DivergedError
from facetools.training.recipes import MODERN, Recipe
from facetools.training.step import TrainingStep
from tests.conftest import TINY, Run, SyntheticFaces, command

CPU = torch.device("cpu")
RECIPE = Recipe(
    weights="none", image_size=(32, 32), batch=16, head=32, epochs=2, loss="bce", optimizer="adamw", schedule="onecycle"
)


@pytest.fixture
def faces(tmp_path: Path) -> Examples:
    """40 images, bright on the left or on the right half, which are the attributes."""
    rng = np.random.default_rng(0)
    labels = (np.arange(40)[:, None] % 2 == [0, 1]).astype(np.uint8)
    paths = []
    for number, left in enumerate(labels[:, 0]):
        pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
        pixels[:, : 20 if left else None] += 60
        pixels[:, (0 if left else 20) : (20 if left else 40)] += 130
        paths.append(str(tmp_path / f"{number}.png"))
        Path(paths[-1]).write_bytes(writing.encode_image(pixels, ".png"))
    return Examples(paths, labels)


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights and buffers in a checkpoint."""
    return load_checkpoint(path)[0].state_dict()


def assert_same_run(one: Path, other: Path) -> None:
    """Assert that two run folders have equal weights and records, apart from the throughput."""
    for name in ("last.pt", "best.pt"):
        first, second = weights(one / name), weights(other / name)
        assert all(torch.equal(first[key], second[key]) for key in first), name
    records = [[json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in (one, other)]
    for history in records:
        for record in history:
            del record["images_per_second"]
    assert records[0] == records[1]
    assert records[0]


def test_training_learns_an_easy_attribute(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, backbone="resnet18", epochs=20, augmentation=NO_AUGMENTATION, batch=20)
    records = []
    train(recipe, ("left", "right"), faces, faces, tmp_path / "run", device=CPU, on_epoch=records.append)
    assert [record["epoch"] for record in records] == list(range(1, 21))
    assert records[-1]["loss"] < records[0]["loss"] / 2
    assert records[-1]["valid_accuracy"] == 1
    assert records[-1]["valid_balanced_accuracy"] == 1


def train_until(step: int, recipe: Recipe, faces: Examples, run: Path, **options: Any) -> None:
    """Train, and interrupt the run after `step` steps."""
    steps: list[int] = []
    callbacks = {"on_step": steps.append, "should_stop": lambda: len(steps) >= step}
    with pytest.raises(TrainingInterrupted):
        train(recipe, ("left", "right"), faces, faces, run, device=CPU, **callbacks, **options)
    assert len(steps) == step


@pytest.mark.parametrize(
    ("stop_after", "settings"),
    [
        (1, {"averaging": 0.9}),
        (3, {}),
        (4, {"averaging": 0.9}),
        (4, {"averaging": 0.9, "distillation": 0.5}),
        (3, {"averaging": 0.9, "growth": 0.5}),
        (4, {"growth": 0.5}),
        (4, {"optimizer": "muon"}),
        (2, {"optimizer": "muon", "freeze_epochs": 1}),
    ],
)
def test_resumed_run_equals_uninterrupted_run(
    faces: Examples, tmp_path: Path, stop_after: int, settings: dict[str, Any]
) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    recipe = replace(RECIPE, mixup=0.2, **settings)
    train(recipe, ("left", "right"), faces, faces, whole, device=CPU, seed=3)
    train_until(stop_after, recipe, faces, resumed, seed=3)
    image_counts: list[int] = []
    callbacks = {"on_resume": image_counts.append, "on_step": image_counts.append}
    train(recipe, ("left", "right"), faces, faces, resumed, device=CPU, seed=3, resume=True, **callbacks)
    assert sum(image_counts) == 80
    assert image_counts[0] == [0, 16, 32, 40, 56][stop_after]
    assert_same_run(whole, resumed)
    last, best = weights(whole / "last.pt"), weights(whole / "best.pt")
    assert all(torch.equal(last[name], best[name]) for name in last) == (not recipe.averaging)


class Abandoned(Exception):
    """Ends a training whose state another thread has saved."""


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("place", ["first step", "second step", "validation"])
def test_run_saved_by_another_thread_resumes_exactly(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, averaging: float
) -> None:
    """Within a step, when its gradients are computed, and in validation with its own batch norm statistics."""
    recipe = replace(RECIPE, averaging=averaging)
    train(recipe, ("left", "right"), faces, faces, tmp_path / "whole", device=CPU)

    save: list[Callable[[], None]] = []
    places = iter(("first step", "second step", "third step", "validation"))

    def interrupt(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = function(*arguments)
            if next(places) == place:
                thread = threading.Thread(target=save[0])
                thread.start()
                thread.join(60)
                raise Abandoned
            return result

        return call

    with monkeypatch.context() as patches, pytest.raises(Abandoned):
        patches.setattr(TrainingStep, "_compute_gradients", interrupt(TrainingStep._compute_gradients))
        patches.setattr(learner, "predict_examples", interrupt(learner.predict_examples))
        train(recipe, ("left", "right"), faces, faces, tmp_path / "saved", device=CPU, on_start=save.append)
    train(recipe, ("left", "right"), faces, faces, tmp_path / "saved", device=CPU, resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "saved")


def test_best_checkpoint_is_the_moving_average_over_steps(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, averaging=0.5, epochs=1, batch=20)
    for step in (1, 2):
        train_until(step, recipe, faces, tmp_path / str(step))
    first, second = (weights(tmp_path / step / "last.pt") for step in ("1", "2"))
    train(recipe, ("left", "right"), faces, faces, tmp_path / "2", device=CPU, resume=True)
    average, _ = load_checkpoint(tmp_path / "2" / "best.pt")
    # The average of the first step is the network itself. The second step has weight 9 / 11.
    for name, value in average.named_parameters():
        torch.testing.assert_close(value.data, first[name].lerp(second[name], 9 / 11), atol=1e-6, rtol=1e-4)


def test_average_has_batch_statistics_of_unaugmented_images(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "STATISTICS_BATCHES", 2)
    recipe = replace(RECIPE, averaging=0.5, epochs=1, augmentation=Augmentation(rotation=180))
    train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU)
    saved, _ = load_checkpoint(tmp_path / "best.pt")
    reference, _ = load_checkpoint(tmp_path / "best.pt")
    with reading.ImageReader() as reader:
        pixels = np.stack([decoding.load_image(reader, path, (32, 32)) for path in faces.paths])
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    recompute_batch_statistics(reference, [tensor[rows] for rows in batches.epoch_batches(40, 16, 0, 0)[:2]])
    actual, expected = dict(saved.named_buffers()), dict(reference.named_buffers())
    statistics = [name for name in actual if name.endswith(("running_mean", "running_var"))]
    assert len(statistics) == 2 * 53
    for name in statistics:
        torch.testing.assert_close(actual[name], expected[name], atol=1e-6, rtol=1e-4)


def test_frozen_backbone_keeps_its_batch_statistics(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, averaging=0.5, epochs=1, freeze_epochs=1)
    train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU)
    means = {name: value for name, value in weights(tmp_path / "best.pt").items() if name.endswith("running_mean")}
    assert [name for name, value in means.items() if value.any()] == ["head.2.running_mean"]


def test_recomputed_batch_statistics_are_means_over_batches() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5)).train()
    norm: Any = network[1]
    pixels = [torch.rand(count, 3, 5, 7) for count in (2, 3, 4)]
    with torch.no_grad():
        outputs = [network[0](batch).transpose(0, 1).flatten(1) for batch in pixels]
    recompute_batch_statistics(network, pixels)
    torch.testing.assert_close(norm.running_mean, torch.stack([out.mean(1) for out in outputs]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([out.var(1) for out in outputs]).mean(0))
    assert norm.momentum == 0.1
    assert not any(module.training for module in network.modules())


def test_teacher_scores_are_blended_into_the_targets(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = np.random.default_rng(0).random((40, 2), np.float32)
    taught = replace(faces, teacher_scores=scores)
    targets: list[torch.Tensor] = []
    prepare = batches.prepare_inputs
    monkeypatch.setattr(learner, "prepare_inputs", lambda *a: targets.append(prepare(*a)[1]) or prepare(*a))
    recipe = replace(RECIPE, averaging=0.9, distillation=0.75, epochs=1)
    train(recipe, ("left", "right"), taught, faces, tmp_path, device=CPU)
    order = np.concatenate(batches.epoch_batches(40, 16, 0, 0))
    np.testing.assert_allclose(torch.cat(targets), (0.25 * faces.labels + 0.75 * scores)[order], atol=1e-6)
    for other in (None, scores + np.float32(0.01)):
        different = replace(faces, teacher_scores=other)
        with pytest.raises(CheckpointError, match=r"was trained with taught [0-9a-f]{12}, not "):
            train(recipe, ("left", "right"), different, faces, tmp_path, device=CPU, resume=True)


def test_distillation_needs_a_teacher(faces: Examples, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="distillation needs a teacher"):
        train(replace(RECIPE, distillation=0.5), ("left", "right"), faces, faces, tmp_path / "run", device=CPU)
    assert not (tmp_path / "run").exists()


def test_average_teaches_from_half_of_training_on(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, averaging=0.5, distillation=0.8, batch=10)  # 8 steps
    inputs: list[tuple[torch.Tensor, torch.Tensor]] = []
    targets: list[torch.Tensor] = []
    prepare, loss = batches.prepare_inputs, LOSSES["bce"]

    def record_targets(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if logits.requires_grad:  # not in validation
            targets.append(target)
        return loss(logits, target)

    monkeypatch.setattr(learner, "prepare_inputs", lambda *a: inputs.append(prepare(*a)) or inputs[-1])
    monkeypatch.setitem(LOSSES, "bce", record_targets)
    train_until(6, recipe, faces, tmp_path)
    assert targets[4] is inputs[4][1]
    teacher, checkpoint = load_checkpoint(tmp_path / "last.pt")
    average = {name.removeprefix("module."): value for name, value in checkpoint["average"].items()}
    del average["n_averaged"]
    teacher.load_state_dict(average)
    train_until(1, recipe, faces, tmp_path, resume=True)
    pixels, labels = inputs[-1]
    with torch.no_grad():
        expected = labels.lerp(torch.sigmoid(teacher.eval()(pixels)), 0.8 / 2)
    torch.testing.assert_close(targets[-1], expected)


def test_images_grow_and_accuracy_of_smaller_ones_does_not_count(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[int, int]] = []
    load = decoding.load_image

    monkeypatch.setattr(
        decoding, "load_image", lambda reader, path, size, *options: loaded.append(size) or load(reader, path, size)
    )
    recipe = replace(RECIPE, epochs=10, growth=0.5, learning_rate=1e-4)
    best_sizes = []

    def record_best_size(record: dict) -> None:
        best_sizes.append(load_checkpoint(tmp_path / "best.pt")[0].config.image_size)

    train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU, on_epoch=record_best_size)
    assert loaded == [(side, side) for side in (16, 24, 32) for _ in range(80)]
    assert [best_sizes[epoch] for epoch in (0, 5, 6, 7, 8, 9)] == [(16, 16)] * 2 + [(24, 24)] * 2 + [(32, 32)] * 2


def test_average_starts_again_when_images_grow(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=5, growth=0.5, averaging=0.9)
    for steps, averaged in [(9, 9), (1, 1)]:  # three steps per epoch; the images of the fourth epoch are larger
        train_until(steps, recipe, faces, tmp_path, resume=True)
        assert load_checkpoint(tmp_path / "last.pt")[1]["average"]["n_averaged"] == averaged


def test_resuming_with_other_settings_is_refused(faces: Examples, tmp_path: Path) -> None:
    train(RECIPE, ("left", "right"), faces, faces, tmp_path, device=CPU)
    with pytest.raises(CheckpointError, match=r"learning_rate None, not 0\.1"):
        train(replace(RECIPE, learning_rate=0.1), ("left", "right"), faces, faces, tmp_path, device=CPU, resume=True)


def test_checkpoint_that_lacks_a_new_setting_resumes_with_its_default(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, averaging=0.9)
    train_until(1, recipe, faces, tmp_path)
    content = torch.load(tmp_path / "last.pt", weights_only=True)
    del content["settings"]["recipe"]["distillation"], content["settings"]["recipe"]["augmentation"]["contrast"]
    torch.save(content, tmp_path / "last.pt")
    for other, message in (
        (replace(recipe, distillation=0.5), r"distillation 0\.0, not 0\.5"),
        (replace(recipe, augmentation=Augmentation(contrast=0.1)), r"contrast 0\.0, not 0\.1"),
    ):
        with pytest.raises(CheckpointError, match=message):
            train_until(1, other, faces, tmp_path, resume=True)
    train_until(1, recipe, faces, tmp_path, resume=True)


def test_diverged_loss_stops_training_and_keeps_good_checkpoints(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, learning_rate=1e30, schedule="constant", optimizer="sgd")
    with pytest.raises(DivergedError, match=r"the loss at step \d+ is (nan|inf)"):
        train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU)
    for path in tmp_path.glob("*.pt"):
        assert all(tensor.isfinite().all() for tensor in weights(path).values() if tensor.is_floating_point())


def test_checkpoint_holds_tensors_and_plain_values_only(synthetic: SyntheticFaces) -> None:
    content = torch.load(synthetic.folder / "run" / "last.pt", weights_only=True)
    assert {"format", "config", "model", "optimizer", "settings", "progress", "made_by"} <= content.keys()
    assert content["config"]["image_size"] == [32, 32]
    assert len(content["config"]["attributes"]) == 37


def test_unreadable_image_is_reported_once_and_skipped(faces: Examples, tmp_path: Path) -> None:
    Path(faces.paths[5]).write_bytes(b"not an image")
    failures: list[tuple[str, str]] = []
    train(
        replace(RECIPE, epochs=3, growth=0.5),
        ("left", "right"),
        faces,
        faces,
        tmp_path / "run",
        device=CPU,
        on_failure=lambda path, reason: failures.append((path, reason)),
    )
    assert [path for path, _ in failures] == [faces.paths[5]]


def test_training_without_readable_images_fails(faces: Examples, tmp_path: Path) -> None:
    for path in faces.paths:
        Path(path).write_bytes(b"not an image")
    with pytest.raises(ValueError, match="none of the images"):
        train(RECIPE, ("left", "right"), faces, faces, tmp_path / "run", device=CPU)
    assert not (tmp_path / "run" / "last.pt").exists()


def test_split_examples_partitions_them() -> None:
    examples = Examples([str(number) for number in range(50)], np.arange(100, dtype=np.uint8).reshape(50, 2))
    training, held_out = split_examples(examples, 0.2, seed=1)
    assert len(held_out) == 10
    assert sorted(training.paths + held_out.paths, key=int) == examples.paths
    assert (held_out.labels[:, 0] // 2 == [int(path) for path in held_out.paths]).all()
    taught = replace(examples, teacher_scores=np.arange(50, dtype=np.float32)[:, None])
    for part in split_examples(taught, 0.2, seed=1):
        assert part.teacher_scores is not None
        assert part.teacher_scores[:, 0].tolist() == [int(path) for path in part.paths]


def test_fa_train_defaults_are_those_of_modern(synthetic: SyntheticFaces, tmp_path: Path, run: Run) -> None:
    options = ("--weights", "none", "--image-size", "32x24", "--shift", "0.1", "--epochs", "0")
    run("train", synthetic.folder, "-o", tmp_path / "run", *options)
    augmentation = replace(MODERN.augmentation, shift=0.1)
    recipe = replace(MODERN, weights="none", image_size=(32, 24), augmentation=augmentation, epochs=0)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"] == recipe.to_dict()


def test_zero_epochs_write_an_untrained_checkpoint(synthetic: SyntheticFaces, tmp_path: Path, run: Run) -> None:
    done = run("train", synthetic.folder, "-o", tmp_path / "run", *TINY, "--epochs", "0")
    assert done.stdout == b""
    model, _ = load_checkpoint(tmp_path / "run" / "best.pt")
    assert model.config.attributes[0] == "5_o_Clock_Shadow"


def test_fa_train_does_not_overwrite_a_run(synthetic: SyntheticFaces, run: Run) -> None:
    done = run("train", synthetic.folder, "-o", synthetic.folder / "run", *TINY, check=1)
    assert b"--resume" in done.stderr


def test_missing_imagenet_weights_error_names_alternatives(synthetic: SyntheticFaces, tmp_path: Path, run: Run) -> None:
    offline = {
        **os.environ,
        "TORCH_HOME": str(tmp_path),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = run("train", synthetic.folder, "-o", tmp_path / "run", "--image-size", "32", check=1, env=offline)
    assert b"--weights none" in done.stderr
    assert str(tmp_path).encode() in done.stderr


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written")


def test_run_resumed_after_sigkill_equals_uninterrupted_run(
    synthetic: SyntheticFaces, tmp_path: Path, run: Run
) -> None:
    settings = (synthetic.folder, *TINY, "--epochs", "4", "--schedule", "onecycle", "--seed", "5")
    run("train", *settings, "-o", tmp_path / "whole")
    with subprocess.Popen(command("train", *settings, "-o", tmp_path / "killed"), stdout=subprocess.DEVNULL) as process:
        wait_for(tmp_path / "killed" / "last.pt", process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    resumed = run("train", *settings, "-o", tmp_path / "killed", "--resume")
    assert 0 < len(resumed.stdout.splitlines()) < 4
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signal_of_a_batch_system_writes_a_checkpoint_and_exits_75(
    synthetic: SyntheticFaces, tmp_path: Path, number: signal.Signals
) -> None:
    line = command("train", synthetic.folder, *TINY, "--epochs", "500", "-o", tmp_path / "run")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 75
    assert number.name.encode() in stderr
    _, checkpoint = load_checkpoint(tmp_path / "run" / "last.pt")
    assert checkpoint["progress"]["epoch"] >= 1
    assert not list((tmp_path / "run").glob("*.part"))
