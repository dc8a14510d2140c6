"""Backbones from torchvision without their classifiers, and the weights to start from.

`build_backbone` builds one. Its weights are random, pretrained on ImageNet, or read from a file.
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

from facetools.network.checkpoint import CheckpointError


def build_backbone(name: str, weights: str = "none") -> nn.Module:
    """torchvision's network `name` up to its pooled features: float (n, 3, h, w) to (n, features).

    `weights` is `none` (random), `imagenet` (torchvision's default weights, cached or downloaded) or the path of a
    file: a state dictionary of that network or a facetools checkpoint. Raises ValueError if there is no such network or
    it is not convolutional, CheckpointError if the weights are unavailable or do not fit.
    """
    from torchvision import models

    if name not in models.list_models(module=models):
        raise ValueError(f"torchvision has no backbone '{name}'; it has {', '.join(models.list_models(models))}")
    # The weights of these two expect another normalization; with transform_input they convert ImageNet's themselves.
    options = {"aux_logits": False, "init_weights": True, "transform_input": True}
    options = options if name in ("inception_v3", "googlenet") else {}
    network = models.get_model(name, weights=None, **options)
    if weights != "none":
        _load_weights(network, name, weights)
    if hasattr(network, "fc"):
        network.fc = nn.Identity()
        return network
    features = getattr(network, "features", getattr(network, "layers", None))
    # Swin transformers have channels-last features, which the pooling below would reduce along the wrong axes.
    if not isinstance(features, nn.Module) or name.startswith("swin"):
        raise ValueError(f"the backbone '{name}' is not convolutional; use mobilenet_v2, resnet50, convnext_tiny, ...")
    if name.startswith("densenet"):
        features.add_module("relu", nn.ReLU())
    norm = network.classifier[0] if name.startswith("convnext") else nn.Identity()
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), norm, nn.Flatten())


def load_torch_file(path: Path) -> dict[str, Any]:
    """The dictionary in a file of torch.save, on the CPU, without executing anything in the file.

    Raises CheckpointError if torch cannot read it or it holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError):
        # torch's own messages are long and suggest weights_only=False, which would execute code in the file.
        raise CheckpointError(f"{path}: not a readable checkpoint: torch.load cannot read it safely") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint: it does not hold a dictionary")
    return content


def _load_weights(network: nn.Module, name: str, weights: str) -> None:
    state = _imagenet_state(name) if weights == "imagenet" else _file_state(Path(weights), network)
    expected = network.state_dict()
    missing = [
        key for key in expected if key not in state and not key.startswith(("classifier", "fc", "AuxLogits", "aux"))
    ]
    if missing or any(state[key].shape != expected[key].shape for key in expected if key in state):
        reason = f": {missing[0]} is missing" if missing else ""
        raise CheckpointError(f"{weights}: not weights of {name}{reason}")
    network.load_state_dict({key: value for key, value in state.items() if key in expected}, strict=False)


def _imagenet_state(name: str) -> dict[str, Tensor]:
    from torchvision import models

    entry = models.get_model_weights(name).DEFAULT
    try:
        # The downloader prints to stdout, which is reserved for data.
        with redirect_stdout(sys.stderr):
            return entry.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
        raise CheckpointError(
            f"the ImageNet weights of {name} are missing or damaged at {cached} and cannot be downloaded ({error}); "
            f"put them there, or use --weights FILE, or --weights none to start from random weights"
        ) from None


def _file_state(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The state dictionary in a file; a facetools checkpoint's keys are renamed to those of torchvision's `network`."""
    content = load_torch_file(path)
    state = content.get("model", content)
    if not any(key.startswith("backbone.") for key in state):
        return state
    if hasattr(network, "fc"):
        prefixes = {"backbone.": ""}
    else:
        prefixes = {
            "backbone.0.": "layers." if hasattr(network, "layers") else "features.",
            "backbone.2.": "classifier.0.",
        }
    return {
        torchvision_prefix + key.removeprefix(prefix): value
        for prefix, torchvision_prefix in prefixes.items()
        for key, value in state.items()
        if key.startswith(prefix)
    }
