"""Tests of the PyTorch model, of its checkpoints, which never execute code, and of the choice of a device."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from facetools.network import inference
from facetools.network.architecture import ModelConfig
from facetools.network.backbones import build_backbone
from facetools.network.checkpoint import CheckpointError, read_checkpoint
from facetools.network.model import AttributeNet, load_checkpoint, save_checkpoint
from facetools.prediction.predictor import load_predictor
from facetools.runtime import hardware
from facetools.table.attributes import CELEBA40, PAPER37
from tests.network.networks import SMALL, evaluate, perturb, random_pixels

# The network


@pytest.mark.parametrize(("attributes", "expected"), [(CELEBA40, 4_256_040), (PAPER37, 4_251_429)])
def test_number_of_trainable_parameters_matches_the_reference(attributes: tuple[str, ...], expected: int) -> None:
    network = AttributeNet(ModelConfig(attributes, image_size=(64, 64)))
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) == expected


def test_head_has_the_layers_of_the_paper() -> None:
    network = AttributeNet(ModelConfig(PAPER37, image_size=(64, 64)))
    dense, relu, norm, dropout, last = network.head
    assert (dense.in_features, dense.out_features, last.in_features, last.out_features) == (1280, 1536, 1536, 37)
    assert (type(relu), type(norm)) == (nn.ReLU, nn.BatchNorm1d) and isinstance(dropout, nn.Dropout)
    assert dropout.p == 0.3


def test_image_too_small_for_the_backbone_is_rejected() -> None:
    with pytest.raises(ValueError, match="the backbone 'inception_v3' does not accept images of 20 x 30 pixels"):
        AttributeNet(ModelConfig(("A",), "inception_v3", image_size=(20, 30)))


def test_pixels_are_normalized_like_imagenet() -> None:
    inputs: list[torch.Tensor] = []

    class Recorder(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            inputs.append(batch)
            return batch.mean((2, 3))

    network = AttributeNet(SMALL, Recorder()).eval()
    inputs.clear()
    batch = np.zeros((2, 4, 5, 3), np.uint8)
    batch[0, 1, 2] = [255, 128, 0]
    evaluate(network, inference.upload_as_float(batch, torch.device("cpu")))
    # torchvision computes (pixel / 255 - mean) / std.
    expected = (np.array([255, 128, 0]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(inputs[0][0, :, 1, 2], expected, rtol=1e-5)


def test_first_stride_sets_the_resolution_of_the_first_convolution() -> None:
    config = ModelConfig(("a",), head=8, image_size=(64, 48))
    for stride, backbone in ((1, "mobilenet_v2"), (2, "mobilenet_v2"), (1, "resnet18")):
        network = AttributeNet(replace(config, first_stride=stride, backbone=backbone)).eval()
        first = next(module for module in network.backbone.modules() if isinstance(module, nn.Conv2d))
        assert first(torch.zeros(1, 3, 64, 48)).shape[2:] == (64 // stride, 48 // stride)
        assert network(torch.zeros(1, 3, 64, 48)).shape == (1, 1)


# Checkpoints


def test_checkpoint_restores_network_and_entries(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    network = perturb(AttributeNet(SMALL))
    save_checkpoint(path, network, epoch=3, optimizer={"state": [torch.ones(2)]}, history=[{"loss": 0.5}])
    loaded, entries = load_checkpoint(path)
    assert loaded.config == SMALL
    torch.testing.assert_close(evaluate(loaded, random_pixels()), evaluate(network, random_pixels()), rtol=0, atol=0)
    assert entries["epoch"] == 3
    assert entries["history"] == [{"loss": 0.5}]
    assert torch.equal(entries["optimizer"]["state"][0], torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]


def test_half_precision_checkpoint_is_smaller_and_scores_almost_alike(tmp_path: Path) -> None:
    network = perturb(AttributeNet(SMALL))
    for half in (False, True):
        save_checkpoint(tmp_path / f"{half}.pt", network, half=half)
    loaded, _ = load_checkpoint(tmp_path / "True.pt")
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert (tmp_path / "True.pt").stat().st_size < 0.6 * (tmp_path / "False.pt").stat().st_size
    expected, scores = (torch.sigmoid(evaluate(model, random_pixels())) for model in (network, loaded))
    assert not torch.equal(scores, expected)
    torch.testing.assert_close(scores, expected, atol=0.02, rtol=0)


def test_torch_reads_a_checkpoint_as_weights_only(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "best.pt", AttributeNet(SMALL))
    content = torch.load(tmp_path / "best.pt", weights_only=True)
    assert content["config"] == {
        "attributes": ["Bald", "Young"],
        "backbone": "resnet18",
        "head": 8,
        "dropout": 0.3,
        "image_size": [32, 40],
        "first_stride": 2,
        "flip_average": False,
    }
    assert {"head.0.weight", "head.4.bias", "backbone.conv1.weight"} <= content["model"].keys()


class Exploit:
    """An object whose pickle creates the file `target` when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("writer", ["torch", "torch legacy", "pickle"])
