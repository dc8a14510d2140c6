"""MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen 2018, table 2): the backbone of choice, for its price.

The layers, their names and how they begin are torchvision's, so that its weights fit. It is written out here because to
import torchvision takes as long as to import torch, which one face would wait for.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from facetools import batch_norm
from facetools.architecture import FIRST, LAST, blocks
from facetools.bottlenecks import Bottleneck, bottlenecks
from facetools.products import pointwise


class _Block(nn.Module):
    """An inverted residual with a linear bottleneck: expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            *([_Normalised(inputs, hidden, 1)] if expansion > 1 else []),
            _Normalised(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self._residual = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        return bottlenecks(images, [self.after(self.conv[0])])

    def after(self, expansion: Any) -> Bottleneck:
        """What it does where `expansion` expands: the first layer, or what takes its place."""
        layers: list[Any] = list(self.conv)
        (expand, norm, _), (filters, filters_norm, _), project, last = expansion, *layers[-3:]
        return Bottleneck(expand, norm, filters, filters_norm, project, last, self._residual)


class _Normalised(nn.Sequential):
    """A convolution, batch normalisation and ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))

    def forward(self, images: Tensor) -> Tensor:
        convolution, norm, _ = self
        return batch_norm.relu6(pointwise(images, convolution), norm)


class _Features(nn.Sequential):
    """All layers. The first block expands nothing: the first convolution does, to as many channels."""

    def forward(self, images: Tensor) -> Tensor:
        layers: list[Any] = list(self)
        first, block, *others, last = layers
        through = [block.after(first), *(other.after(other.conv[0]) for other in others)]
        out: Tensor = last(bottlenecks(images, through))
        return out


def mobilenet_v2() -> nn.Sequential:
    """The features of MobileNetV2 from random weights: float (n, 3, h, w) to (n, 1280, h / 32, w / 32), rounded up."""
    described = list(blocks())
    residuals = (_Block(*block) for block in described)
    features = _Features(_Normalised(3, FIRST, 3, 2), *residuals, _Normalised(described[-1][1], LAST, 1))
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return features
