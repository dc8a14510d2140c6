"""Several processes do what one does: the same table to the byte, the same losses; one that fails stops them all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from facetools.images.cache import open_image_caches
from facetools.network.inference import predict_probabilities, upload_as_float
from facetools.network.model import load_checkpoint
from facetools.runtime.processes import ProcessInfo, first_host, process_info
from facetools.table.celeba import CelebALayout
from facetools.table.labels import GroundTruth
from facetools.training.batches import epoch_batches, share_of_batch
from facetools.training.losses import LOSSES
from tests.conftest import TINY, Drawn, Run, command

PREDICT = ("--batch", "16", "--jobs", "1")


def together(
    world: int,
    *lines: list[str],
    slurm: bool = False,
    meanwhile: Callable[[list[subprocess.Popen[bytes]]], None] = lambda started: None,
) -> list[subprocess.CompletedProcess[bytes]]:
    """Runs `world` processes of one job, all of them by one line or each by its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID") if slurm else ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    started = []
    for rank in range(world):
        values = dict(zip(names, map(str, (rank, world, rank)), strict=True)) | {"MASTER_PORT": port}
        values |= {"SLURM_STEP_NODELIST": "localhost"} if slurm else {"MASTER_ADDR": "127.0.0.1"}
        line = lines[rank % len(lines)]
        started.append(
            subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **values})
        )
    meanwhile(started)
    done = []
    for process in started:
        stdout, stderr = process.communicate(timeout=300)
        done.append(subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr))
    return done


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ProcessInfo()),
        ({"RANK": "0", "WORLD_SIZE": "1"}, ProcessInfo()),
        (
            {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "7"}
            | {"LOCAL_WORLD_SIZE": "2"},
            ProcessInfo(3, 8, 1, "a", 7, 2),
        ),
        # A batch script runs once, whatever number of tasks its steps will have.
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}, ProcessInfo()),
        (
            {
                "SLURM_PROCID": "2",
                "SLURM_STEP_NUM_TASKS": "4",
                "SLURM_LOCALID": "2",
                "SLURM_STEP_NODELIST": "gpu[03-05,9],cpu1",
                "SLURM_JOB_ID": "12",
                "SLURM_STEP_ID": "1",
                "SLURM_STEP_TASKS_PER_NODE": "2,3(x2),1",
            },
            ProcessInfo(2, 4, 2, "gpu03", 20193, 3),
        ),
    ],
)
def test_the_place_is_read_from_the_environment(environment: dict[str, str], expected: ProcessInfo) -> None:
    assert process_info(environment) == expected


def test_a_place_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="RANK is 4; it must be from 0 to 3"):
        process_info({"RANK": "4", "WORLD_SIZE": "4"})
    for wrong in ("RANK", "MASTER_PORT", "LOCAL_WORLD_SIZE"):
        with pytest.raises(ValueError, match=f"{wrong}.* must be numbers"):
            process_info({"RANK": "1", "WORLD_SIZE": "4", wrong: "one"})


@pytest.mark.parametrize(
    ("hosts", "first"), [("a", "a"), ("a1,b2", "a1"), ("n[7,9]", "n7"), ("n[10-12]", "n10"), ("x[1-2],y", "x1")]
)
def test_the_first_host_of_a_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@pytest.mark.parametrize(("world", "encoding", "slurm"), [(2, "jsonl", False), (3, "npy", True)])
def test_a_table_made_together_is_that_of_one(
    drawn: Drawn, run: Run, tmp_path: Path, world: int, encoding: str, slurm: bool
) -> None:
    alone, shared, broken = tmp_path / f"alone.{encoding}", tmp_path / f"shared.{encoding}", tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    line = (drawn.zip, broken, drawn.zip, "--model", drawn.model, *PREDICT, "--thresholds", "balanced")
    one = run("predict", *line, "-o", alone, check=3)
    done = together(world, command("predict", *line, "-o", shared), slurm=slurm)
    assert [process.returncode for process in done] == [3, *[0] * (world - 1)]
    assert shared.read_bytes() == alone.read_bytes()
    assert not (tmp_path / f"shared.{encoding}.parts").exists()
    assert one.stderr.count(b"left out") == b"".join(process.stderr for process in done).count(b"left out") == 2
    assert b"320 faces; version" in done[0].stderr and b"faces;" not in done[1].stderr


