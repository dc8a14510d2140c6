"""All between two linear bottlenecks is as one what torch's layers are, either way, and left to them where it does not
fit."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core, batch_norm, bottleneck, products
from facetools.batch_norm import fits
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
    return bottleneck.bottleneck(images, bottleneck.Layers(*layers), residual=residual)


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
        ((9, 48, 3, 2), 96, 32, 1),
        ((3, 48, 5, 4), 96, 48, 1),
        ((5, 64, 5, 4), 208, 24, 1),
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


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("inputs", "kernel", "way"),
    [(24, 1, ["expanded_depthwise"]), (48, 1, ["depthwise"]), (40, 1, []), (3, 3, ["expanded_depthwise"])],
)
def test_in_use_it_goes_by_the_moving_averages(
    monkeypatch: pytest.MonkeyPatch, inputs: int, kernel: int, way: list[str], stride: int
) -> None:
    torch.manual_seed(0)
    layers = layers_of(inputs, 48, 24, stride, kernel)
    images = torch.randn(3, inputs, 11, 8).contiguous(memory_format=torch.channels_last)
    for _ in range(3):  # which makes the averages
        between(images, layers)
    expected = by_torch(images.double(), deepcopy(layers).double().eval())
    calls: list[str] = []
    for name in ("expanded_depthwise", "depthwise"):
        compute = getattr(_core, name)
        monkeypatch.setattr(
            _core, name, lambda *given, name=name, compute=compute: [calls.append(name), compute(*given)]
        )
    before = deepcopy(layers.eval().state_dict())
    with torch.no_grad():
        found = between(images, layers)
    assert calls == way
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in layers.state_dict().items())
    # With gradients it is torch's, and with one normalisation that learns and one that does not.
    assert between(images, layers).requires_grad
    layers[1].train()
    with torch.no_grad():
        between(images, layers)
    assert calls == way


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


def test_few_channels_are_expanded_anew_and_more_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("expanded_moments", "depthwise"):
        compute = getattr(_core, name)
        monkeypatch.setattr(
            _core, name, lambda *given, name=name, compute=compute: [calls.append(name), compute(*given)]
        )
    for inputs, kernel, expected in [
        (32, 1, ["expanded_moments"]),
        (33, 1, []),
        (48, 1, ["depthwise"]),
        (3, 3, ["expanded_moments"]),
        (4, 3, []),
    ]:
        images = torch.randn(2, inputs, 8, 6).contiguous(memory_format=torch.channels_last)
        between(images, layers_of(inputs, 48, 16, 1, kernel))
        assert calls == expected
        calls.clear()


def test_what_does_not_fit_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("expanded_moments", "depthwise"):
        monkeypatch.setattr(_core, name, lambda *given: pytest.fail("the core was asked"))
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


def test_the_core_refuses_what_does_not_fit() -> None:
    images, weights, inputs = np.zeros((2, 4, 5, 6), np.float32), np.zeros((6, 16), np.float32), np.zeros((6, 17))
    scale, projection, filters = *(np.zeros((rows, 16), np.float32) for rows in (4, 7)), np.zeros((16, 9), np.float32)
    filtered, out = np.zeros((1, 2, 2, 3, 16), np.float32), np.zeros((2, 2, 3, 7), np.float32)
    moments, patches = scale[:2].copy(), np.zeros((54, 16), np.float32)

    def backward(**other: Any) -> None:
        usual = {"weights": weights, "inputs": inputs, "projection": projection, "gradient": out}
        given = usual | {"besides": images, "by_images": images.copy()} | other
        _core.anew_backward(
            images, given["weights"], 1, given["inputs"], scale, filters, 2, filtered, scale, given["projection"],
            given["gradient"], given["besides"], given["by_images"], np.zeros_like(given["weights"]),
            filters.copy(), projection.copy(), moments.copy(), moments.copy(), 1,
        )  # fmt: skip

    def moments_by(given: np.ndarray, by: np.ndarray, stride: int = 1, of_inputs: np.ndarray = inputs) -> None:
        _core.expanded_moments(given, by, stride, of_inputs, moments, 1)

    def filtered_by(given: np.ndarray, stride: int, to: np.ndarray = moments, out: np.ndarray = filtered) -> None:
        _core.expanded_depthwise(given, weights, 1, scale, filters, stride, out, to, 1)

    moments_by(images, weights)
    filtered_by(images, 2)
    backward()
    of_patches = {"weights": patches, "inputs": np.zeros((54, 17))}
    backward(by_images=None, **of_patches)
    for call, message in [
        (lambda: moments_by(images[:0], weights), "there are none"),
        (lambda: moments_by(images, weights[:5]), "not a row an input"),
        (lambda: moments_by(images, weights[:, :8].copy()), "no multiple of 16"),
        (lambda: moments_by(images, weights, 2), "not one of the kernel"),
        (lambda: moments_by(images, patches, 3), "not one of the kernel"),
        (lambda: moments_by(images, weights, of_inputs=inputs[:, 1:].copy()), "that fits the weights"),
        (lambda: filtered_by(images, 1), "that fits the maps"),
        (lambda: filtered_by(images[:0], 2), "there are none"),
        (lambda: filtered_by(images, 2, out=filtered.reshape(2, 2, 2, 3, 8)), "not of whole groups"),
        (lambda: filtered_by(images, 2, scale), "that fits the values"),
        (lambda: backward(**of_patches), "no gradient comes to them"),
        (lambda: backward(projection=projection[:0]), "without outputs"),
        (lambda: backward(projection=projection[:6]), "that fits the values"),
        (lambda: backward(gradient=filtered), "that fits the values"),
        (lambda: backward(besides=filtered), "that fits the values"),
        (lambda: backward(by_images=filtered.copy()), "that fits the values"),
        (lambda: backward(inputs=inputs[:5]), "that fits the weights"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError):
        moments_by(images.astype(float), weights)


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
    for module in (batch_norm, bottleneck, products):
        monkeypatch.setattr(module, "fits", lambda values, layer: False)
    for found, exact in zip(by_core, learned(torch.float64), strict=True):
        # A gradient that falls to the other side of a kink is as large as any.
        assert torch.linalg.norm(found - exact) < 0.01 * torch.linalg.norm(exact)
