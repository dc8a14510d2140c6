"""The network, its backbones and weights, checkpoints that execute nothing, devices."""

import pickle
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from facetools.network import checkpoint, inference, model
from facetools.network.architecture import ModelConfig
from facetools.network.checkpoint import CheckpointError
from facetools.network.inference import predict_scores
from facetools.network.model import AttributeNet
from facetools.prediction.predictor import load_predictor
from facetools.runtime import hardware
from facetools.table.attributes import CELEBA40, PAPER37

SMALL = ModelConfig(("Bald", "Young"), "resnet18", head=8, image_size=(32, 40))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small networks are quickest on one thread, the more so where other work shares the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def moved(network: nn.Module) -> nn.Module:
    """Every parameter and statistic moved from where it starts, so that one that is not restored shows."""
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.mul_(1.05)
            if value.ndim == 1:
                value.add_(0.05 * torch.arange(len(value)) / len(value))
    return network.eval()


def pixels(size: tuple[int, int] = (32, 40), count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(5)) * 255


def outputs(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network.eval()(batch)


# The network


@pytest.mark.parametrize(("attributes", "expected"), [(CELEBA40, 4_256_040), (PAPER37, 4_251_429)])
def test_the_trainable_parameters_are_the_reference_implementations(attributes: tuple[str, ...], expected: int) -> None:
    network = AttributeNet(ModelConfig(attributes, image_size=(64, 64)))
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) == expected


def test_the_head_is_the_papers() -> None:
    network = AttributeNet(ModelConfig(PAPER37, image_size=(64, 64)))
    dense, relu, norm, dropout, last = network.head
    assert (dense.in_features, dense.out_features, last.in_features, last.out_features) == (1280, 1536, 1536, 37)
    assert (type(relu), type(norm)) == (nn.ReLU, nn.BatchNorm1d) and isinstance(dropout, nn.Dropout)
    assert dropout.p == 0.3


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
def test_a_backbone_gives_logits(backbone: str, features: int, size: tuple[int, int]) -> None:
    network = AttributeNet(ModelConfig(("A", "B", "C"), backbone, head=8, dropout=0, image_size=size))
    assert network.head[0].in_features == features
    assert outputs(network, pixels(size)).shape == (2, 3)
    # Training too: there some networks of torchvision would give auxiliary outputs.
    logits = network.train()(pixels(size))
    logits[0].sum().backward()
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])
    assert next(network.backbone.parameters()).grad.abs().sum() > 0


def test_a_transformer_is_refused_or_gives_its_features() -> None:
    """swin_t has channels last, so that pooling as in the others would leave only the rows."""
    try:
        network = model.build_backbone("swin_t")
    except ValueError as error:
        assert "swin_t" in str(error)
    else:
        assert outputs(network, pixels((64, 64))).shape == (2, 768)


def test_a_backbone_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"there is no backbone 'mobilenet_v9' in torchvision; it has .*mobilenet_v2"):
        model.build_backbone("mobilenet_v9")
    with pytest.raises(ValueError, match=r"'vit_b_32' .*; take mobilenet_v2, resnet50"):
        model.build_backbone("vit_b_32")


def test_an_image_too_small_for_the_backbone() -> None:
    with pytest.raises(ValueError, match="the backbone 'inception_v3' cannot take 20 x 30 pixels"):
        AttributeNet(ModelConfig(("A",), "inception_v3", image_size=(20, 30)))


