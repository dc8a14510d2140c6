"""Dense layers and convolutions of 1 x 1 as products of matrices by the compiled core: of as few rows and columns as
they have in training it makes them in two thirds of the time that torch takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core

_rounding = ContextVar("rounding", default=False)


def rounds() -> bool:
    """Whether the core gains by factors that are rounded to bfloat16: by the tiles of AMX, which multiply such."""
    return _core.simd() == "amx"


@contextmanager
def rounding(allowed: bool) -> Iterator[None]:
    """Meanwhile layers may have the core round the factors of their large products to bfloat16, and on the way back
    through them, if it gains. Sums of these and all else stay float32."""
    before = _rounding.set(allowed and rounds())
    try:
        yield
    finally:
        _rounding.reset(before)


def rounded() -> bool:
    """Whether they do so now."""
    return _rounding.get()


def plain(values: Tensor) -> bool:
    """Whether they are float32 in memory, as the core takes them, and to be computed with as such."""
    return values.device.type == "cpu" and values.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def product(a: Tensor, b: Tensor, *, turned_a: bool = False, turned_b: bool = False, rounded: bool = False) -> Tensor:
    """a b, float32 (rows, columns) of float32 (rows, inner) and (inner, columns), of which each may be given turned,
    and `rounded` to bfloat16 first where the core `rounds`. The columns are a multiple of 16."""
    out = torch.empty(a.shape[turned_a], b.shape[not turned_b])
    _core.product(a, b, turned_a, turned_b, rounded, out, torch.get_num_threads())
    return out


def times(a: Tensor, b: Tensor, *, turned_a: bool = False, turned_b: bool = False) -> Tensor:
    """The same of any two matrices, by torch where the core gains nothing."""
    columns, terms = b.shape[not turned_b], a.shape[not turned_a]
    fit = columns % 16 == 0 and all(plain(m) and m.is_contiguous() for m in (a, b))
    if fit and min(columns, terms) >= 64:
        return product(a, b, turned_a=turned_a, turned_b=turned_b)
    return (a.T if turned_a else a) @ (b.T if turned_b else b)


class Dense(nn.Linear):
    """A dense layer; by the core in training, for float32 in memory and features in sixteens, else by torch."""

    def forward(self, rows: Tensor) -> Tensor:
        if not (self.training and rows.ndim == 2 and fits(rows, self.weight)):
            return F.linear(rows, self.weight, self.bias)
        out: Tensor = _Product.apply(rows.contiguous(), self.weight)
        return out if self.bias is None else out + self.bias


def pointwise(images: Tensor, convolution: Any) -> Tensor:
    """convolution(images) of float (n, channels, height, width); one of 1 x 1 by the core where it computes a dense
    layer and channels lie last, and in use without gradients."""
    shape = (convolution.kernel_size, convolution.stride, convolution.padding, convolution.groups)
    usual = shape == ((1, 1), (1, 1), (0, 0), 1) and convolution.bias is None
    last = images.is_contiguous(memory_format=torch.channels_last)
    if not (usual and last and (convolution.training or not torch.is_grad_enabled())):
        return convolution(images)
    if not fits(images, convolution.weight.flatten(1)):
        return convolution(images)
    maps = images.permute(0, 2, 3, 1)
    out: Tensor = _Product.apply(maps.reshape(-1, maps.shape[3]), convolution.weight)
    return out.view(*maps.shape[:3], -1).permute(0, 3, 1, 2)


def fits(values: Tensor, weights: Tensor) -> bool:
    """Whether the core multiplies such values by weights (outputs, inputs)."""
    outputs, inputs = weights.shape
    return plain(values) and plain(weights) and outputs % 16 == inputs % 16 == 0 and values.numel() > 0


def as_weight(gradient: Tensor, weight: Tensor) -> Tensor:
    """A gradient (outputs, values of each) in the shape of `weight`, and in its strides, as torch's averages over
    processes want it: those of sides of one place differ though all lies alike."""
    alike = weight.flatten(1).is_contiguous()
    return gradient.as_strided(weight.shape, weight.stride()) if alike else gradient.view(weight.shape)


class _Product(torch.autograd.Function):
    """Rows (places, inputs) by turned weights (outputs, inputs), or those of a convolution of 1 x 1."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        ctx.rounded = rounded()
        weights = weight.flatten(1)
        # Where fewer values lie in them, the rows and what comes of them are turned instead of the weights.
        if len(rows) % 16 == 0 and len(rows) * sum(weights.shape) < weights.numel():
            return product(weights, rows, turned_b=True, rounded=ctx.rounded).t().contiguous()
        return product(rows, weights, turned_b=True, rounded=ctx.rounded)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        rows, weight = ctx.saved_tensors
        gradient, weights = gradient.contiguous(), weight.flatten(1)
        by_rows = product(gradient, weights, rounded=ctx.rounded) if ctx.needs_input_grad[0] else None
        return by_rows, as_weight(product(gradient, rows, turned_a=True, rounded=ctx.rounded), weight)
