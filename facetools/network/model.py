"""The attribute network in PyTorch, and its checkpoints.

`AttributeNet` is a torchvision backbone without its classifier, followed by the paper's head (figure 3): global average
pooling, dense 1536 with ReLU, batch norm, dropout 0.3, and a dense layer with one sigmoid per attribute. With
MobileNetV2 and 40 attributes it has 4 256 040 trainable parameters. `save_checkpoint` and `load_checkpoint` store it.

The network is defined twice: for PyTorch here and for ONNX Runtime in `onnx.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from facetools.network import checkpoint
from facetools.network.architecture import PIXEL_MEAN, PIXEL_STD, ModelConfig
from facetools.network.backbones import build_backbone
from facetools.runtime import files


class AttributeNet(nn.Module):
    """Pixels to logits: uint8 or float (n, 3, height, width), 0 to 255, to float (n, attributes)."""

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


def _feature_count(backbone: nn.Module, config: ModelConfig) -> int:
    """The number of features of `backbone` at the configured image size; raise ValueError if it is too small."""
    # In eval mode, so that the probe does not change the running statistics of batch norm.
    training = backbone.training
    try:
        with torch.no_grad():
            return backbone.eval()(torch.zeros(1, 3, *config.image_size)).shape[1]
    except RuntimeError as error:
        height, width = config.image_size
        raise ValueError(
            f"the backbone '{config.backbone}' does not accept images of {height} x {width} pixels: {error}"
        ) from None
    finally:
        backbone.train(training)


def save_checkpoint(
    path: Path,
    model: AttributeNet,
    *,
    half: bool = False,
    buffers: Mapping[str, Tensor] = MappingProxyType({}),
    **entries: Any,
) -> None:
    """Write `model` and further `entries` (tensors and plain values only) to `path`, atomically.

    With `half`, weight matrices and convolution kernels are stored as float16, which halves the size of the file.
    `buffers` replaces buffers of the model, by their names.
    """
    state = model.state_dict()
    state |= {name: value for name, value in buffers.items() if name in state}
    if half:  # batch norm and biases stay float32: they are small and sensitive to rounding
        state = {name: value.half() if value.ndim > 1 else value for name, value in state.items()}
    content = {"format": checkpoint.CHECKPOINT_FORMAT, "config": model.config.to_dict(), "model": state, **entries}
    with files.atomic_writer(path) as stream:
        try:
            torch.save(content, stream)
        except RuntimeError as error:
            # torch replaces the exception of `stream`, such as that of a full disk, by one of its own.
            raise error.__context__ or error from None


def load_checkpoint(path: Path) -> tuple[AttributeNet, dict[str, Any]]:
    """The network in a checkpoint, on the CPU, and all entries of the checkpoint; nothing in the file is executed.

    Raises CheckpointError if the file is not a checkpoint or its weights do not fit its configuration.
    """
    entries = checkpoint.read_entries(path, torch.from_numpy)
    config = checkpoint.parse_entries(path, entries)
    checkpoint.check_weights(path, entries["model"], Tensor, torch.isfinite)
    try:
        model = AttributeNet(config)
        model.load_state_dict(entries["model"])
    except (ValueError, RuntimeError) as error:
        raise checkpoint.mismatch_error(path, str(error).splitlines()[-1].strip()) from None
    return model, entries