def test_pixels_are_normalised_as_imagenets() -> None:
    seen: list[torch.Tensor] = []

    class Watch(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            seen.append(batch)
            return batch.mean((2, 3))

    network = AttributeNet(SMALL, Watch()).eval()
    seen.clear()
    batch = np.zeros((2, 4, 5, 3), np.uint8)
    batch[0, 1, 2] = [255, 128, 0]
    outputs(network, inference.upload_as_float(batch, torch.device("cpu")))
    # torchvision's: (pixel / 255 - mean) / std
    expected = (np.array([255, 128, 0]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen[0][0, :, 1, 2], expected, rtol=1e-5)


def test_to_pixels_is_channels_last() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    tensor = inference.upload_as_float(batch, torch.device("cpu"))
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(tensor.numpy(), batch.transpose(0, 3, 1, 2))


# Checkpoints


def test_half_a_checkpoint_scores_alike(tmp_path: Path) -> None:
    network = moved(AttributeNet(SMALL)).eval()
    for half in (False, True):
        model.save_checkpoint(tmp_path / f"{half}.pt", network, half=half)
    loaded, _ = model.load_checkpoint(tmp_path / "True.pt")
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert (tmp_path / "True.pt").stat().st_size < 0.6 * (tmp_path / "False.pt").stat().st_size
    expected, found = (torch.sigmoid(outputs(some, pixels())) for some in (network, loaded))
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_a_checkpoint_gives_the_network_back(tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    network = moved(AttributeNet(SMALL))
    model.save_checkpoint(path, network, epoch=3, optimizer={"state": [torch.ones(2)]}, history=[{"loss": 0.5}])
    loaded, parts = model.load_checkpoint(path)
    assert loaded.config == SMALL
    torch.testing.assert_close(outputs(loaded, pixels()), outputs(network, pixels()), rtol=0, atol=0)
    assert parts["epoch"] == 3
    assert parts["history"] == [{"loss": 0.5}]
    assert torch.equal(parts["optimizer"]["state"][0], torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]


def test_torch_reads_a_checkpoint_without_executing(tmp_path: Path) -> None:
    model.save_checkpoint(tmp_path / "best.pt", AttributeNet(SMALL))
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
    """What a pickle of this makes is a file: the code that unpickling runs."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("write", ["torch", "torch legacy", "pickle"])
def test_a_checkpoint_that_executes_code_is_refused(write: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "evil.pt", tmp_path / "trace"
    content = {"format": "facetools checkpoint 1", "config": Exploit(trace), "model": {}}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "torch")
    readers = (
        model.load_checkpoint,
        checkpoint.read_checkpoint,
        lambda path: model.build_backbone("resnet18", str(path)),
    )
    for read in readers:
        with pytest.raises(CheckpointError, match=f"^{path}: not a readable checkpoint: "):
            read(path)
    assert not trace.exists()
    if write == "pickle":
        pickle.loads(path.read_bytes())
        assert trace.exists(), "the pickle would have run its code"


@pytest.fixture(scope="module")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.pt"
    config = ModelConfig(("Bald",), "shufflenet_v2_x0_5", head=4, image_size=(32, 32))
    model.save_checkpoint(path, AttributeNet(config))
    return path


@pytest.mark.parametrize("share", [0, 1e-5, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint(share: float, small_checkpoint: Path, tmp_path: Path) -> None:
    data, path = small_checkpoint.read_bytes(), tmp_path / "half.pt"
    path.write_bytes(data[: int(len(data) * share)])
    for read in (model.load_checkpoint, checkpoint.read_checkpoint):
        with pytest.raises(CheckpointError, match=f"^{path}: not a readable checkpoint: "):
            read(path)


def foreign(kind: str, path: Path) -> None:
    contents: dict[str, Any] = {
        "numbers": {1: 2},
        "list": [1, 2],
        "state": {"conv.weight": torch.ones(1)},
        "other format": {"format": "facetools checkpoint 0", "config": {}, "model": {}},
        "parts missing": {"format": "facetools checkpoint 1"},
        "other network": {
            "format": "facetools checkpoint 1",
            "config": SMALL.to_dict(),
            "model": {"x": torch.ones(1)},
        },
        "unknown setting": {"format": "facetools checkpoint 1", "config": SMALL.to_dict() | {"x": 1}, "model": {}},
    }
    if kind in contents:
        torch.save(contents[kind], path)
    else:
        path.write_bytes(
            {"text": b"hello\n" * 99, "png": b"\x89PNG\r\n\x1a\n" + bytes(99), "zip": b"PK\x03\x04" + bytes(99)}[kind]
        )


@pytest.mark.parametrize(
    "kind",
    [
        "text",
        "png",
        "zip",
        "numbers",
        "list",
        "state",
        "other format",
        "parts missing",
        "other network",
        "unknown setting",
    ],
)
def test_a_file_that_is_no_checkpoint(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.pt"
    foreign(kind, path)
    for read in (model.load_checkpoint, load_predictor):
        with pytest.raises(CheckpointError, match=f"^{path}: "):
            read(path)


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    for read in (model.load_checkpoint, checkpoint.read_checkpoint):
        with pytest.raises(FileNotFoundError, match=r"missing\.pt"):
            read(tmp_path / "missing.pt")


# Weights of the backbone


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "convnext_tiny"])
def test_weights_from_a_file(backbone: str, tmp_path: Path) -> None:
    """A state dictionary of torchvision's, and a checkpoint of ours, give the same features as where they come from."""
    network = moved(models.get_model(backbone, weights=None))
    torch.save(network.state_dict(), tmp_path / "torchvision.pth")
    ours = model.build_backbone(backbone, str(tmp_path / "torchvision.pth"))
    expected = outputs(ours, pixels())
    layers = dict(network.named_children())
    if backbone == "resnet18":
        network.fc = nn.Identity()
        by_torchvision = outputs(network, pixels())
    elif backbone == "convnext_tiny":
        network.classifier = layers["classifier"][:2]  # its layer norm, flattened
        by_torchvision = outputs(network, pixels())
    else:
        by_torchvision = outputs(network.features, pixels()).mean((2, 3))
    torch.testing.assert_close(expected, by_torchvision)

    config = ModelConfig(("Bald",), backbone, head=4, image_size=(32, 40))
    model.save_checkpoint(tmp_path / "best.pt", AttributeNet(config, ours))
    again = model.build_backbone(backbone, str(tmp_path / "best.pt"))
    torch.testing.assert_close(outputs(again, pixels()), expected, rtol=0, atol=0)


def test_weights_of_another_network(small_checkpoint: Path, tmp_path: Path) -> None:
    torch.save(models.get_model("resnet18", weights=None).state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointError, match=r"resnet18\.pth: not weights of mobilenet_v2"):
        model.build_backbone("mobilenet_v2", str(tmp_path / "resnet18.pth"))
    with pytest.raises(CheckpointError, match=f"{small_checkpoint}: not weights of resnet18"):
        model.build_backbone("resnet18", str(small_checkpoint))
    with pytest.raises(FileNotFoundError, match="missing"):
        model.build_backbone("resnet18", str(tmp_path / "missing"))


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no network"),
        TimeoutError("timed out"),
        RuntimeError('invalid hash value (expected "7ebf99e0")'),
    ],
)
def test_imagenet_weights_that_cannot_be_had(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a network, on one that does not answer, and where a portal answers in the server's place."""

    def download(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(CheckpointError) as caught:
        model.build_backbone("mobilenet_v2", "imagenet")
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / "mobilenet_v2-7ebf99e0.pth") in message
    assert "--weights FILE" in message
    assert "--weights none" in message


def test_a_download_leaves_stdout_to_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(url: str, target: str, *_: object, **__: object) -> None:
        torch.save(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), target)

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    model.build_backbone("shufflenet_v2_x0_5", "imagenet")
    assert capsys.readouterr().out == ""


def test_imagenet_weights_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: pytest.fail("nothing is to be downloaded"))
    cached = tmp_path / "checkpoints" / "mobilenet_v2-7ebf99e0.pth"
    cached.parent.mkdir()
    network = moved(models.get_model("mobilenet_v2", weights=None))
    torch.save(network.state_dict(), cached)
    found = outputs(model.build_backbone("mobilenet_v2", "imagenet"), pixels())
    torch.testing.assert_close(found, outputs(network.features, pixels()).mean((2, 3)))
    cached.write_bytes(cached.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match=str(cached)):
        model.build_backbone("mobilenet_v2", "imagenet")


