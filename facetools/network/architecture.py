"""The network's architecture in plain values: its configuration, pixel normalization and the MobileNetV2 block table.

Both definitions of the network build on it: `model.py` for PyTorch and `onnx.py` for ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Mean and standard deviation per channel of ImageNet's pixels, in 0 to 255, as torchvision's weights expect.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

#: MobileNetV2's groups of residual blocks: expansion, output channels, repetitions, stride of the first block.
#: Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks (2018), table 2.
INVERTED_RESIDUALS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)

#: Output channels of MobileNetV2's first and last convolution.
FIRST_CHANNELS, LAST_CHANNELS = 32, 1280


#: The most units of the hidden layer, and the longest side of an image in pixels. A damaged checkpoint must not ask for
#: more memory than a computer has.
MAX_HEAD, MAX_IMAGE_SIDE = 65_536, 4_096


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build the network and to score images with it.

    attributes: names of the outputs, in order.
    backbone: a network of torchvision.
    head: units of the head's hidden layer.
    dropout: dropout rate before the output layer.
    image_size: (height, width) of the input in pixels.
    first_stride: stride of the backbone's first convolution, 1 or the backbone's own 2.
    flip_average: average the logits of each face and its mirror image.
    """

    attributes: tuple[str, ...]
    backbone: str = "mobilenet_v2"
    head: int = 1536
    dropout: float = 0.3
    image_size: tuple[int, int] = (224, 224)
    first_stride: int = 2
    flip_average: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError if a value is of the wrong type or out of range."""
        names = self.attributes
        if not names or not all(isinstance(name, str) and name and _is_encodable(name) for name in names):
            raise ValueError(f"attributes are {names}, not names")
        if len(set(names)) < len(names):
            raise ValueError(f"attributes are {', '.join(names)}, some of them twice")
        if not isinstance(self.backbone, str):
            raise ValueError(f"backbone is {self.backbone}, not a name")
        if len(self.image_size) != 2:
            raise ValueError(f"image_size is {self.image_size}, not height and width")
        ranges = [("head", self.head, MAX_HEAD), *(("image_size", side, MAX_IMAGE_SIDE) for side in self.image_size)]
        for name, value, maximum in (*ranges, ("first_stride", self.first_stride, 2)):
            if type(value) is not int or not 1 <= value <= maximum:
                raise ValueError(f"{name.replace('_', ' ')} is {value}; it must be from 1 to {maximum}")
        if not isinstance(self.dropout, float | int) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and under 1")
        if not isinstance(self.flip_average, bool):
            raise ValueError(f"flip_average is {self.flip_average}, neither true nor false")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain values, for JSON and checkpoints."""
        return self.__dict__ | {"attributes": list(self.attributes), "image_size": list(self.image_size)}


def _is_encodable(text: str) -> bool:
    """Whether `text` can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def inverted_residuals() -> Iterator[tuple[int, int, int, int]]:
    """Yield input channels, output channels, stride and expansion of each residual block of MobileNetV2, in order."""
    inputs = FIRST_CHANNELS
    for expansion, outputs, repetitions, first_stride in INVERTED_RESIDUALS:
        for repetition in range(repetitions):
            yield inputs, outputs, 1 if repetition else first_stride, expansion
            inputs = outputs
