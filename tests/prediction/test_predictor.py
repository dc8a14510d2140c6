"""Tests of prediction: ONNX Runtime and PyTorch agree, and checkpoints are read without torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from facetools.network.architecture import ModelConfig
from facetools.network.checkpoint import CheckpointError, read_checkpoint
from facetools.network.model import AttributeNet, load_checkpoint, save_checkpoint
from facetools.network.onnx import build_onnx_model
from facetools.prediction import backend, predictor
from facetools.prediction.onnx_runtime import OnnxPredictor
from facetools.prediction.predictor import load_predictor
from facetools.prediction.pytorch import CpuPredictor
from facetools.runtime import hardware
from tests.conftest import Run

SMALL = ModelConfig(("Bald", "Smiling", "Young"), head=16, image_size=(48, 36))


def random_network(config: ModelConfig) -> AttributeNet:
    """A network with random weights, in which no batch norm is the identity."""
    torch.manual_seed(0)
    model = AttributeNet(config).train()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 1:
                value.add_(0.3 * torch.randn_like(value))
        for _ in range(4):
            model(torch.rand(8, 3, *config.image_size) * 255)
    return model.eval()


def random_faces(count: int, size: tuple[int, int] = SMALL.image_size) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.pt"
    save_checkpoint(path, random_network(SMALL), thresholds={"accuracy": [0.5, 0.4, 0.3]})
    return path


@pytest.fixture
def plain_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the machine has neither a GPU nor bfloat16."""
    monkeypatch.setattr(hardware, "gpu_count", lambda: 0)
    monkeypatch.setattr(hardware, "cpu_supports_bfloat16", lambda: False)


# The two CPU backends


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize(("first_stride", "size"), [(2, (48, 36)), (2, (45, 33)), (1, (21, 34))])
def test_onnx_scores_equal_torch_scores(
    first_stride: int, size: tuple[int, int], flip_average: bool, tmp_path: Path, plain_cpu: None
) -> None:
    config = replace(SMALL, first_stride=first_stride, image_size=size, flip_average=flip_average)
    save_checkpoint(tmp_path / "model.pt", random_network(config))
    onnx_predictor = load_predictor(tmp_path / "model.pt")
    assert isinstance(onnx_predictor, OnnxPredictor)
    torch_predictor = CpuPredictor(tmp_path / "model.pt", torch.device("cpu"), False)
    faces = random_faces(9, size)
    scores, expected = onnx_predictor.scores(faces), torch_predictor.scores(faces)
    assert scores.dtype == np.float32
    assert expected.std() > 0.01
    np.testing.assert_allclose(scores, expected, atol=2e-6)


def test_flip_average_gives_mirror_images_equal_scores_in_onnx(tmp_path: Path, plain_cpu: None) -> None:
    save_checkpoint(tmp_path / "model.pt", random_network(replace(SMALL, flip_average=True)))
    model, faces = load_predictor(tmp_path / "model.pt"), random_faces(5)
    np.testing.assert_allclose(model.scores(faces), model.scores(faces[:, :, ::-1].copy()), atol=1e-6)


