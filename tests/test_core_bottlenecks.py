"""From one linear bottleneck to the next, or through several, the core makes what torch's layers do, either way, and
leaves to those what does not fit."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core, batch_norm, bottlenecks, products
from facetools.batch_norm import fits
from facetools.bottlenecks import Bottleneck
from facetools.mobilenet import mobilenet_v2


def norm_of(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight, 1, 1)
    nn.init.normal_(norm.bias, 1, 1)
    return norm


def layers_of(inputs: int, channels: int, outputs: int, stride: int, kernel: int = 1) -> nn.ModuleList:
    """Expansion, filters and projection, each with its normalisation."""
    expand = nn.Conv2d(inputs, channels, kernel, 1 + kernel // 2, kernel // 2, bias=False)
    filters = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    project = nn.Conv2d(channels, outputs, 1, bias=False)
    return nn.ModuleList([expand, norm_of(channels), filters, norm_of(channels), project, norm_of(outputs)])


def between(images: Tensor, layers: nn.ModuleList, *, residual: bool = False) -> Tensor:
    return bottlenecks.bottlenecks(images, [Bottleneck(*layers, residual=residual)])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Through how many bottlenecks the core is asked to go, call by call."""
    counts: list[int] = []
    compute = _core.bottlenecks

    def counted(*given: Any) -> Any:
        counts.append(len(given[5]))
        return compute(*given)

    monkeypatch.setattr(_core, "bottlenecks", counted)
    return counts


def by_torch(images: Tensor, layers: nn.ModuleList) -> Tensor:
    expand, first, filters, second, project, last = layers
    return last(project(F.relu6(second(filters(F.relu6(first(expand(images))))))))


def learned(
    start: nn.ModuleList, images: Tensor, dtype: torch.dtype, *, to_images: bool = True, residual: bool = False
) -> list[Tensor]:
    """What comes out of copies of the layers, their moving averages and the gradients, after a step."""
    layers = deepcopy(start).to(dtype)
    given = images.to(dtype, copy=True).requires_grad_(to_images)
    out = between(given, layers, residual=residual)
    torch.manual_seed(1)
    out.backward(torch.randn(out.shape).to(dtype))
    gradients = [weight.grad for weight in (*layers.parameters(), given) if weight.grad is not None]
    assert len(gradients) == 9 + to_images
    return [out, *layers.buffers(), *gradients]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("shape", "channels", "outputs", "kernel"),
    [
        ((4, 24, 9, 6), 96, 24, 1),
        ((2, 16, 1, 3), 96, 7, 1),
        ((3, 5, 37, 27), 48, 40, 1),  # more places than are gone through together
        ((9, 40, 3, 2), 96, 32, 1),  # no way of the core's
        ((19, 48, 3, 2), 96, 32, 1),  # small maps, of which several are gone through at a time
        ((3, 48, 5, 4), 96, 48, 1),
        ((5, 64, 5, 4), 208, 24, 1),
        ((5, 48, 1, 1), 32, 16, 1),
        ((3, 48, 2, 9), 16, 16, 1),
        ((2, 64, 23, 37), 32, 16, 1),
        ((4, 3, 13, 9), 32, 16, 3),
        ((2, 3, 74, 21), 32, 16, 3),
        ((3, 2, 1, 2), 16, 8, 3),
    ],
)
@pytest.mark.parametrize("to_images", [True, False])
@pytest.mark.parametrize("expand_stride", [1, 2])
def test_it_is_torchs_layers(
    shape: tuple[int, int, int, int],
    channels: int,
    outputs: int,
    kernel: int,
    stride: int,
    expand_stride: int,
    to_images: bool,
) -> None:
    torch.manual_seed(0)
    start = layers_of(shape[1], channels, outputs, stride, kernel)
    start[0].stride = (expand_stride, expand_stride)
    images = (3 * torch.randn(shape) + 5).contiguous(memory_format=torch.channels_last)
    assert fits(images, start[1])
    for residual in {False, outputs == shape[1] and stride == expand_stride == 1}:
        ours, theirs = (
            learned(start, images, dtype, to_images=to_images, residual=residual)
            for dtype in (torch.float32, torch.float64)
        )
        assert ours[0].is_contiguous(memory_format=torch.channels_last)
        for found, exact in zip(ours, theirs, strict=True):
            assert (found.double() - exact).abs().max() < 1e-5 * exact.abs().max().clip(100)