def test_parts_that_are_there_are_kept(drawn: Drawn, run: Run, tmp_path: Path) -> None:
    whole, table = tmp_path / "whole.jsonl", tmp_path / "table.jsonl"
    line = (drawn.zip, "--model", drawn.model, *PREDICT)
    run("predict", *line, "-o", whole)
    run("predict", *line, "-o", table, "--parts")
    parts = sorted((tmp_path / "table.jsonl.parts").glob("*.npy"))
    assert len(parts) == 4 and not table.exists()
    parts[2].unlink()
    kept = [part.stat().st_mtime_ns for part in parts if part.exists()]
    again = run("predict", *line, "-o", table, "--parts", check=1).stderr
    assert b"continue it with --resume, or remove it" in again
    other = run("predict", *line, "-o", table, "--resume", "--thresholds", "accuracy", check=1).stderr
    assert b"holds parts of another table: with other thresholds" in other
    run("predict", *line, "-o", table, "--resume", "--parts")
    assert [part.stat().st_mtime_ns for part in parts if part != parts[2]] == kept
    together(2, command("predict", *line, "-o", table, "--resume"))
    assert table.read_bytes() == whole.read_bytes()
    assert run("predict", *line, "--resume", check=2).stderr.count(b"parts of a table lie beside its file") == 1


def test_a_process_that_fails_stops_all_with_its_message(drawn: Drawn, tmp_path: Path) -> None:
    lines = [
        command("predict", drawn.zip, "--model", model, "-o", tmp_path / "table.npy", *PREDICT)
        for model in (drawn.model, tmp_path / "none.pt")
    ]
    done = together(2, *lines)
    assert [process.returncode for process in done] == [1, 1]
    assert b"process 1 of 2: " in done[0].stderr and b"none.pt" in done[0].stderr
    assert b"none.pt: No such file" in done[1].stderr and b"defect" not in done[0].stderr
    assert not (tmp_path / "table.npy").exists()


def test_a_process_that_is_killed_stops_the_others(drawn: Drawn, tmp_path: Path) -> None:
    line = command("train", drawn.folder, *TINY, "--epochs", "1000", "--jobs", "1", "-o", tmp_path / "run")

    def kill_one(started: list[subprocess.Popen[bytes]]) -> None:
        assert started[0].stdout is not None
        started[0].stdout.readline()  # the record of the first epoch
        started[1].kill()

    done = together(2, line, meanwhile=kill_one)
    assert [process.returncode for process in done] == [1, -signal.SIGKILL]
    assert done[0].stderr.count(b"fa-train: ") >= 2 and b"Traceback" not in done[0].stderr
    assert (tmp_path / "run" / "last.pt").exists()


BATCH = 31  # of the 96 images to train on: of the last three the first of three processes has none


@pytest.fixture(scope="session")
def broken(drawn: Drawn, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> tuple[Path, int]:
    """Drawn faces of which the second of so many processes can decode none in its part of the first batch."""
    folder, world = tmp_path_factory.mktemp("broken"), request.param
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        shutil.copy(drawn.folder / name, folder)
    shutil.unpack_archive(drawn.zip, folder)
    rows = (line.split() for line in (folder / "list_eval_partition.txt").read_text().splitlines())
    names = [name for name, partition in rows if partition == "0"]
    for row in epoch_batches(len(names), BATCH, 0, 0)[0][share_of_batch(BATCH, ProcessInfo(1, world))]:
        (folder / "img_align_celeba" / names[row]).write_bytes(b"no picture")
    return folder, world


#: Small steps in float32, without augmentation or dropout, so that a reference can repeat them.
LINE = (*TINY, "--batch", str(BATCH), "--jobs", "1", "--backbone", "resnet18", "--image-size", "64", "--amp", "off")
LINE = (*LINE, "--optimizer", "sgd", "--lr", "2e-5", "--epochs", "2")


def history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(row) for row in (folder / "history.jsonl").read_text().splitlines()]


def images_and_labels(folder: Path, partition: str, names: tuple[str, ...]) -> tuple[list[np.ndarray], torch.Tensor]:
    """The decoded images of a partition, None where one cannot be decoded, and their labels."""
    layout = CelebALayout.find(folder)
    assert layout is not None
    paths = layout.in_partition([str(path) for path in sorted(folder.glob("*/*.jpg"))], partition)
    (pixels,) = open_image_caches([paths], (64, 64), jobs=1, on_failure=lambda path, reason: None, cache="off")
    images = [pixels.batch(np.array([row]))[1] for row in range(len(paths))]
    labels = GroundTruth.read(str(folder)).of(paths, names).values
    return [image[0] if len(image) else None for image in images], torch.from_numpy(labels).float()