def test_scores_do_not_depend_on_the_batch(small: Path, plain_cpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    faces = random_faces(30)
    expected = load_predictor(small).scores(faces)
    for batch_pixels in (0, 2**30):
        monkeypatch.setattr(backend, "CPU_BATCH_PIXELS", batch_pixels)
        model = load_predictor(small)
        np.testing.assert_array_equal(model.scores(faces), expected)
        np.testing.assert_array_equal(np.concatenate([model.scores(face[None]) for face in faces]), expected)
    assert load_predictor(small).scores(faces[:0]).shape == (0, 3)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("jobs", [1, 3])
def test_files_get_the_scores_of_their_images(jobs: int, bfloat16: bool, small: Path, tmp_path: Path) -> None:
    faces, paths = random_faces(23), []
    for number, face in enumerate(faces):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(face).save(paths[-1])
    (tmp_path / "11.png").write_bytes(b"text")
    model, threads = load_predictor(small, "cpu", bfloat16=bfloat16), torch.get_num_threads()
    failures: list[str] = []
    predictor.choose_precision(model, paths, jobs=jobs)
    batches = list(
        predictor.predict_images(model, paths, 10, jobs=jobs, on_failure=lambda path, _: failures.append(path))
    )
    assert [len(names) for names, _ in batches] == [10, 9, 3]
    assert failures == [paths[11]]
    valid, tolerance = np.delete(np.arange(23), 11), 0.01 if bfloat16 else 1e-6
    assert [name for names, _ in batches for name in names] == [paths[row] for row in valid]
    scores = np.concatenate([scores for _, scores in batches])
    np.testing.assert_allclose(scores, model.scores(faces[valid]), atol=tolerance)
    assert torch.get_num_threads() == threads, "prediction must restore the number of torch threads"


def test_backend_is_chosen_by_hardware_network_and_job_size(
    small: Path, tmp_path: Path, plain_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(load_predictor(small), OnnxPredictor)
    assert load_predictor(small).entries["thresholds"] == {"accuracy": [0.5, 0.4, 0.3]}
    save_checkpoint(tmp_path / "resnet.pt", AttributeNet(ModelConfig(("Bald",), "resnet18", 4, image_size=(32, 32))))
    assert isinstance(load_predictor(tmp_path / "resnet.pt"), CpuPredictor)
    monkeypatch.setattr(hardware, "cpu_supports_bfloat16", lambda: True)
    assert isinstance(load_predictor(small, "cpu"), CpuPredictor)
    assert isinstance(load_predictor(small, "cpu", bfloat16=False), OnnxPredictor)
    assert isinstance(load_predictor(small, "cpu", images=predictor.SMALL_JOB_IMAGES + 1), CpuPredictor)
    monkeypatch.setattr(hardware, "gpu_count", lambda: 1)
    for device in ("auto", "cpu"):
        assert isinstance(load_predictor(small, device, images=predictor.SMALL_JOB_IMAGES), OnnxPredictor)
    for device in ("gpu", "cuda:7"):
        with pytest.raises(ValueError, match=device):
            load_predictor(small, device)


def test_precision_is_chosen_once_by_the_first_faces(
    small: Path, plain_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu_supports_bfloat16", lambda: True)
    probes: list[int] = []
    agrees = "facetools.network.inference.bfloat16_agrees"
    monkeypatch.setattr(agrees, lambda model, pixels: probes.append(len(pixels)) or False)
    model = load_predictor(small, "cpu")
    float32 = CpuPredictor(small, torch.device("cpu"), False)
    np.testing.assert_array_equal(model.scores(random_faces(2)), float32.scores(random_faces(2)))
    assert probes == []
    model.choose_precision(random_faces(40))
    model.scores(random_faces(2))
    assert probes == [backend.PROBE_IMAGES]


def test_scoring_one_face_does_not_import_torch(small: Path, tmp_path: Path) -> None:
    Image.fromarray(random_faces(1)[0]).save(tmp_path / "face.png")
    code = (
        "import sys\nfrom facetools.runtime import hardware\nfrom facetools.commands.predict import main\n"
        "hardware.gpu_count, hardware.cpu_supports_bfloat16 = lambda: 0, lambda: False\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "face.png"), "--model", str(small)]
    assert b'"Smiling"' in subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout


def test_number_of_gpus_equals_that_of_torch() -> None:
    assert hardware.gpu_count() == torch.cuda.device_count()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512f", False), ("fpu avx512_bf16 la57", True), ("amx_bf16 amx_tile", True), ("my_amx_bf16s", False)],
)
def test_bfloat16_support_is_read_from_the_cpu_flags(
    flags: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: amx_bf16\n"
    monkeypatch.setattr(Path, "read_text", lambda path: cpuinfo)
    assert hardware.cpu_supports_bfloat16.__wrapped__() == expected


# The ONNX model


def test_onnx_model_is_valid_and_has_no_batch_norm(small: Path) -> None:
    model = build_onnx_model(read_checkpoint(small))
    onnx.checker.check_model(model, full_check=True)
    assert [(p.key, p.value) for p in model.metadata_props] == [("attributes", "Bald,Smiling,Young")]
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]


def test_exported_model_gives_the_same_scores_in_onnx_runtime(small: Path, run: Run, tmp_path: Path) -> None:
    from facetools.runtime.inference import create_session

    run("export", small, "-o", tmp_path / "small.onnx")
    session = create_session(str(tmp_path / "small.onnx"))
    [scores] = session.run(["scores"], {"pixels": random_faces(3)})
    np.testing.assert_array_equal(scores, load_predictor(small, "cpu", bfloat16=False).scores(random_faces(3)))
    failed = run("export", __file__, "-o", tmp_path / "no.onnx", check=1)
    assert b"not a readable checkpoint" in failed.stderr
    assert not (tmp_path / "no.onnx").exists()


# Checkpoints without torch


@pytest.mark.parametrize("half", [False, True])
def test_checkpoint_is_read_without_torch_like_with_torch(half: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    numbers = torch.arange(24).view(2, 3, 4).transpose(0, 2)[1:]  # with an offset and unusual strides
    model = random_network(SMALL).to(memory_format=torch.channels_last)
    save_checkpoint(
        path, model, half=half, history=[{"loss": 0.5}], numbers=numbers, flag=torch.tensor([True]), none=None
    )
    _, expected = load_checkpoint(path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == SMALL
    assert list(checkpoint.weights) == list(expected["model"])
    for name, value in expected["model"].items():
        np.testing.assert_array_equal(checkpoint.weights[name], value.numpy(), strict=True)
    np.testing.assert_array_equal(checkpoint.entries["numbers"], expected["numbers"].numpy(), strict=True)
    np.testing.assert_array_equal(checkpoint.entries["flag"], [True], strict=True)
    assert checkpoint.entries["none"] is None
    assert checkpoint.entries["history"] == [{"loss": 0.5}]


Weights = dict[str, torch.Tensor]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("head.4.bias"), "head.4.bias"),
        (lambda weights: weights.pop("backbone.0.3.conv.1.0.weight"), "backbone.0.3.conv.1.0.weight"),
        (
            lambda weights: weights.update({"backbone.0.1.conv.1.weight": torch.ones(9, 32, 1, 1)}),
            r"\(16, 32, 1, 1\)",
        ),
        (lambda weights: weights.update({"head.0.weight": torch.ones(16, 12)}), "head.0.weight"),
        (lambda weights: weights.update({"head.0.weight": [1]}), "head.0.weight"),
        (lambda weights: weights.update({"backbone.0.0.0.weight": torch.ones(32)}), "backbone.0.0.0.weight"),
        (
            lambda weights: weights.update({"head.4.weight": torch.ones(2, 16), "head.4.bias": torch.ones(2)}),
            r"head.4.weight is not an array of shape \(3, 16\)",
        ),
    ],
)
def test_missing_or_mismatched_weights_are_reported(
    change: Callable[[Weights], object], message: str, small: Path, tmp_path: Path, plain_cpu: None
) -> None:
    content = torch.load(small, weights_only=True)
    change(content["model"])
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(
        CheckpointError, match=f"^{path}: the checkpoint has missing or mismatched entries: .*{message}"
    ):
        load_predictor(path)
    with pytest.raises(CheckpointError, match=str(path)):
        load_checkpoint(path)
