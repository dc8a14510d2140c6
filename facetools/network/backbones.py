"""Backbones from torchvision without their classifiers, and the weights to start from.

`build_backbone` builds one. Its weights are random, pretrained on ImageNet, or read from a file.
"""

from __future__ import annotations

import pickle
import sys
import urllib.error
from contextlib import redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from facetools.network.checkpoint import CheckpointError, check_weights, read_entries
from facetools.network.tensor_files import ZIP_MAGIC


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


def _read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dictionary in a file of torch.save or in a checkpoint, on the CPU.

    Nothing in the file is executed. Raises CheckpointError if it holds something else.
    """
    with path.open("rb") as stream:
        is_zip = stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if is_zip:
        content = read_entries(path, torch.from_numpy)
    else:  # before version 1.6, torch.save wrote another format, which some weights still have
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception:
            # torch's own messages are long and suggest weights_only=False, which would execute code in the file.
            raise CheckpointError(f"{path}: not a readable checkpoint: torch.load cannot read it safely") from None
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path}: not a checkpoint: it does not hold a dictionary of tensors")
    return state


def _load_weights(network: nn.Module, name: str, weights: str) -> None:
    state = _imagenet_state(name) if weights == "imagenet" else _file_state(Path(weights), network)
    expected = network.state_dict()
    missing = [
        key for key in expected if key not in state and not key.startswith(("classifier", "fc", "AuxLogits", "aux"))
    ]
    if missing:
        raise CheckpointError(f"{weights}: not weights of {name}: {missing[0]} is missing")
    used = {key: value for key, value in state.items() if key in expected}
    check_weights(Path(weights), used, Tensor, torch.isfinite)
    for key, value in used.items():
        if value.shape != expected[key].shape:
            raise CheckpointError(f"{weights}: not weights of {name}: {key} has another shape")
    network.load_state_dict(used, strict=False)


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
    state = _read_state(path)
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