def data_parallel_reference(start: Path, folder: Path, world: int, epochs: int) -> torch.Tensor:
    """The weights after training as `world` processes train, computed in this one: every process normalises its own
    part of a batch, and the gradient is that of the mean loss over all images of the batch."""
    network, _ = load_checkpoint(start)
    images, labels = images_and_labels(folder, "train", network.config.attributes)
    groups = [{"params": list(network.parameters())}]
    optimizer = torch.optim.SGD(groups, lr=2e-5, momentum=0.9, nesterov=True)
    for epoch in range(epochs):
        for rows in epoch_batches(len(images), BATCH, 0, epoch):
            shares = (rows[share_of_batch(len(rows), ProcessInfo(rank, world))] for rank in range(world))
            parts = [[row for row in share if images[row] is not None] for share in shares]
            parts = [part for part in parts if len(part) > 1]
            total = sum(map(len, parts))
            optimizer.zero_grad()
            for part in parts:
                pixels = upload_as_float(np.stack([images[row] for row in part]), torch.device("cpu"))
                loss = LOSSES["bce"](network.train()(pixels), labels[part])
                (loss * len(part) / total).backward()
            optimizer.step()
    return torch.cat([weights.flatten() for weights in network.parameters()])


@pytest.mark.parametrize("broken", [2, 3], indirect=True)
def test_gradients_are_averaged_over_all_images_of_a_batch(broken: tuple[Path, int], run: Run, tmp_path: Path) -> None:
    """With batches that do not divide evenly, and of which one process has no image that can be decoded."""
    folder, world = broken
    line = [folder, *LINE, "--no-augment", "--dropout", "0"]
    run("train", *line, "-o", tmp_path / "start", "--epochs", "0")
    done = together(world, command("train", *line, "-o", tmp_path / "shared"))
    assert [process.returncode for process in done] == [3, *[0] * (world - 1)], done[1].stderr
    assert done[1].stdout == b""
    start, shared = (
        torch.cat([weights.flatten() for weights in load_checkpoint(tmp_path / name / "last.pt")[0].parameters()])
        for name in ("start", "shared")
    )
    expected = data_parallel_reference(tmp_path / "start" / "last.pt", folder, world, epochs=2)
    assert (expected - start).norm() > 0
    assert (expected - shared).norm() < 0.02 * (expected - start).norm()


@pytest.mark.parametrize("broken", [2], indirect=True)
def test_what_is_validated_is_what_is_kept(broken: tuple[Path, int], run: Run, tmp_path: Path) -> None:
    """Though each process normalises by its own statistics, and has one image at times, of which there are none."""
    folder, world = broken
    line = (folder, *LINE, "--lr", "0.01", "--no-sync-batchnorm")
    done = together(world, command("train", *line, "-o", tmp_path / "run"))
    assert [process.returncode for process in done] == [3, *[0] * (world - 1)], done[-1].stderr
    network, _ = load_checkpoint(tmp_path / "run" / "last.pt")
    images, truth = images_and_labels(folder, "valid", network.config.attributes)
    shown = upload_as_float(np.stack(images), torch.device("cpu"))
    loss = LOSSES["bce"](torch.logit(predict_probabilities(network.eval(), shown, bfloat16=False)), truth)
    assert history(tmp_path / "run")[-1]["valid_loss"] == pytest.approx(float(loss), abs=2e-6)


def test_a_batch_must_have_two_images_for_each(drawn: Drawn, tmp_path: Path) -> None:
    line = command("train", drawn.folder, *TINY, "--batch", "3", "--jobs", "1", "-o", tmp_path / "run")
    for process in together(2, line):
        assert process.returncode == 1
        assert b"batch is 3; for two images a process it must be at least 4" in process.stderr


@pytest.mark.parametrize("amp", ["auto", "bf16"])
def test_gradients_lie_as_the_average_of_processes_wants_them(drawn: Drawn, tmp_path: Path, amp: str) -> None:
    """Else torch warns that it has to copy them."""
    settings = ("--backbone", "mobilenet_v2", "--amp", amp, "--jobs", "1")
    line = command("train", drawn.folder, *TINY, *settings, "-o", tmp_path / "run")
    for process in together(2, line):
        assert process.returncode == 0 and b"Warning" not in process.stderr, process.stderr
