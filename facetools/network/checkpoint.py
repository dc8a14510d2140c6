"""Checkpoint files, read without torch: importing torch takes longer than scoring one face.

`read_checkpoint` reads what `model.save_checkpoint` writes: a dictionary in a file of torch.save. Its keys: `format`,
`config`, `model` (the weights), and optional ones such as `thresholds`, `settings` and `made_by`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from facetools.network.architecture import ModelConfig
from facetools.network.calibration import Calibration
from facetools.network.tensor_files import TensorFileError, read_tensor_file

#: The value of `format` in every checkpoint.
CHECKPOINT_FORMAT = "facetools checkpoint 1"

#: The checkpoint that is installed with the package.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.pt"


class CheckpointError(ValueError):
    """A file is not a facetools checkpoint, or its weights do not fit the network or are unavailable."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    weights: arrays by the name of the tensor in the PyTorch model.
    entries: the whole dictionary. It may hold `thresholds` (lists by criterion), `calibration` (lists by parameter),
        `settings` (of the training) and `made_by` (version, command line and inputs).
    """

    path: Path
    config: ModelConfig
    weights: dict[str, np.ndarray]
    entries: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without executing anything in it; raise CheckpointError if the file is not one."""
    entries = read_entries(path)
    config = parse_entries(path, entries)
    check_weights(path, entries["model"], np.ndarray, np.isfinite)
    return Checkpoint(path, config, entries["model"], entries)


def read_entries(path: Path, make_tensor: Callable[[np.ndarray], Any] = lambda array: array) -> dict[str, Any]:
    """Return the dictionary in a file of torch.save, with tensors made by `make_tensor`. Nothing in the file is
    executed. Raises CheckpointError if it is not such a file."""
    try:
        entries = read_tensor_file(path, make_tensor)
    except TensorFileError as error:
        hint = "; give the checkpoint that the ONNX model was exported from" if path.suffix == ".onnx" else ""
        raise CheckpointError(f"{path}: not a readable checkpoint: {error}{hint}") from None
    if not isinstance(entries, dict) or not all(isinstance(key, str) for key in entries):
        raise CheckpointError(f"{path}: not a checkpoint: it does not hold a dictionary of named entries")
    return entries


def parse_entries(path: Path, entries: dict[str, Any]) -> ModelConfig:
    """Return the configuration of a checkpoint; raise CheckpointError if `entries` are not those of one."""
    if entries.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{path}: not a facetools checkpoint")
    if "model" not in entries:
        raise mismatch_error(path, "it has no model")
    settings, weights, thresholds = (entries.get(name, {}) for name in ("config", "model", "thresholds"))
    for entry in (settings, weights, thresholds):
        if not isinstance(entry, dict) or not all(isinstance(key, str) for key in entry):
            raise mismatch_error(path, "config, model and thresholds must be dictionaries of named entries")
    unknown = settings.keys() - {field.name for field in fields(ModelConfig)}
    if unknown:
        raise mismatch_error(path, f"its config has the unknown entry {min(unknown)}")
    sequences = {name: settings[name] for name in ("attributes", "image_size") if name in settings}
    if "attributes" not in settings or not all(isinstance(value, list | tuple) for value in sequences.values()):
        raise mismatch_error(path, "attributes and image_size in its config must be lists")
    try:
        config = ModelConfig(**settings | {name: tuple(value) for name, value in sequences.items()})
    except (TypeError, ValueError) as error:
        raise mismatch_error(path, error) from None
    for criterion, values in thresholds.items():
        if not isinstance(values, list) or len(values) != len(config.attributes) or not all(map(_is_share, values)):
            raise mismatch_error(path, f"its thresholds for {criterion} are not a number from 0 to 1 per attribute")
    if "calibration" in entries:
        try:
            Calibration.from_entry(entries["calibration"], len(config.attributes))
        except ValueError as error:
            raise mismatch_error(path, error) from None
    return config


def _is_share(value: object) -> bool:
    return isinstance(value, float) and 0 <= value <= 1


def check_weights(path: Path, weights: dict[str, Any], tensor_type: type, isfinite: Callable[[Any], Any]) -> None:
    """Raise CheckpointError if weights are not tensors, of `tensor_type`, or have impossible values."""
    for name, values in weights.items():
        if not issubclass(type(values), tensor_type):
            raise mismatch_error(path, f"{name} is no tensor")
        if not isfinite(values).all():
            raise mismatch_error(path, f"{name} has values that are not finite")
        if name.endswith(".running_var") and (values < 0).any():
            raise mismatch_error(path, f"{name} has negative variances")


def mismatch_error(path: Path, reason: object) -> CheckpointError:
    """Return the error to raise if a checkpoint's entries do not form a network."""
    return CheckpointError(f"{path}: the checkpoint has missing or mismatched entries: {reason}")
