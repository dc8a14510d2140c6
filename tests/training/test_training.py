"""Training: it learns, it can be stopped anywhere and goes on as if nothing had happened, it says when it fails."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facetools.images import decoding, reading, writing
from facetools.images.augmentation import Augmentation
from facetools.network.checkpoint import CheckpointError
from facetools.network.model import load_checkpoint
from facetools.training import batches, learner
from facetools.training.averaging import recompute_batch_statistics
from facetools.training.examples import Examples, split_examples
from facetools.training.learner import DivergedError
from facetools.training.loop import TrainingInterrupted, train
from facetools.training.losses import LOSSES
from facetools.training.recipes import MODERN, Recipe
from tests.conftest import TINY, Drawn, Run, command

CPU = torch.device("cpu")
RECIPE = Recipe(
    weights="none", image_size=(32, 32), batch=16, head=32, epochs=2, loss="bce", optimizer="adamw", schedule="onecycle"
)


@pytest.fixture
def faces(tmp_path: Path) -> Examples:
    """40 pictures, bright on the left or on the right: an attribute that anything learns."""
    rng = np.random.default_rng(0)
    labels = (np.arange(40)[:, None] % 2 == [0, 1]).astype(np.uint8)
    paths = []
    for number, left in enumerate(labels[:, 0]):
        pixels = rng.integers(0, 60, (40, 40, 3), dtype=np.uint8)
        pixels[:, : 20 if left else None] += 60
        pixels[:, (0 if left else 20) : (20 if left else 40)] += 130
        paths.append(str(tmp_path / f"{number}.png"))
        writing.write_image(Path(paths[-1]), pixels)
    return Examples(paths, labels)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(path)[0].state_dict()


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last.pt", "best.pt"):
        first, second = weights(one / name), weights(other / name)
        assert all(torch.equal(first[key], second[key]) for key in first), name
    records = [[json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in (one, other)]
    for history in records:
        for record in history:
            del record["images_per_second"]
    assert records[0] == records[1]
    assert records[0]


def test_it_learns_what_is_there(faces: Examples, tmp_path: Path) -> None:
    from facetools.images.augmentation import NO_AUGMENTATION

    recipe = replace(RECIPE, backbone="resnet18", epochs=20, augmentation=NO_AUGMENTATION, batch=20)
    records = []
    train(recipe, ("left", "right"), faces, faces, tmp_path / "run", device=CPU, on_epoch=records.append)
    assert [record["epoch"] for record in records] == list(range(1, 21))
    assert records[-1]["loss"] < records[0]["loss"] / 2
    assert records[-1]["valid_accuracy"] == 1
    assert records[-1]["valid_balanced_accuracy"] == 1


def train_until(stop: int, recipe: Recipe, faces: Examples, run: Path, **settings: Any) -> None:
    """Trains, and is interrupted after `stop` steps."""
    steps: list[int] = []
    asked = {"on_step": steps.append, "interrupted": lambda: len(steps) >= stop}
    with pytest.raises(TrainingInterrupted):
        train(recipe, ("left", "right"), faces, faces, run, device=CPU, **asked, **settings)
    assert len(steps) == stop


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
def test_an_interrupted_run_ends_like_an_unbroken_one(
    faces: Examples, tmp_path: Path, stop_after: int, settings: dict[str, Any]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    recipe = replace(RECIPE, mixup=0.2, **settings)
    train(recipe, ("left", "right"), faces, faces, whole, device=CPU, seed=3)
    train_until(stop_after, recipe, faces, broken, seed=3)
    seen: list[int] = []
    told = {"on_resume": seen.append, "on_step": seen.append}
    train(recipe, ("left", "right"), faces, faces, broken, device=CPU, seed=3, resume=True, **told)
    assert sum(seen) == 80
    assert seen[0] == [0, 16, 32, 40, 56][stop_after]
    assert_same_run(whole, broken)
    last, best = weights(whole / "last.pt"), weights(whole / "best.pt")
    assert all(torch.equal(last[name], best[name]) for name in last) == (not recipe.averaging)


def test_what_is_kept_is_the_average_of_the_network_over_the_steps(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, averaging=0.5, epochs=1, batch=20)
    network: list[dict[str, torch.Tensor]] = []

    def stop_at(step: int) -> Callable[[], bool]:
        return lambda: len(network) == step

    for step in (1, 2):
        network.clear()
        with pytest.raises(TrainingInterrupted):
            run = tmp_path / str(step)
            train(
                recipe,
                ("left", "right"),
                faces,
                faces,
                run,
                device=CPU,
                on_step=lambda images: network.append({}),
                interrupted=stop_at(step),
            )
    first, second = (weights(tmp_path / step / "last.pt") for step in ("1", "2"))
    train(recipe, ("left", "right"), faces, faces, tmp_path / "2", device=CPU, resume=True)
    kept, _ = load_checkpoint(tmp_path / "2" / "best.pt")
    # The average of the first step is the network itself; at the second, 2 / 11 of the old and 9 / 11 of the new.
    for name, value in kept.named_parameters():
        torch.testing.assert_close(value.data, first[name].lerp(second[name], 9 / 11), atol=1e-6, rtol=1e-4)


def test_the_average_normalises_by_its_own_statistics_on_images_as_they_are(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "STATISTICS_BATCHES", 2)
    recipe = replace(RECIPE, averaging=0.5, epochs=1, augmentation=Augmentation(rotation=180))
    train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU)
    kept, _ = load_checkpoint(tmp_path / "best.pt")
    again, _ = load_checkpoint(tmp_path / "best.pt")
    with reading.ImageReader() as reader:
        pixels = np.stack([decoding.load_image(reader, path, (32, 32)) for path in faces.paths])
    tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    recompute_batch_statistics(again, [tensor[rows] for rows in batches.epoch_batches(40, 16, 0, 0)[:2]])
    found, expected = dict(kept.named_buffers()), dict(again.named_buffers())
    statistics = [name for name in found if name.endswith(("running_mean", "running_var"))]
    assert len(statistics) == 2 * 53
    for name in statistics:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-4)


def test_the_average_keeps_the_statistics_of_a_backbone_that_is_not_trained(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, averaging=0.5, epochs=1, freeze_epochs=1)
    train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU)
    means = {name: value for name, value in weights(tmp_path / "best.pt").items() if name.endswith("running_mean")}
    assert [name for name, value in means.items() if value.any()] == ["head.2.running_mean"]


def test_statistics_are_the_means_over_the_batches() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5)).train()
    norm: Any = network[1]
    batches = [torch.rand(count, 3, 5, 7) for count in (2, 3, 4)]
    with torch.no_grad():
        outputs = [network[0](batch).transpose(0, 1).flatten(1) for batch in batches]
    recompute_batch_statistics(network, batches)
    torch.testing.assert_close(norm.running_mean, torch.stack([out.mean(1) for out in outputs]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([out.var(1) for out in outputs]).mean(0))
    assert norm.momentum == 0.1
    assert not any(module.training for module in network.modules())


def test_what_is_taught_is_its_share_of_the_truth(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = np.random.default_rng(0).random((40, 2), np.float32)
    truths: list[torch.Tensor] = []
    inputs = batches.prepare_inputs
    monkeypatch.setattr(learner, "prepare_inputs", lambda *a: truths.append(inputs(*a)[1]) or inputs(*a))
    recipe = replace(RECIPE, averaging=0.9, distillation=0.75, epochs=1)
    train(recipe, ("left", "right"), replace(faces, taught=taught), faces, tmp_path, device=CPU)
    order = np.concatenate(batches.epoch_batches(40, 16, 0, 0))
    np.testing.assert_allclose(torch.cat(truths), (0.25 * faces.labels + 0.75 * taught)[order], atol=1e-6)
    some, rest = split_examples(replace(faces, taught=taught), 0.25, 0)
    for part in (some, rest):
        rows = [faces.paths.index(path) for path in part.paths]
        assert part.taught is not None
        np.testing.assert_array_equal(part.taught, taught[rows])
    for other in (None, taught + np.float32(0.01)):
        with pytest.raises(CheckpointError, match=r"was made with taught [0-9a-f]{12}, not "):
            train(recipe, ("left", "right"), replace(faces, taught=other), faces, tmp_path, device=CPU, resume=True)


def test_distillation_needs_a_teacher(faces: Examples, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="distillation needs a teacher"):
        train(replace(RECIPE, distillation=0.5), ("left", "right"), faces, faces, tmp_path / "run", device=CPU)
    assert not (tmp_path / "run").exists()


def test_the_average_teaches_from_half_of_training_on(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, averaging=0.5, distillation=0.8, batch=10)  # 8 steps
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    truths: list[torch.Tensor] = []
    inputs, loss = batches.prepare_inputs, LOSSES["bce"]

    def look(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        if logits.requires_grad:  # not in validation
            truths.append(truth)
        return loss(logits, truth)

    monkeypatch.setattr(learner, "prepare_inputs", lambda *a: seen.append(inputs(*a)) or seen[-1])
    monkeypatch.setitem(LOSSES, "bce", look)
    train_until(6, recipe, faces, tmp_path)
    assert truths[4] is seen[4][1]
    teacher, checkpoint = load_checkpoint(tmp_path / "last.pt")
    average = {name.removeprefix("module."): value for name, value in checkpoint["average"].items()}
    del average["n_averaged"]
    teacher.load_state_dict(average)
    train_until(1, recipe, faces, tmp_path, resume=True)
    pixels, labels = seen[-1]
    with torch.no_grad():
        expected = labels.lerp(torch.sigmoid(teacher.eval()(pixels)), 0.8 / 2)
    torch.testing.assert_close(truths[-1], expected)


def test_images_grow_to_their_size_and_what_smaller_ones_gave_does_not_count(
    faces: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    load = decoding.load_image

    monkeypatch.setattr(
        decoding, "load_image", lambda reader, path, size: seen.append(size) or load(reader, path, size)
    )
    recipe = replace(RECIPE, epochs=10, growth=0.5, learning_rate=1e-4)
    sizes = []

    def look(record: dict) -> None:
        sizes.append(load_checkpoint(tmp_path / "best.pt")[0].config.image_size)

    train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU, on_epoch=look)
    assert seen == [(side, side) for side in (16, 24, 32) for _ in range(80)]
    assert [sizes[epoch] for epoch in (0, 5, 6, 7, 8, 9)] == [(16, 16)] * 2 + [(24, 24)] * 2 + [(32, 32)] * 2


def test_the_average_begins_anew_where_images_grow(faces: Examples, tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=5, growth=0.5, averaging=0.9)
    for steps, averaged in [(9, 9), (1, 1)]:  # three steps an epoch; the fourth epoch's images are larger
        train_until(steps, recipe, faces, tmp_path, resume=True)
        assert load_checkpoint(tmp_path / "last.pt")[1]["average"]["n_averaged"] == averaged


def test_other_settings_are_not_resumed(faces: Examples, tmp_path: Path) -> None:
    train(RECIPE, ("left", "right"), faces, faces, tmp_path, device=CPU)
    with pytest.raises(CheckpointError, match=r"learning_rate None, not 0\.1"):
        train(replace(RECIPE, learning_rate=0.1), ("left", "right"), faces, faces, tmp_path, device=CPU, resume=True)


def test_a_run_from_before_a_setting_was_there_is_resumed(faces: Examples, tmp_path: Path) -> None:
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


def test_a_loss_that_is_no_number_stops_at_its_step_and_keeps_the_last_good_checkpoint(
    faces: Examples, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, learning_rate=1e30, schedule="constant", optimizer="sgd")
    with pytest.raises(DivergedError, match=r"the loss at step \d+ is (nan|inf)"):
        train(recipe, ("left", "right"), faces, faces, tmp_path, device=CPU)
    for path in tmp_path.glob("*.pt"):
        assert all(tensor.isfinite().all() for tensor in weights(path).values() if tensor.is_floating_point())


def test_a_checkpoint_is_tensors_and_plain_values(drawn: Drawn) -> None:
    content = torch.load(drawn.folder / "run" / "last.pt", weights_only=True)
    assert {"format", "config", "model", "optimizer", "settings", "progress", "made_by"} <= content.keys()
    assert content["config"]["image_size"] == [32, 32]
    assert len(content["config"]["attributes"]) == 37


def test_images_that_fail_are_told_once_and_left_out(faces: Examples, tmp_path: Path) -> None:
    Path(faces.paths[5]).write_bytes(b"not an image")
    told: list[tuple[str, str]] = []
    train(
        replace(RECIPE, epochs=3, growth=0.5),
        ("left", "right"),
        faces,
        faces,
        tmp_path / "run",
        device=CPU,
        on_failure=lambda *what: told.append(what),
    )
    assert [path for path, _ in told] == [faces.paths[5]]


def test_no_readable_image_is_a_failure(faces: Examples, tmp_path: Path) -> None:
    for path in faces.paths:
        Path(path).write_bytes(b"not an image")
    with pytest.raises(ValueError, match="none of the images"):
        train(RECIPE, ("left", "right"), faces, faces, tmp_path / "run", device=CPU)
    assert not (tmp_path / "run" / "last.pt").exists()


def test_split_is_a_partition() -> None:
    examples = Examples([str(number) for number in range(50)], np.arange(100, dtype=np.uint8).reshape(50, 2))
    rest, held_out = split_examples(examples, 0.2, seed=1)
    assert len(held_out) == 10
    assert sorted(rest.paths + held_out.paths, key=int) == examples.paths
    assert (held_out.labels[:, 0] // 2 == [int(path) for path in held_out.paths]).all()


def test_what_is_not_given_is_of_the_recipe_modern(drawn: Drawn, tmp_path: Path, run: Run) -> None:
    given = ("--weights", "none", "--image-size", "32x24", "--shift", "0.1", "--epochs", "0")
    run("train", drawn.folder, "-o", tmp_path / "run", *given)
    augmentation = replace(MODERN.augmentation, shift=0.1)
    recipe = replace(MODERN, weights="none", image_size=(32, 24), augmentation=augmentation, epochs=0)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["recipe"] == recipe.to_dict()


def test_epochs_0_writes_the_untrained_checkpoint(drawn: Drawn, tmp_path: Path, run: Run) -> None:
    done = run("train", drawn.folder, "-o", tmp_path / "run", *TINY, "--epochs", "0")
    assert done.stdout == b""
    model, _ = load_checkpoint(tmp_path / "run" / "best.pt")
    assert model.config.attributes[0] == "5_o_Clock_Shadow"


def test_a_run_is_not_overwritten(drawn: Drawn, run: Run) -> None:
    done = run("train", drawn.folder, "-o", drawn.folder / "run", *TINY, check=1)
    assert b"--resume" in done.stderr


def test_offline_imagenet_weights_name_the_alternatives(drawn: Drawn, tmp_path: Path, run: Run) -> None:
    import os

    offline = {
        **os.environ,
        "TORCH_HOME": str(tmp_path),
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    done = run("train", drawn.folder, "-o", tmp_path / "run", "--image-size", "32", check=1, env=offline)
    assert b"--weights none" in done.stderr
    assert str(tmp_path).encode() in done.stderr


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} was not made")


def test_kill_9_then_resume_ends_like_an_unbroken_run(drawn: Drawn, tmp_path: Path, run: Run) -> None:
    settings = (drawn.folder, *TINY, "--epochs", "4", "--schedule", "onecycle", "--seed", "5")
    run("train", *settings, "-o", tmp_path / "whole")
    with subprocess.Popen(command("train", *settings, "-o", tmp_path / "killed"), stdout=subprocess.DEVNULL) as process:
        wait_for(tmp_path / "killed" / "last.pt", process)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    resumed = run("train", *settings, "-o", tmp_path / "killed", "--resume")
    assert 0 < len(resumed.stdout.splitlines()) < 4
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_batch_systems_signal_writes_a_checkpoint_and_asks_to_be_resumed(
    drawn: Drawn, tmp_path: Path, number: signal.Signals
) -> None:
    line = command("train", drawn.folder, *TINY, "--epochs", "500", "-o", tmp_path / "run")
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
