"""The network: a torchvision backbone without its classifier, and the paper's head; its configuration and checkpoints.

Head (the paper's figure 3): global average pooling, dense 1536 with ReLU, batch normalisation, dropout 0.3, a dense
layer of one sigmoid an attribute. MobileNetV2 with it has 4 256 040 trainable parameters for 40 attributes.
"""

from __future__ import annotations

import pickle
import sys
import urllib.error
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facetools.network import checkpoint
from facetools.network.architecture import PIXEL_MEAN, PIXEL_STD, ModelConfig
from facetools.network.checkpoint import CheckpointError
from facetools.runtime import files


class AttributeNet(nn.Module):
    """Pixels in, logits out: uint8 or float (n, 3, height, width), 0 to 255, to float (n, attributes)."""

    def __init__(self, config: ModelConfig, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone or build_backbone(config.backbone)
        if config.first_stride == 1:
            next(module for module in self.backbone.modules() if isinstance(module, nn.Conv2d)).stride = (1, 1)
        self.head = nn.Sequential(
            nn.Linear(_feature_count(self.backbone, config), config.head),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(config.head),
            nn.Dropout(config.dropout),
            nn.Linear(config.head, len(config.attributes)),
        )
        self.pixel_mean: Tensor
        self.pixel_std: Tensor
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.backbone((pixels.to(torch.float32) - self.pixel_mean) / self.pixel_std))


def build_backbone(name: str, weights: str = "none") -> nn.Module:
    """torchvision's network `name` up to its pooled features: (n, 3, h, w) to (n, features).

    `weights` is `none`, `imagenet` (torchvision's default weights, cached or downloaded) or a file with a state
    dictionary of that network. A CheckpointError says what to do when weights cannot be had.
    """
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(
            f"there is no backbone '{name}' in torchvision; it has {', '.join(models.list_models(models))}"
        )
    # These two were trained on other pixels than the rest, to which they change them themselves.
    options = {"aux_logits": False, "init_weights": True, "transform_input": True}
    options = options if name in ("inception_v3", "googlenet") else {}
    network = models.get_model(name, weights=None, **options)
    if weights != "none":
        _load_backbone(network, name, weights)
    if hasattr(network, "fc"):
        network.fc = nn.Identity()
        return network
    features = getattr(network, "features", getattr(network, "layers", None))
    if not isinstance(features, nn.Module) or name.startswith("swin"):
        raise ValueError(f"the backbone '{name}' is not convolutional; take mobilenet_v2, resnet50, convnext_tiny, ...")
    if name.startswith("densenet"):
        features.add_module("relu", nn.ReLU())
    norm = network.classifier[0] if name.startswith("convnext") else nn.Identity()
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), norm, nn.Flatten())


def _feature_count(backbone: nn.Module, config: ModelConfig) -> int:
    # Batch statistics must not see the probe.
    training = backbone.training
    try:
        with torch.no_grad():
            return backbone.eval()(torch.zeros(1, 3, *config.image_size)).shape[1]
    except RuntimeError as error:
        height, width = config.image_size
        raise ValueError(f"the backbone '{config.backbone}' cannot take {height} x {width} pixels: {error}") from None
    finally:
        backbone.train(training)


def _load_backbone(network: nn.Module, name: str, weights: str) -> None:
    if weights == "imagenet":
        from torchvision import models

        entry = models.get_model_weights(name).DEFAULT
        try:
            # The downloader prints, and stdout is for data.
            with redirect_stdout(sys.stderr):
                state = entry.get_state_dict(progress=False, check_hash=True)
        except (urllib.error.URLError, OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
            cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
            raise CheckpointError(
                f"ImageNet weights of {name} are not at {cached}, or not whole, and cannot be downloaded ({error}); "
                f"put them there, or give --weights FILE, or --weights none to start from random weights"
            ) from None
    else:
        loaded = _load(Path(weights))
        state = loaded.get("model", loaded)
    wanted = network.state_dict()
    if any(key.startswith("backbone.") for key in state):
        state = _backbone_part(state, network)
    missing = [
        key for key in wanted if key not in state and not key.startswith(("classifier", "fc", "AuxLogits", "aux"))
    ]
    if missing or any(state[key].shape != wanted[key].shape for key in wanted if key in state):
        raise CheckpointError(f"{weights}: not weights of {name}" + (f": it lacks {missing[0]}" if missing else ""))
    network.load_state_dict({key: value for key, value in state.items() if key in wanted}, strict=False)


def _backbone_part(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """The backbone of a checkpoint of this module under the names that torchvision gives it."""
    if hasattr(network, "fc"):
        parts = {"backbone.": ""}
    else:
        parts = {
            "backbone.0.": "layers." if hasattr(network, "layers") else "features.",
            "backbone.2.": "classifier.0.",
        }
    return {
        named + key.removeprefix(prefix): value
        for prefix, named in parts.items()
        for key, value in state.items()
        if key.startswith(prefix)
    }


def save_checkpoint(path: Path, model: AttributeNet, *, half: bool = False, **parts: Any) -> None:
    """Writes `model` and `parts` (tensors and plain values only) to `path`, whole or not at all; with `half` the
    weights of layers as float16, in half the space."""
    state = model.state_dict()
    if half:  # but for normalisations and biases, which are few
        state = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
    content = {"format": checkpoint.CHECKPOINT_FORMAT, "config": model.config.to_dict(), "model": state, **parts}
    with files.atomic_writer(path) as stream:
        torch.save(content, stream)


def load_checkpoint(path: Path) -> tuple[AttributeNet, dict[str, Any]]:
    """The network in a checkpoint, on the CPU, and the checkpoint's other parts; nothing in the file is executed."""
    content = _load(path)
    config = checkpoint.parse_config(path, content)
    try:
        model = AttributeNet(config)
        model.load_state_dict(content["model"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise checkpoint.mismatched_checkpoint(path, error) from None
    return model, content


def _load(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):  # which tell of much else
        raise CheckpointError(f"{path}: not a readable checkpoint: torch finds none, nor weights") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint: it holds no dictionary")
    return content
