"""What MobileNetV2 does from one of its linear bottlenecks to the next and on to the last, by the compiled core.

Images of few channels are expanded to many, filtered channel by channel and projected to few again. What lies between
is large, and to write and to read it layer by layer is what training waits for; and to go back and forth between layers
takes a tenth of a step of small images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from facetools import _core
from facetools.batch_norm import fits, images_of, maps_of, relu6, usual
from facetools.products import rounded

#: Inputs at most of an expansion, unless they are sixteens of channels.
FEW = 32


class Bottleneck(NamedTuple):
    """From one linear bottleneck to the next: convolutions without bias, of which `filters` is depthwise, of 3 x 3 with
    a border in strides of 1 or 2, and `project` of 1 x 1; the normalisation after each, with ReLU6 after the first two;
    and whether the images themselves are added."""

    expand: Any
    expand_norm: Any
    filters: Any
    filters_norm: Any
    project: Any
    project_norm: Any
    residual: bool

    def norms(self) -> tuple[Any, ...]:
        return self.expand_norm, self.filters_norm, self.project_norm

    def next(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Of images (n, channels, height, width) that of what comes of them."""
        steps = self.expand.stride[0], self.filters.stride[0]
        height, width = (_seen(_seen(side, steps[0]), steps[1]) for side in shape[2:])
        return shape[0], self.project_norm.num_features, height, width

    def by_torch(self, images: Tensor) -> Tensor:
        expanded = relu6(self.expand(images), self.expand_norm)
        filtered = relu6(self.filters(expanded), self.filters_norm)
        out: Tensor = self.project_norm(self.project(filtered))
        return images + out if self.residual else out


def bottlenecks(images: Tensor, blocks: Sequence[Bottleneck]) -> Tensor:
    """What the blocks make, one after another, of float (n, channels, height, width); by the core where it computes
    relu6, for few channels or sixteens of them, else by torch."""
    rest = list(blocks)
    while rest:
        count = _fitting(images, rest)
        images = _by_core(images, rest[:count]) if count else rest[0].by_torch(images)
        del rest[: max(1, count)]
    return images


def _fitting(images: Tensor, blocks: Sequence[Bottleneck]) -> int:
    """How many of the blocks, from the first on, the core goes through together."""
    if len(images) < 2 or not fits(images, blocks[0].expand_norm):
        return 0
    shape: Sequence[int] = images.shape
    training, led_back = blocks[0].expand_norm.training, images.requires_grad
    for number, block in enumerate(blocks):
        if not _fits(shape, block, training=training, led_back=led_back):
            return number
        shape, led_back = block.next(shape), True
    return len(blocks)


def _fits(shape: Sequence[int], block: Bottleneck, *, training: bool, led_back: bool) -> bool:
    """Whether the core computes what a block makes of images of such a shape, to which a gradient is led or not."""
    if not all(usual(norm) and norm.training == training for norm in block.norms()):
        return False
    outputs = block.project_norm.num_features
    return (
        block.expand_norm.num_features % 16 == 0
        and math.prod(block.next(shape)) % math.lcm(16, outputs) == 0
        and _expands(block.expand, led_back=led_back)
    )


def _expands(expand: Any, *, led_back: bool) -> bool:
    shape, inputs = (expand.kernel_size, expand.stride, expand.padding, expand.dilation), expand.weight[0].numel()
    if shape == ((1, 1), (1, 1), (0, 0), (1, 1)):
        return inputs <= FEW or inputs % 16 == 0
    # Through a kernel of 3 the core leads no gradient back.
    return shape in [((3, 3), (n, n), (1, 1), (1, 1)) for n in (1, 2)] and inputs <= FEW and not led_back


def _by_core(images: Tensor, blocks: Sequence[Bottleneck]) -> Tensor:
    # Nine of each block.
    layers = [layer for block in blocks for layer in block[:6]]
    weights = [weight for layer in layers for weight in (layer.weight, layer.bias) if weight is not None]
    if blocks[0].expand_norm.training:
        learned: Tensor = _Bottlenecks.apply(images, blocks, *weights)
        return learned
    return images_of(_passed(maps_of(images), blocks, weights)[0])


class _Bottlenecks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, blocks: Sequence[Bottleneck], *weights: Tensor) -> Tensor:
        maps = maps_of(images)
        out, ctx.passed = _passed(maps, blocks, weights)
        ctx.save_for_backward(maps, *weights)
        ctx.steps = _steps(blocks)
        return images_of(out)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, *weights = ctx.saved_tensors
        by_maps = torch.empty_like(maps) if ctx.needs_input_grad[0] else None
        found = [torch.empty_like(weight) for weight in weights]
        given = maps, _in_order(weights), ctx.steps, maps_of(gradient)
        by_weights = _in_order(found)
        ctx.passed.back(*given, by_maps, by_weights, torch.get_num_threads())
        if by_weights[0] is not found[0]:
            found[0] = images_of(by_weights[0])
        return None if by_maps is None else images_of(by_maps), None, *found


def _passed(maps: Tensor, blocks: Sequence[Bottleneck], weights: Sequence[Tensor]) -> tuple[Tensor, _core.Bottlenecks]:
    """What comes of `maps` (n, height, width, channels), and what leads back."""
    norms = [norm for block in blocks for norm in block.norms()]
    shape: Sequence[int] = (len(maps), maps.shape[3], *maps.shape[1:3])
    for block in blocks:
        shape = block.next(shape)
    out = torch.empty(shape[0], *shape[2:], shape[1])
    passed = _core.bottlenecks(
        maps,
        _in_order(weights),
        [(norm.running_mean, norm.running_var) for norm in norms],
        [norm.num_batches_tracked for norm in norms],
        [(norm.eps, norm.momentum) for norm in norms],
        _steps(blocks),
        norms[0].training,
        rounded(),
        out,
        torch.get_num_threads(),
    )
    return out, passed


def _steps(blocks: Sequence[Bottleneck]) -> list[tuple[int, int, bool]]:
    return [(block.expand.stride[0], block.filters.stride[0], block.residual) for block in blocks]


def _in_order(weights: Sequence[Tensor]) -> list[Tensor]:
    """As the core takes them: those of a kernel of 3, which only the first may have, with inputs last."""
    first, *others = weights
    return [maps_of(first) if first.shape[2] > 1 else first, *others]


def _seen(side: int, stride: int) -> int:
    """The side of what filters with a border make of maps, or of what one of 1 x 1 makes."""
    return (side - 1) // stride + 1