def test_maps_may_be_larger_than_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    torch.manual_seed(0)
    start = layers_of(48, 48, 24, 1)
    images = torch.randn(16, 48, 96, 64).contiguous(memory_format=torch.channels_last)
    ours, theirs = (learned(start, images, dtype) for dtype in (torch.float32, torch.float64))
    for found, exact in zip(ours, theirs, strict=True):
        # Of millions of values some are rounded to the other side of a kink, where a gradient is as large as any.
        assert torch.linalg.norm(found.double() - exact) <= 1e-3 * torch.linalg.norm(exact.double())


@pytest.mark.parametrize("to_images", [True, False])
def test_the_core_goes_through_as_many_as_it_can(calls: list[int], to_images: bool) -> None:
    torch.manual_seed(0)
    sides = [(16, 32, 24, 2), (24, 48, 24, 1), (24, 96, 40, 2), (40, 48, 48, 1), (48, 96, 48, 1), (48, 48, 16, 1)]
    start = nn.ModuleList([layers_of(*of_one) for of_one in sides])
    images = torch.randn(4, 16, 14, 10).contiguous(memory_format=torch.channels_last)

    def learned(dtype: torch.dtype, go: Callable[[Tensor, list[Bottleneck]], Tensor]) -> list[Tensor]:
        layers, given = deepcopy(start).to(dtype), images.to(dtype, copy=True).requires_grad_(to_images)
        same = [inputs == outputs and stride == 1 for inputs, _, outputs, stride in sides]
        out = go(given, [Bottleneck(*six, residual=residual) for six, residual in zip(layers, same, strict=True)])
        torch.manual_seed(1)
        out.backward(torch.randn(out.shape).to(dtype))
        gradients = [weight.grad for weight in (*layers.parameters(), given) if weight.grad is not None]
        assert len(gradients) == 9 * len(sides) + to_images
        return [out, *layers.buffers(), *gradients]

    def one_by_one(given: Tensor, blocks: list[Bottleneck]) -> Tensor:
        for block in blocks:
            given = block.by_torch(given)
        return given

    ours = learned(torch.float32, bottlenecks.bottlenecks)
    assert calls == [3, 2]  # 40 channels are neither few nor sixteens
    for found, exact in zip(ours, learned(torch.float64, one_by_one), strict=True):
        # That by a bias which the next normalisation takes away is 0.
        assert torch.linalg.norm(found.double() - exact) <= 1e-3 * torch.linalg.norm(exact.double()) + 1e-4


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("inputs", "kernel", "by_core"), [(24, 1, True), (48, 1, True), (40, 1, False), (3, 3, True)])
def test_in_use_it_goes_by_the_moving_averages(
    calls: list[int], inputs: int, kernel: int, by_core: bool, stride: int
) -> None:
    torch.manual_seed(0)
    layers = layers_of(inputs, 48, 24, stride, kernel)
    images = torch.randn(3, inputs, 11, 8).contiguous(memory_format=torch.channels_last)
    for _ in range(3):  # which makes the averages
        between(images, layers)
    expected = by_torch(images.double(), deepcopy(layers).double().eval())
    before = deepcopy(layers.eval().state_dict())
    calls.clear()
    with torch.no_grad():
        found = between(images, layers)
    assert calls == [1] * by_core
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in layers.state_dict().items())
    # With gradients it is torch's, and with one normalisation that learns and one that does not.
    assert between(images, layers).requires_grad
    layers[1].train()
    with torch.no_grad():
        between(images, layers)
    assert calls == [1] * by_core


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("inputs", "kernel"), [(24, 1), (48, 1), (3, 3)])
def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch, inputs: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    start = layers_of(inputs, 48, 24, stride, kernel)
    images = torch.randn(19, inputs, 11, 8).contiguous(memory_format=torch.channels_last)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(learned(start, images, torch.float32, to_images=kernel == 1))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


needs_tiles = pytest.mark.skipif(not products.rounds(), reason="no AMX here")


