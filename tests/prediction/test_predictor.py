"""Prediction: ONNX Runtime scores as torch does, from a checkpoint that is read without torch."""

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

from facetools.network import checkpoint
from facetools.network.architecture import ModelConfig
from facetools.network.checkpoint import CheckpointError
from facetools.network.model import AttributeNet, load_checkpoint, save_checkpoint
from facetools.network.onnx import build_onnx_model
from facetools.prediction import backend, onnx_runtime, predictor, pytorch
from facetools.prediction.predictor import load_predictor
from facetools.runtime import hardware
from tests.conftest import Run

SMALL = ModelConfig(("Bald", "Smiling", "Young"), head=16, image_size=(48, 36))


def network(config: ModelConfig) -> AttributeNet:
    """A network of random weights, whose batch normalisations all do something."""
    torch.manual_seed(0)
    model = AttributeNet(config).train()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 1:
                value.add_(0.3 * torch.randn_like(value))
        for _ in range(4):
            model(torch.rand(8, 3, *config.image_size) * 255)
    return model.eval()


def faces(count: int, size: tuple[int, int] = SMALL.image_size) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.pt"
    save_checkpoint(path, network(SMALL), thresholds={"accuracy": [0.5, 0.4, 0.3]})
    return path


@pytest.fixture
def plain_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU and no bfloat16, wherever the tests run."""
    monkeypatch.setattr(hardware, "gpu_count", lambda: 0)
    monkeypatch.setattr(hardware, "cpu_supports_bfloat16", lambda: False)


# The two that compute


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize(("first_stride", "size"), [(2, (48, 36)), (2, (45, 33)), (1, (21, 34))])
def test_onnx_scores_as_torch_does(
    first_stride: int, size: tuple[int, int], flip_average: bool, tmp_path: Path, plain_cpu: None
) -> None:
    config = replace(SMALL, first_stride=first_stride, image_size=size, flip_average=flip_average)
    save_checkpoint(tmp_path / "model.pt", network(config))
    ours = load_predictor(tmp_path / "model.pt")
    assert isinstance(ours, onnx_runtime.OnnxPredictor)
    theirs = pytorch.CpuPredictor(tmp_path / "model.pt", torch.device("cpu"), False)
    found, expected = ours.scores(faces(9, size)), theirs.scores(faces(9, size))
    assert found.dtype == np.float32
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_mirror_image_counts_as_much_as_the_face(tmp_path: Path, plain_cpu: None) -> None:
    save_checkpoint(tmp_path / "model.pt", network(replace(SMALL, flip_average=True)))
    model, some = load_predictor(tmp_path / "model.pt"), faces(5)
    np.testing.assert_allclose(model.scores(some), model.scores(some[:, :, ::-1].copy()), atol=1e-6)


def test_scores_do_not_depend_on_what_is_scored_beside_a_face(
    small: Path, plain_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = faces(30)
    whole = load_predictor(small).scores(some)
    for together in (0, 2**30):
        monkeypatch.setattr(backend, "CPU_BATCH_PIXELS", together)
        model = load_predictor(small)
        np.testing.assert_array_equal(model.scores(some), whole)
        np.testing.assert_array_equal(np.concatenate([model.scores(face[None]) for face in some]), whole)
    assert load_predictor(small).scores(some[:0]).shape == (0, 3)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("jobs", [1, 3])
def test_paths_are_scored_as_their_images_are(jobs: int, bfloat16: bool, small: Path, tmp_path: Path) -> None:
    """In threads, of which each computes alone, and whatever this one is set to."""
    from PIL import Image

    some, paths = faces(23), []
    for number, face in enumerate(some):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(face).save(paths[-1])
    (tmp_path / "11.png").write_bytes(b"text")
    model, threads, failures = load_predictor(small, "cpu", bfloat16=bfloat16), torch.get_num_threads(), []
    predictor.choose_precision(model, paths, jobs=jobs)
    found = list(
        predictor.predict_images(model, paths, 10, jobs=jobs, on_failure=lambda path, why: failures.append(path))
    )
    assert [len(names) for names, _ in found] == [10, 9, 3]
    assert failures == [paths[11]]
    kept, within = np.delete(np.arange(23), 11), 0.01 if bfloat16 else 1e-6
    assert [name for names, _ in found for name in names] == [paths[row] for row in kept]
    np.testing.assert_allclose(np.concatenate([scores for _, scores in found]), model.scores(some[kept]), atol=within)
    assert torch.get_num_threads() == threads


def test_what_computes_is_chosen_by_what_there_is(
    small: Path, tmp_path: Path, plain_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(load_predictor(small), onnx_runtime.OnnxPredictor)
    assert load_predictor(small).parts["thresholds"] == {"accuracy": [0.5, 0.4, 0.3]}
    save_checkpoint(tmp_path / "resnet.pt", AttributeNet(ModelConfig(("Bald",), "resnet18", 4, image_size=(32, 32))))
    assert isinstance(load_predictor(tmp_path / "resnet.pt"), pytorch.CpuPredictor)
    monkeypatch.setattr(hardware, "cpu_supports_bfloat16", lambda: True)
    assert isinstance(load_predictor(small, "cpu"), pytorch.CpuPredictor)
    assert isinstance(load_predictor(small, "cpu", bfloat16=False), onnx_runtime.OnnxPredictor)
    assert isinstance(load_predictor(small, "cpu", images=predictor.FEW_IMAGES + 1), pytorch.CpuPredictor)
    monkeypatch.setattr(hardware, "gpu_count", lambda: 1)
    for device in ("auto", "cpu"):
        assert isinstance(load_predictor(small, device, images=predictor.FEW_IMAGES), onnx_runtime.OnnxPredictor)
    for device in ("gpu", "cuda:7"):
        with pytest.raises(ValueError, match="no device"):
            load_predictor(small, device)


def test_bfloat16_is_decided_once_and_by_the_first_faces(
    small: Path, plain_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "cpu_supports_bfloat16", lambda: True)
    asked: list[int] = []
    agrees = "facetools.network.inference.bfloat16_agrees"
    monkeypatch.setattr(agrees, lambda model, pixels: asked.append(len(pixels)) or False)
    model = load_predictor(small, "cpu")
    exact = pytorch.CpuPredictor(small, torch.device("cpu"), False)
    np.testing.assert_array_equal(model.scores(faces(2)), exact.scores(faces(2)))
    assert asked == []
    model.choose_precision(faces(40))
    model.scores(faces(2))
    assert asked == [backend.PROBE_IMAGES]


def test_one_face_does_not_wait_for_torch(small: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(faces(1)[0]).save(tmp_path / "face.png")
    code = (
        "import sys\nfrom facetools.runtime import hardware\nfrom facetools.commands.predict import main\n"
        "hardware.gpu_count, hardware.cpu_supports_bfloat16 = lambda: 0, lambda: False\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "face.png"), "--model", str(small)]
    assert b'"Smiling"' in subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout


def test_the_gpus_are_those_that_torch_sees() -> None:
    assert hardware.gpu_count() == torch.cuda.device_count()


@pytest.mark.parametrize(
    ("flags", "has"),
    [("fpu avx2 avx512f", False), ("fpu avx512_bf16 la57", True), ("amx_bf16 amx_tile", True), ("my_amx_bf16s", False)],
)
def test_bfloat16_is_a_flag_of_the_cpu(flags: str, has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    about = f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: amx_bf16\n"
    monkeypatch.setattr(Path, "read_text", lambda path: about)
    assert hardware.cpu_supports_bfloat16.__wrapped__() == has


# The graph


def test_the_graph_is_one_that_any_runtime_takes(small: Path) -> None:
    model = build_onnx_model(checkpoint.read_checkpoint(small))
    onnx.checker.check_model(model, full_check=True)
    assert [(p.key, p.value) for p in model.metadata_props] == [("attributes", "Bald,Smiling,Young")]
    assert not [node for node in model.graph.node if node.op_type == "BatchNormalization"]


def test_the_graph_is_exported_for_other_programs(small: Path, run: Run, tmp_path: Path) -> None:
    import onnxruntime

    run("export", small, "-o", tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    [scores] = session.run(["scores"], {"pixels": faces(3)})
    np.testing.assert_array_equal(scores, load_predictor(small, "cpu", bfloat16=False).scores(faces(3)))
    refused = run("export", __file__, "-o", tmp_path / "no.onnx", check=1)
    assert b"not a readable checkpoint" in refused.stderr
    assert not (tmp_path / "no.onnx").exists()


# Checkpoints without torch


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_is_read_as_torch_reads_it(half: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    others = {"numbers": torch.arange(24).view(2, 3, 4).transpose(0, 2)[1:], "flag": torch.tensor([True]), "none": None}
    model = network(SMALL).to(memory_format=torch.channels_last)
    save_checkpoint(path, model, half=half, history=[{"loss": 0.5}], **others)
    _, expected = load_checkpoint(path)
    found = checkpoint.read_checkpoint(path)
    assert found.config == SMALL
    assert list(found.weights) == list(expected["model"])
    for name, value in expected["model"].items():
        np.testing.assert_array_equal(found.weights[name], value.numpy(), strict=True)
    np.testing.assert_array_equal(found.parts["numbers"], expected["numbers"].numpy(), strict=True)
    np.testing.assert_array_equal(found.parts["flag"], [True], strict=True)
    assert found.parts["none"] is None
    assert found.parts["history"] == [{"loss": 0.5}]


Weights = dict[str, torch.Tensor]


@pytest.mark.parametrize(
    ("change", "told"),
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
            r"head.4.weight is no array of the shape \(3, 16\)",
        ),
    ],
)
def test_weights_that_do_not_fit(
    change: Callable[[Weights], object], told: str, small: Path, tmp_path: Path, plain_cpu: None
) -> None:
    content = torch.load(small, weights_only=True)
    change(content["model"])
    path = tmp_path / "model.pt"
    torch.save(content, path)
    message = f"^{path}: a checkpoint with parts that are missing or do not fit: .*{told}"
    for read in (load_predictor, load_checkpoint):
        with pytest.raises(CheckpointError, match=message if read is load_predictor else str(path)):
            read(path)