# Devices


def test_choose_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hardware.choose_device("cpu") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert hardware.choose_device("auto").type == "cuda"
    assert hardware.choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "'tpu' is no device; give auto, cpu, cuda or cuda:N"),
        ("", "'' is no device"),
        ("cuda", "there is no device cuda here: 0 CUDA devices are seen"),
        ("cuda:3", "there is no device cuda:3 here"),
        ("cuda:x", "'cuda:x' is no device"),
        ("cuda:-1", "'cuda:-1' is no device"),
        ("cudaa", "'cudaa' is no device"),
    ],
)
def test_a_device_that_is_not_there(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=f"^{message}"):
        hardware.choose_device(name)


def test_bfloat16_agrees_where_the_scores_hardly_move() -> None:
    torch.manual_seed(0)
    network = AttributeNet(SMALL).eval()
    batch = pixels(count=1)
    assert inference.bfloat16_agrees(network, batch)
    assert not inference.bfloat16_agrees(network, batch, within=0)
    with torch.no_grad():
        # Scores of 1/2 that are the difference of large numbers.
        network.head[4].weight *= 1000
        network.head[4].bias -= outputs(network, batch)[0]
    assert not inference.bfloat16_agrees(network, batch)
    with torch.no_grad():
        network.head[4].weight.fill_(torch.nan)
    assert not inference.bfloat16_agrees(network, batch)