@needs_tiles
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("inputs", [24, 32, 64])
def test_the_factors_of_large_products_may_be_rounded(inputs: int, stride: int) -> None:
    torch.manual_seed(0)
    start = layers_of(inputs, 6 * inputs, 48, stride)
    images = torch.randn(19, inputs, 11, 8).contiguous(memory_format=torch.channels_last)
    plain, exact = (learned(start, images, dtype) for dtype in (torch.float32, torch.float64))
    with products.rounding(True):
        rounded = learned(start, images, torch.float32)
    for number, (ours, theirs) in enumerate(zip(rounded, exact, strict=True)):
        # A gradient that falls to the other side of a kink is as large as any. That by a bias which the next
        # normalisation takes away is 0.
        within = 0.1 if number > 9 else 0.01
        assert torch.linalg.norm(ours.double() - theirs) <= within * torch.linalg.norm(theirs.double()) + 1e-4
    same = [torch.equal(one, other) for one, other in zip(rounded, plain, strict=True)]
    # What comes out, and the gradient by the images.
    assert all(same) if inputs < 32 else not (same[0] or same[-1])


@needs_tiles
@pytest.mark.parametrize("inputs", [32, 64])
def test_threads_change_nothing_of_what_is_rounded(monkeypatch: pytest.MonkeyPatch, inputs: int) -> None:
    torch.manual_seed(0)
    start = layers_of(inputs, 192, 48, 1)
    images = torch.randn(19, inputs, 11, 8).contiguous(memory_format=torch.channels_last)
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        with products.rounding(True):
            found.append(learned(start, images, torch.float32))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_the_way_back_may_be_gone_twice_but_not_by_other_weights() -> None:
    torch.manual_seed(0)
    layers = layers_of(16, 32, 16, 1)
    images = torch.randn(2, 16, 4, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    out = between(images, layers, residual=True).square().sum()
    once, again = (torch.autograd.grad(out, [images, *layers.parameters()], retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    with torch.no_grad():
        layers[2].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()


def test_few_inputs_or_sixteens_of_them_are_the_cores(calls: list[int]) -> None:
    for inputs, kernel, expected in [(32, 1, [1]), (33, 1, []), (48, 1, [1]), (3, 3, [1]), (4, 3, [])]:
        images = torch.randn(2, inputs, 8, 6).contiguous(memory_format=torch.channels_last)
        between(images, layers_of(inputs, 48, 16, 1, kernel))
        assert calls == expected
        calls.clear()


def test_what_does_not_fit_is_left_to_torch(calls: list[int]) -> None:
    images = torch.randn(2, 16, 4, 5).contiguous(memory_format=torch.channels_last)
    usual = layers_of(16, 32, 8, 2)
    for place, channels in [(1, 32), (3, 32), (5, 8)]:
        for norm in [
            norm_of(channels).eval(),
            nn.Identity(),
            nn.BatchNorm2d(channels, momentum=None),
            nn.BatchNorm2d(channels, affine=False),
            nn.BatchNorm2d(channels, track_running_stats=False),
        ]:
            layers = deepcopy(usual)
            layers[place] = norm
            expected = by_torch(images, deepcopy(layers))
            torch.testing.assert_close(between(images, layers), expected, rtol=1e-4, atol=1e-4)
    for dtype, others in [
        (torch.float32, images.contiguous()),
        (torch.float64, images.double()),
        (torch.float32, images[:1]),
        (torch.float32, images[:, :, :3, :1].repeat(3, 1, 1, 1)),  # whose places are no sixteens of outputs
    ]:
        layers = deepcopy(usual).to(dtype)
        expected = by_torch(others, deepcopy(layers))
        # The normalisations alone may be the core's.
        torch.testing.assert_close(between(others, layers), expected, rtol=1e-4, atol=1e-4)
    assert calls == []


#: A bottleneck of two images of 4 x 5 places, as the core takes it: 6 channels, 16 of the maps, 8 of what comes out.
GIVEN: dict[str, Any] = {
    "images": np.ones((2, 4, 5, 6), np.float32),
    "expand": np.ones((16, 6), np.float32),
    "filters": np.ones((16, 9), np.float32),
    "project": np.ones((8, 16), np.float32),
    "narrow": np.ones(8, np.float32),
    "wide": np.ones(16, np.float32),
    "steps": (1, 2, False),
    "count": 1,
    "training": True,
    "out": np.ones((2, 2, 3, 8), np.float32),
    "by_images": np.ones((2, 4, 5, 6), np.float32),
}


def passed(**other: Any) -> tuple[Any, Callable[..., None]]:
    """The way there by what is `GIVEN`, or other, and a function for the way back, by yet other things."""
    given = GIVEN | other

    def weights(given: dict[str, Any]) -> list[np.ndarray]:
        wide, narrow = given["wide"], given["narrow"]
        nine = [given["expand"], wide, wide, given["filters"], wide, wide, given["project"], narrow, narrow]
        return nine * given["count"]

    averages = [(np.ones(size, np.float32), np.ones(size, np.float32)) for size in (16, 16, given.get("averages", 8))]
    there = _core.bottlenecks(
        given["images"], weights(given), averages, [], [(1e-5, 0.1)] * 3, [given["steps"]], given["training"], False,
        given["out"].copy(), 1,
    )  # fmt: skip

    def back(**other: Any) -> None:
        now = given | other
        found = [weight.copy() for weight in weights(now)]
        if "found" in now:
            found[0] = now["found"]
        there.back(now["images"], weights(now), [now["steps"]], now["out"], now["by_images"], found, 1)

    return there, back


def test_the_core_refuses_what_does_not_fit() -> None:
    _, back = passed()
    back()
    patches = {"expand": np.ones((16, 27), np.float32), "images": GIVEN["images"][..., :3].copy(), "by_images": None}
    passed(**patches)[1]()
    passed(**patches, steps=(2, 2, False), out=np.ones((2, 1, 2, 8), np.float32))[1]()
    sixteens, forties = np.ones((2, 4, 5, 16), np.float32), np.ones((2, 4, 5, 40), np.float32)
    for wrong, message in [
        ({"images": GIVEN["images"][:0]}, "there are none"),
        ({"count": 2}, "not nine a bottleneck"),
        ({"expand": GIVEN["expand"][:, :5].copy()}, "no number of inputs"),
        ({"images": GIVEN["images"][..., :3].copy()}, "of the shape that fits"),
        ({"expand": GIVEN["expand"][:8]}, "no multiple of 16"),
        ({"expand": np.ones((16, 40), np.float32), "images": forties}, "no number of inputs"),
        ({"filters": GIVEN["filters"][:, :8].copy()}, "of the shape that fits"),
        ({"project": GIVEN["project"][:0]}, "nothing is projected"),
        ({"project": GIVEN["project"][:, :8].copy()}, "of the shape that fits"),
        ({"wide": GIVEN["wide"][:8]}, "not one of each channel"),
        ({"averages": 16}, "not one of each channel"),
        ({"steps": (2, 2, False)}, "not one of the kernel"),
        ({"steps": (1, 3, False)}, "neither 1 nor 2"),
        ({"steps": (1, 1, True)}, "not of the shape of what they are added to"),
        ({"images": GIVEN["images"][:1, :1, :1].copy()}, "too small"),
        ({"images": GIVEN["images"][:1, :1].copy()}, "no multiple of 16"),
        ({"out": sixteens}, "that fits the images"),
    ]:
        with pytest.raises(ValueError, match=message):
            passed(**wrong)
    for wrong, message in [
        ({"images": GIVEN["images"][:, :3].copy()}, "not what was passed"),
        ({"steps": (1, 1, False)}, "not what was passed"),
        ({"out": sixteens}, "that fits the images"),
        ({"by_images": sixteens}, "that fits the images"),
        ({"found": GIVEN["filters"].copy()}, "not of the size of their weights"),
    ]:
        with pytest.raises(ValueError, match=message):
            back(**wrong)
    with pytest.raises(ValueError, match="no gradient comes to them"):
        passed(**patches)[1](by_images=patches["images"].copy())
    with pytest.raises(ValueError, match="not what was passed"):
        passed(training=False)[1]()
    with pytest.raises(TypeError):
        passed(images=GIVEN["images"].astype(float))


def test_mobilenet_learns_the_same_by_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    start = mobilenet_v2().train().to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 64, 48).contiguous(memory_format=torch.channels_last)

    def learned(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The gradients and the moving averages after one step, each one after the other."""
        network = deepcopy(start).to(dtype)
        network(images.to(dtype)).square().mean().backward()
        gradients = [weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]
        averages = [value for name, value in network.named_buffers() if "running" in name]
        return torch.cat(gradients).double(), torch.cat(averages).double()

    by_core = learned(torch.float32)
    for module in (batch_norm, bottlenecks, products):
        monkeypatch.setattr(module, "fits", lambda values, layer: False)
    for found, exact in zip(by_core, learned(torch.float64), strict=True):
        # A gradient that falls to the other side of a kink is as large as any.
        assert torch.linalg.norm(found - exact) < 0.01 * torch.linalg.norm(exact)
