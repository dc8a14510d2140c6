"""What a network is, in plain values: its configuration, the pixels it expects, and the table of MobileNetV2.

torch and ONNX Runtime both compute what stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Mean and standard deviation of ImageNet's pixels, 0 to 255, by channel: what torchvision's weights expect.
PIXEL_MEAN = (123.675, 116.28, 103.53)


PIXEL_STD = (58.395, 57.12, 57.375)


#: Expansion, channels, repetitions and the first stride of the residual blocks (Sandler et al. 2018, table 2).
INVERTED_RESIDUALS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


FIRST_CHANNELS, LAST_CHANNELS = 32, 1280


@dataclass(frozen=True)
class ModelConfig:
    """What it takes to build the network and to ask it: `image_size` is (height, width) in pixels, `first_stride` that
    of the backbone's first convolution; `flip_average` scores a face by it and its mirror image."""

    attributes: tuple[str, ...]
    backbone: str = "mobilenet_v2"
    head: int = 1536
    dropout: float = 0.3
    image_size: tuple[int, int] = (224, 224)
    first_stride: int = 2
    flip_average: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, for JSON and checkpoints."""
        return self.__dict__ | {"attributes": list(self.attributes), "image_size": list(self.image_size)}


def inverted_residuals() -> Iterator[tuple[int, int, int, int]]:
    """The residual blocks in turn: channels in, channels out, stride and expansion."""
    inputs = FIRST_CHANNELS
    for expansion, outputs, repetitions, first_stride in INVERTED_RESIDUALS:
        for repetition in range(repetitions):
            yield inputs, outputs, 1 if repetition else first_stride, expansion
            inputs = outputs
