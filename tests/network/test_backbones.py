"""Tests of the backbones from torchvision and of their initial weights."""

import urllib.error
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from facetools.network.architecture import ModelConfig
from facetools.network.backbones import build_backbone
from facetools.network.checkpoint import CheckpointError
from facetools.network.model import AttributeNet, save_checkpoint
from tests.network.networks import evaluate, perturb, random_pixels


@pytest.mark.parametrize(
    ("backbone", "features", "size"),
    [
        ("mobilenet_v2", 1280, (32, 40)),
        ("mobilenet_v3_large", 960, (32, 40)),
        ("resnet18", 512, (32, 40)),
        ("efficientnet_b0", 1280, (32, 40)),
        ("convnext_tiny", 768, (32, 40)),
        ("vgg11", 512, (32, 40)),
        ("inception_v3", 2048, (80, 75)),
    ],
)
def test_backbone_feeds_head_in_training_and_evaluation(backbone: str, features: int, size: tuple[int, int]) -> None:
    network = AttributeNet(ModelConfig(("A", "B", "C"), backbone, head=8, dropout=0, image_size=size))
    assert network.head[0].in_features == features
    assert evaluate(network, random_pixels(size)).shape == (2, 3)
    # In training mode, some networks of torchvision return auxiliary outputs by default.
    logits = network.train()(random_pixels(size))
    logits[0].sum().backward()
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])
    assert next(network.backbone.parameters()).grad.abs().sum() > 0


def test_transformer_is_rejected_or_pooled_correctly() -> None:
    """swin_t has channels-last features, so pooling them like the others would mix up the axes."""
    try:
        network = build_backbone("swin_t")
    except ValueError as error:
        assert "swin_t" in str(error)
    else:
        assert evaluate(network, random_pixels((64, 64))).shape == (2, 768)


def test_unknown_or_unsupported_backbone_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"torchvision has no backbone 'mobilenet_v9'; it has .*mobilenet_v2"):
        build_backbone("mobilenet_v9")
    with pytest.raises(ValueError, match=r"'vit_b_32' .*; use mobilenet_v2, resnet50"):
        build_backbone("vit_b_32")


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "convnext_tiny"])
def test_weights_load_from_torchvision_files_and_from_checkpoints(backbone: str, tmp_path: Path) -> None:
    network = perturb(models.get_model(backbone, weights=None))
    torch.save(network.state_dict(), tmp_path / "torchvision.pth")
    loaded = build_backbone(backbone, str(tmp_path / "torchvision.pth"))
    features = evaluate(loaded, random_pixels())
    layers = dict(network.named_children())
    if backbone == "resnet18":
        network.fc = nn.Identity()
        expected = evaluate(network, random_pixels())
    elif backbone == "convnext_tiny":
        network.classifier = layers["classifier"][:2]  # layer norm and flatten
        expected = evaluate(network, random_pixels())
    else:
        expected = evaluate(network.features, random_pixels()).mean((2, 3))
    torch.testing.assert_close(features, expected)

    config = ModelConfig(("Bald",), backbone, head=4, image_size=(32, 40))
    save_checkpoint(tmp_path / "best.pt", AttributeNet(config, loaded))
    reloaded = build_backbone(backbone, str(tmp_path / "best.pt"))
    torch.testing.assert_close(evaluate(reloaded, random_pixels()), features, rtol=0, atol=0)


def test_weights_of_another_network_are_rejected(shufflenet_checkpoint: Path, tmp_path: Path) -> None:
    torch.save(models.get_model("resnet18", weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointError, match=r"resnet18\.pth: not weights of mobilenet_v2"):
        build_backbone("mobilenet_v2", str(tmp_path / "resnet18.pth"))
    with pytest.raises(CheckpointError, match=f"{shufflenet_checkpoint}: not weights of resnet18"):
        build_backbone("resnet18", str(shufflenet_checkpoint))
    with pytest.raises(FileNotFoundError, match="missing"):
        build_backbone("resnet18", str(tmp_path / "missing"))


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no network"),
        TimeoutError("timed out"),
        RuntimeError('invalid hash value (expected "7ebf99e0")'),  # a captive portal answered instead of the server
    ],
)
def test_failed_download_of_imagenet_weights_names_alternatives(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(CheckpointError) as caught:
        build_backbone("mobilenet_v2", "imagenet")
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / "mobilenet_v2-7ebf99e0.pth") in message
    assert "--weights FILE" in message
    assert "--weights none" in message


def test_download_prints_nothing_to_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(url: str, target: str, *_: object, **__: object) -> None:
        torch.save(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), target)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    build_backbone("shufflenet_v2_x0_5", "imagenet")
    assert capsys.readouterr().out == ""


def test_imagenet_weights_are_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("unexpected download"))
    cached = tmp_path / "checkpoints" / "mobilenet_v2-7ebf99e0.pth"
    cached.parent.mkdir()
    network = perturb(models.get_model("mobilenet_v2", weights=None))
    torch.save(network.state_dict(), cached)
    features = evaluate(build_backbone("mobilenet_v2", "imagenet"), random_pixels())
    torch.testing.assert_close(features, evaluate(network.features, random_pixels()).mean((2, 3)))
    cached.write_bytes(cached.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match=str(cached)):
        build_backbone("mobilenet_v2", "imagenet")