def test_a_first_stride_of_one_keeps_the_places() -> None:
    config = ModelConfig(("a",), head=8, image_size=(64, 48))
    for stride, backbone in ((1, "mobilenet_v2"), (2, "mobilenet_v2"), (1, "resnet18")):
        model = AttributeNet(replace(config, first_stride=stride, backbone=backbone)).eval()
        first = next(module for module in model.backbone.modules() if isinstance(module, torch.nn.Conv2d))
        assert first(torch.zeros(1, 3, 64, 48)).shape[2:] == (64 // stride, 48 // stride)
        assert model(torch.zeros(1, 3, 64, 48)).shape == (1, 1)


def test_mirror_images_score_alike_where_both_are_averaged() -> None:
    torch.manual_seed(0)
    config = ModelConfig(("a", "b"), "resnet18", head=8, image_size=(32, 32), flip_average=True)
    model = AttributeNet(config).eval()
    pixels = torch.rand(8, 3, 32, 1) * torch.linspace(0, 255, 32)
    one, other = (predict_scores(model, seen, bfloat16=False) for seen in (pixels, pixels.flip(3)))
    np.testing.assert_allclose(one, other, atol=1e-6)
    plain = AttributeNet(replace(config, flip_average=False)).eval()
    plain.load_state_dict(model.state_dict())
    assert not np.allclose(predict_scores(plain, pixels, bfloat16=False), one, atol=1e-6)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "densenet121"])
def test_folded_normalisations_change_nothing(backbone: str) -> None:
    torch.manual_seed(0)
    network = AttributeNet(ModelConfig(("a", "b"), backbone, head=8, image_size=(64, 64)))
    pixels = torch.rand(8, 3, 64, 64) * 255
    network.train()(pixels)
    plain = network.eval()
    fast = inference.fold_batch_norm(plain)
    assert fast is not plain
    count = [sum(isinstance(part, nn.BatchNorm2d) for part in net.modules()) for net in (fast, plain)]
    assert count[0] == 0 if backbone != "densenet121" else count[0] < count[1]
    with torch.no_grad():
        torch.testing.assert_close(fast(pixels), plain(pixels), atol=1e-4, rtol=1e-4)


def test_a_network_that_folding_would_change_is_left_as_it_is() -> None:
    class Odd(nn.Module):
        """Its normalisation is made after the convolution, and used before."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, bias=False)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.conv(self.norm(pixels)).mean((2, 3))

    torch.manual_seed(0)
    network = AttributeNet(ModelConfig(("a",), head=8, image_size=(32, 32)), Odd())
    network.backbone.norm.running_mean.fill_(3)
    network.backbone.norm.running_var.fill_(0.01)
    assert inference.fold_batch_norm(network) is network