def test_code_in_a_checkpoint_is_not_executed(writer: str, tmp_path: Path) -> None:
    path, target = tmp_path / "evil.pt", tmp_path / "target"
    content = {"format": "facetools checkpoint 1", "config": Exploit(target), "model": {}}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    for read in (load_checkpoint, read_checkpoint, lambda path: build_backbone("resnet18", str(path))):
        with pytest.raises(CheckpointError, match=f"^{path}: not a readable checkpoint: "):
            read(path)
    assert not target.exists()
    if writer == "pickle":
        pickle.loads(path.read_bytes())
        assert target.exists(), "the exploit does not work, so the test proves nothing"


@pytest.mark.parametrize("share", [0, 1e-5, 0.001, 0.3, 0.9, 0.999])
def test_truncated_checkpoint_is_rejected(share: float, shufflenet_checkpoint: Path, tmp_path: Path) -> None:
    data, path = shufflenet_checkpoint.read_bytes(), tmp_path / "truncated.pt"
    path.write_bytes(data[: int(len(data) * share)])
    for read in (load_checkpoint, read_checkpoint):
        with pytest.raises(CheckpointError, match=f"^{path}: not a readable checkpoint: "):
            read(path)


FOREIGN_BYTES = {"text": b"hello\n" * 99, "png": b"\x89PNG\r\n\x1a\n" + bytes(99), "zip": b"PK\x03\x04" + bytes(99)}
FOREIGN_OBJECTS: dict[str, Any] = {
    "numbers": {1: 2},
    "list": [1, 2],
    "state": {"conv.weight": torch.ones(1)},
    "other format": {"format": "facetools checkpoint 0", "config": {}, "model": {}},
    "missing entries": {"format": "facetools checkpoint 1"},
    "other network": {"format": "facetools checkpoint 1", "config": SMALL.to_dict(), "model": {"x": torch.ones(1)}},
    "unknown setting": {"format": "facetools checkpoint 1", "config": SMALL.to_dict() | {"x": 1}, "model": {}},
}


@pytest.mark.parametrize("kind", [*FOREIGN_BYTES, *FOREIGN_OBJECTS])
def test_file_that_is_not_a_checkpoint_is_rejected(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.pt"
    if kind in FOREIGN_BYTES:
        path.write_bytes(FOREIGN_BYTES[kind])
    else:
        torch.save(FOREIGN_OBJECTS[kind], path)
    for read in (load_checkpoint, load_predictor):
        with pytest.raises(CheckpointError, match=f"^{path}: "):
            read(path)


def test_missing_checkpoint_is_a_file_not_found_error(tmp_path: Path) -> None:
    for read in (load_checkpoint, read_checkpoint):
        with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
            read(tmp_path / "missing.pt")


# Devices


def test_device_names_select_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert hardware.choose_device("auto").type == "cuda"
    assert hardware.choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["tpu", "", "cuda:x", "cuda:-1", "cudaa"])
def test_invalid_device_name_is_rejected(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=rf"^'{name}' .*auto, cpu, cuda or cuda:N"):
        hardware.choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_missing_gpu_is_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=rf"\b{name}\b.* 0 CUDA devices"):
        hardware.choose_device(name)
