"""Checkpoint files, read without torch: importing torch takes longer than scoring one face.

`read_checkpoint` reads what `model.save_checkpoint` writes with torch.save: a zip archive that holds a dictionary as
one pickle (`data.pkl`) and the numbers of each tensor as one file (`data/KEY`). Keys of the dictionary: `format`,
`config`, `model` (the weights), and optional ones such as `thresholds`, `settings` and `made_by`.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facetools.network.architecture import ModelConfig

#: The value of `format` in every checkpoint.
CHECKPOINT_FORMAT = "facetools checkpoint 1"

#: The checkpoint that is installed with the package.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.pt"

#: The dtype of a tensor's numbers, by the name of torch's storage class.
_DTYPES = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "ShortStorage": np.dtype("<i2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
}


class CheckpointError(ValueError):
    """A file is not a facetools checkpoint, or its weights do not fit the network or are unavailable."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    weights: arrays by the name of the tensor in the PyTorch model.
    entries: the whole dictionary. It may hold `thresholds` (lists by criterion), `settings` (of the training) and
        `made_by` (version, command line and inputs).
    """

    path: Path
    config: ModelConfig
    weights: dict[str, np.ndarray]
    entries: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint without executing anything in it; raise CheckpointError if the file is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if name is None:
                raise ValueError("the archive has no data.pkl")
            with archive.open(name) as stream:
                entries = _TensorUnpickler(stream, archive, name.removesuffix("data.pkl")).load()
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint: {reason}") from None
    return Checkpoint(path, parse_config(path, entries), dict(entries["model"]), entries)


def parse_config(path: Path, entries: Any) -> ModelConfig:
    """The configuration among the `entries` of a checkpoint; raise CheckpointError if they are not a checkpoint's."""
    if not isinstance(entries, dict) or entries.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{path}: not a facetools checkpoint")
    try:
        config, _ = dict(entries["config"]), dict(entries["model"])
        sequences = {name: tuple(config[name]) for name in ("attributes", "image_size")}
        return ModelConfig(**config | sequences)
    except (KeyError, TypeError, ValueError) as error:
        raise mismatch_error(path, error) from None


def mismatch_error(path: Path, reason: object) -> CheckpointError:
    """The error to raise if a checkpoint's entries do not form a network."""
    return CheckpointError(f"{path}: the checkpoint has missing or mismatched entries: {reason}")


class _TensorUnpickler(pickle.Unpickler):
    """Load plain values and tensors (as arrays); refuse every other class and function."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_array
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not allowed")

    def persistent_load(self, storage: Any) -> np.ndarray:
        _, dtype, key, _, _ = storage
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _rebuild_array(
    storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> np.ndarray:
    """A view of `storage`; `offset` and `strides` count items, not bytes."""
    size = storage.itemsize
    return np.ndarray(shape, storage.dtype, storage, offset * size, [stride * size for stride in strides])
