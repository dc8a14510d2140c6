"""Checkpoints, read without torch: to import it takes longer than a face takes to be judged.

A checkpoint is what torch.save writes of a dictionary: a zip archive of one pickle and of the numbers of each tensor.
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

CHECKPOINT_FORMAT = "facetools checkpoint 1"


#: The checkpoint that comes along.
STARTER_MODEL = Path(__file__).parent / "starter" / "starter.pt"


#: Of numbers in a tensor, by the name that torch has for them.
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
    """A file is not a checkpoint of facetools, or weights do not fit or cannot be had."""


@dataclass(frozen=True)
class Checkpoint:
    """Of a file, the configuration of a network, its weights by torch's names for them, and what else is kept, which
    may be the `thresholds` by aim, the `settings` of training and what it was `made_by`."""

    path: Path
    config: ModelConfig
    weights: dict[str, np.ndarray]
    parts: dict[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file, nothing of which is executed; a CheckpointError if it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
            if name is None:
                raise ValueError("an archive of something else")
            with archive.open(name) as stream:
                content = _Unpickler(stream, archive, name.removesuffix("data.pkl")).load()
    except OSError:
        raise
    except Exception as error:  # a pickle that is damaged may fail in any way
        raise unreadable_checkpoint(path, error) from None
    return Checkpoint(path, parse_config(path, content), dict(content["model"]), content)


def unreadable_checkpoint(path: Path, error: Exception) -> CheckpointError:
    """What to raise where the reading of a file failed by `error`."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(f"{path}: not a readable checkpoint: {reason}")


def parse_config(path: Path, content: Any) -> ModelConfig:
    """The configuration in the content of a checkpoint; a CheckpointError if it is that of something else."""
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of facetools")
    try:
        plain, _ = dict(content["config"]), dict(content["model"])
        sequences = {name: tuple(plain[name]) for name in ("attributes", "image_size")}
        return ModelConfig(**plain | sequences)
    except (KeyError, TypeError, ValueError) as error:
        raise mismatched_checkpoint(path, error) from None


def mismatched_checkpoint(path: Path, reason: object) -> CheckpointError:
    """What to raise where the parts of a checkpoint do not make a network."""
    return CheckpointError(f"{path}: a checkpoint with parts that are missing or do not fit: {reason}")


class _Unpickler(pickle.Unpickler):
    """Knows tensors and plain values, and calls nothing else."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(stream)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, saved: Any) -> np.ndarray:
        _, dtype, key, _, _ = saved
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _tensor(numbers: np.ndarray, offset: int, shape: tuple[int, ...], steps: tuple[int, ...], *_: Any) -> np.ndarray:
    """The part of `numbers` that begins at `offset`, of a shape and with steps between its items along each axis."""
    size = numbers.itemsize
    return np.ndarray(shape, numbers.dtype, numbers, offset * size, [step * size for step in steps])
