"""Jobs of several processes: the same tables and gradients as one process, and failures that stop all processes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from facetools.images.cache import open_image_caches
from facetools.network.inference import predict_probabilities, upload_as_float
from facetools.network.model import load_checkpoint
from facetools.runtime.hardware import single_threaded
from facetools.runtime.processes import ProcessInfo, first_host, process_info
from facetools.table.celeba import CelebALayout
from facetools.table.labels import GroundTruth
from facetools.training.batches import epoch_batches, share_of_batch
from facetools.training.losses import LOSSES
from tests.conftest import TINY, Run, SyntheticFaces, command, run_processes

PREDICT_OPTIONS = ("--batch", "16", "--jobs", "1")


def exit_codes(completed: list[subprocess.CompletedProcess[bytes]]) -> list[int]:
    return [process.returncode for process in completed]


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
        # A batch script runs once, although SLURM_NTASKS is the number of tasks of its steps.
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
def test_process_info_is_read_from_the_environment(environment: dict[str, str], expected: ProcessInfo) -> None:
    assert process_info(environment) == expected


def test_invalid_environment_variables_are_refused() -> None:
    with pytest.raises(ValueError, match="RANK is 4; it must be from 0 to 3"):
        process_info({"RANK": "4", "WORLD_SIZE": "4"})
    for invalid in ("RANK", "MASTER_PORT", "LOCAL_WORLD_SIZE"):
        with pytest.raises(ValueError, match=f"{invalid}.* must be numbers"):
            process_info({"RANK": "1", "WORLD_SIZE": "4", invalid: "one"})


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "0", "WORLD_SIZE": "0"}, "WORLD_SIZE is 0; it must be at least 1"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK is -1; it must be from 0 to 1"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "65536"}, "MASTER_PORT is 65536; it must be from 1 to 65535"),
    ],
)
def test_numbers_out_of_range_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        process_info(variables)


def write_processes(proc: Path, *chain: tuple[str, int]) -> Path:
    """Write a /proc with this process and its ancestors, each with its name and its controlling terminal."""
    for number, (name, terminal) in enumerate(chain):
        folder = proc / ("self" if number == 0 else str(100 + number))
        folder.mkdir(parents=True)
        parent = 100 + number + 1 if number + 1 < len(chain) else 1
        (folder / "stat").write_text(f"7 (a) name) S {parent} 7 7 {terminal} -1 0 0")
        (folder / "comm").write_text(f"{name}\n")
    return proc


@pytest.mark.parametrize(
    ("chain", "is_task"),
    [
        # srun --pty bash, and the command in that shell
        ([("python", 34816), ("bash", 34816), ("slurmstepd", 0)], False),
        # srun -n 2 fa-train in that shell: the tasks inherit SLURM_PTY_PORT
        ([("python", 0), ("slurmstepd", 0)], True),
        ([("python", 0), ("job.sh", 0), ("slurmstepd", 0), ("slurmd", 0)], True),
        # srun --pty -n 2 fa-train
        ([("python", 34816), ("slurmstepd", 0)], True),
        # variables that were left over
        ([("python", 0), ("cron", 0)], False),
        ([], False),
    ],
)
def test_a_shell_of_a_slurm_step_is_no_task(tmp_path: Path, chain: list[tuple[str, int]], is_task: bool) -> None:
    variables = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PTY_PORT": "40000"}
    proc = write_processes(tmp_path / "proc", *chain)
    assert (process_info(variables, proc).world == 2) == is_task


@pytest.mark.parametrize(
    ("hosts", "first"), [("a", "a"), ("a1,b2", "a1"), ("n[7,9]", "n7"), ("n[10-12]", "n10"), ("x[1-2],y", "x1")]
)
def test_first_host_of_a_slurm_host_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@pytest.mark.parametrize(("world", "encoding", "slurm"), [(2, "jsonl", False), (3, "npy", True)])
def test_several_processes_predict_the_same_table_as_one(
    synthetic: SyntheticFaces, run: Run, tmp_path: Path, world: int, encoding: str, slurm: bool
) -> None:
    single, shared = tmp_path / f"single.{encoding}", tmp_path / f"shared.{encoding}"
    unreadable = tmp_path / "unreadable.jpg"
    unreadable.write_bytes(b"no picture")
    arguments = (synthetic.zip, unreadable, synthetic.zip, "--model", synthetic.model, *PREDICT_OPTIONS)
    arguments += ("--thresholds", "balanced")
    alone = run("predict", *arguments, "-o", single, check=3)
    completed = run_processes(world, command("predict", *arguments, "-o", shared), slurm=slurm)
    assert exit_codes(completed) == [3, *[0] * (world - 1)]
    assert shared.read_bytes() == single.read_bytes()
    assert not (tmp_path / f"shared.{encoding}.parts").exists()
    all_messages = b"".join(process.stderr for process in completed)
    assert alone.stderr.count(b"left out") == all_messages.count(b"left out") == 2
    assert b"320 faces; version" in completed[0].stderr and b"faces;" not in completed[1].stderr


def test_resume_keeps_existing_parts(synthetic: SyntheticFaces, run: Run, tmp_path: Path) -> None:
    whole, table = tmp_path / "whole.jsonl", tmp_path / "table.jsonl"
    arguments = (synthetic.zip, "--model", synthetic.model, *PREDICT_OPTIONS)
    run("predict", *arguments, "-o", whole)
    run("predict", *arguments, "-o", table, "--parts")
    parts = sorted((tmp_path / "table.jsonl.parts").glob("*.npy"))
    assert len(parts) == 4 and not table.exists()
    parts[2].unlink()
    times = [part.stat().st_mtime_ns for part in parts if part.exists()]
    without_resume = run("predict", *arguments, "-o", table, "--parts", check=1).stderr
    assert b"continue it with --resume, or remove it" in without_resume
    changed_options = run("predict", *arguments, "-o", table, "--resume", "--thresholds", "accuracy", check=1).stderr
    assert b"holds parts of another table, with different thresholds" in changed_options
    run("predict", *arguments, "-o", table, "--resume", "--parts")
    assert [part.stat().st_mtime_ns for part in parts if part != parts[2]] == times
    run_processes(2, command("predict", *arguments, "-o", table, "--resume"))
    assert table.read_bytes() == whole.read_bytes()
    assert run("predict", *arguments, "--resume", check=2).stderr.count(b"parts of a table lie beside its file") == 1


def test_a_failing_process_stops_all_with_its_message(synthetic: SyntheticFaces, tmp_path: Path) -> None:
    lines = [
        command("predict", synthetic.zip, "--model", model, "-o", tmp_path / "table.npy", *PREDICT_OPTIONS)
        for model in (synthetic.model, tmp_path / "none.pt")
    ]
    completed = run_processes(2, *lines)
    assert exit_codes(completed) == [1, 1]
    assert b"process 1 of 2: " in completed[0].stderr and b"none.pt" in completed[0].stderr
    assert b"none.pt: No such file" in completed[1].stderr and b"defect" not in completed[0].stderr
    assert not (tmp_path / "table.npy").exists()


def test_a_killed_process_stops_the_others(synthetic: SyntheticFaces, tmp_path: Path) -> None:
    line = command("train", synthetic.folder, *TINY, "--epochs", "1000", "--jobs", "1", "-o", tmp_path / "run")

    def kill_second(processes: list[subprocess.Popen[bytes]]) -> None:
        assert processes[0].stdout is not None
        processes[0].stdout.readline()  # the record of the first epoch
        processes[1].kill()

    completed = run_processes(2, line, after_start=kill_second)
    assert exit_codes(completed) == [1, -signal.SIGKILL]
    assert completed[0].stderr.count(b"fa-train: ") >= 2 and b"Traceback" not in completed[0].stderr
    assert (tmp_path / "run" / "last.pt").exists()


#: There are 96 training images, so the last batch has 3: the first of three processes gets none of them.
BATCH = 31


@pytest.fixture(scope="session")
def damaged(
    synthetic: SyntheticFaces, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, int]:
    """A folder of faces, and the number of processes (the parameter of the fixture).

    Of the first batch, the second process cannot decode any image in its share.
    """
    folder, world = tmp_path_factory.mktemp("damaged"), request.param
    for name in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        shutil.copy(synthetic.folder / name, folder)
    shutil.unpack_archive(synthetic.zip, folder)
    rows = (line.split() for line in (folder / "list_eval_partition.txt").read_text().splitlines())
    names = [name for name, partition in rows if partition == "0"]
    for row in epoch_batches(len(names), BATCH, 0, 0)[0][share_of_batch(BATCH, ProcessInfo(1, world))]:
        (folder / "img_align_celeba" / names[row]).write_bytes(b"no picture")
    return folder, world


#: Small steps in float32, so that a reference can repeat them.
TRAIN_OPTIONS = (
    *(*TINY, "--batch", str(BATCH), "--jobs", "1", "--backbone", "resnet18", "--image-size", "64", "--amp", "off"),
    *("--optimizer", "sgd", "--lr", "2e-5", "--epochs", "2"),
)


def read_history(folder: Path) -> list[dict[str, float]]:
    return [json.loads(row) for row in (folder / "history.jsonl").read_text().splitlines()]


def load_images_and_labels(
    folder: Path, partition: str, attributes: tuple[str, ...]
) -> tuple[list[np.ndarray], torch.Tensor]:
    """The decoded images of a partition, None where one cannot be decoded, and their labels."""
    layout = CelebALayout.find(folder)
    assert layout is not None
    paths = layout.select_partition([str(path) for path in sorted(folder.glob("*/*.jpg"))], partition)
    (cache,) = open_image_caches([paths], (64, 64), jobs=1, on_failure=lambda path, reason: None, cache="off")
    images = [cache.load_batch(np.array([row]))[1] for row in range(len(paths))]
    labels = GroundTruth.read(str(folder)).match(paths).labels_for(paths, attributes).values
    return [image[0] if len(image) else None for image in images], torch.from_numpy(labels).float()


def flatten_weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weights.flatten() for weights in model.parameters()])


def train_data_parallel_reference(start: Path, folder: Path, world: int, epochs: int) -> torch.Tensor:
    """The weights after training as `world` processes do, computed in this process.

    Each process normalizes its share of a batch. The gradient is that of the mean loss over all images of the batch.
    """
    model, _ = load_checkpoint(start)
    images, labels = load_images_and_labels(folder, "train", model.config.attributes)
    groups = [{"params": list(model.parameters())}]
    optimizer = torch.optim.SGD(groups, lr=2e-5, momentum=0.9, nesterov=True)
    for epoch in range(epochs):
        for rows in epoch_batches(len(images), BATCH, 0, epoch):
            shares = (rows[share_of_batch(len(rows), ProcessInfo(rank, world))] for rank in range(world))
            decodable = ([row for row in share if images[row] is not None] for share in shares)
            parts = [part for part in decodable if len(part) > 1]
            total = sum(map(len, parts))
            optimizer.zero_grad()
            for part in parts:
                pixels = upload_as_float(np.stack([images[row] for row in part]), torch.device("cpu"))
                loss = LOSSES["bce"](model.train()(pixels), labels[part])
                (loss * len(part) / total).backward()
            optimizer.step()
    return flatten_weights(model)


@pytest.mark.parametrize("damaged", [2, 3], indirect=True)
def test_gradients_are_averaged_over_all_images_of_a_batch(damaged: tuple[Path, int], run: Run, tmp_path: Path) -> None:
    """Batches do not divide evenly, and in one of them a process cannot decode any image."""
    folder, world = damaged
    arguments = [folder, *TRAIN_OPTIONS, "--no-augment", "--dropout", "0"]
    run("train", *arguments, "-o", tmp_path / "start", "--epochs", "0")
    completed = run_processes(world, command("train", *arguments, "-o", tmp_path / "shared"))
    assert exit_codes(completed) == [3, *[0] * (world - 1)], completed[1].stderr
    assert completed[1].stdout == b""
    start, shared = (flatten_weights(load_checkpoint(tmp_path / name / "last.pt")[0]) for name in ("start", "shared"))
    with single_threaded():  # as --jobs 1, so that both round alike
        expected = train_data_parallel_reference(tmp_path / "start" / "last.pt", folder, world, epochs=2)
    assert (expected - start).norm() > 0
    assert (expected - shared).norm() < 0.005 * (expected - start).norm()


@pytest.mark.parametrize("damaged", [2], indirect=True)
def test_the_validated_weights_are_saved(damaged: tuple[Path, int], run: Run, tmp_path: Path) -> None:
    """Even if batch norm statistics differ between processes, and a share of one image has none."""
    folder, world = damaged
    arguments = (folder, *TRAIN_OPTIONS, "--lr", "0.01", "--no-sync-batchnorm")
    completed = run_processes(world, command("train", *arguments, "-o", tmp_path / "run"))
    assert exit_codes(completed) == [3, *[0] * (world - 1)], completed[-1].stderr
    model, _ = load_checkpoint(tmp_path / "run" / "last.pt")
    images, labels = load_images_and_labels(folder, "valid", model.config.attributes)
    pixels = upload_as_float(np.stack(images), torch.device("cpu"))
    loss = LOSSES["bce"](torch.logit(predict_probabilities(model.eval(), pixels, bfloat16=False)), labels)
    assert read_history(tmp_path / "run")[-1]["valid_loss"] == pytest.approx(float(loss), abs=2e-6)


def test_a_batch_needs_two_images_per_process(synthetic: SyntheticFaces, tmp_path: Path) -> None:
    line = command("train", synthetic.folder, *TINY, "--batch", "3", "--jobs", "1", "-o", tmp_path / "run")
    for process in run_processes(2, line):
        assert process.returncode == 1
        assert b"batch is 3; for two images per process it must be at least 4" in process.stderr


@pytest.mark.parametrize("amp", ["auto", "bf16"])
def test_gradients_have_the_memory_format_that_torch_expects(
    synthetic: SyntheticFaces, tmp_path: Path, amp: str
) -> None:
    """torch warns if it has to copy gradients to average them over processes."""
    settings = ("--backbone", "mobilenet_v2", "--amp", amp, "--jobs", "1")
    line = command("train", synthetic.folder, *TINY, *settings, "-o", tmp_path / "run")
    for process in run_processes(2, line):
        assert process.returncode == 0 and b"Warning" not in process.stderr, process.stderr
