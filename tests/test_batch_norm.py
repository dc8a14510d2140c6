"""Batch normalisation with ReLU6, and all that lies between two bottlenecks, are as one what torch's layers are, and
leave to those what they are not for."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core, batch_norm
from facetools.mobilenet import mobilenet_v2


def layer(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.normal_(norm.weight, 1, 1)
    nn.init.normal_(norm.bias, 1, 1)
    return norm


def passed(norm: nn.Module, images: Tensor, outer: Tensor, *, by_core: bool) -> dict[str, Tensor]:
    """Output, gradients and state of a copy of `norm` after a step, in float32 by the core, or in double."""
    norm = deepcopy(norm) if by_core else deepcopy(norm).double()
    images = (images if by_core else images.double()).clone().requires_grad_()
    out = batch_norm.relu6(images, norm) if by_core else F.relu6(norm(images))
    out.backward(outer.to(out.dtype))
    gradients = {f"by {name}": value.grad for name, value in norm.named_parameters()}
    return {"out": out, "by images": images.grad, **gradients, **dict(norm.named_buffers())}


@pytest.mark.parametrize("shape", [(4, 16, 5, 7), (3, 48, 1, 1), (16, 32, 9, 2), (2, 304, 24, 20)])
def test_it_is_torchs_two_layers(shape: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    images, outer = (torch.randn(shape).contiguous(memory_format=torch.channels_last) for _ in range(2))
    norm = layer(shape[1])
    ours, theirs = (passed(norm, 3 * images + 5, outer, by_core=by_core) for by_core in (True, False))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value.double(), theirs[name].double(), rtol=1e-4, atol=1e-4, msg=name)
    assert ours["out"].is_contiguous(memory_format=torch.channels_last)


def between(inputs: int, channels: int, stride: int) -> nn.ModuleList:
    """Expansion, normalisation, filters and normalisation."""
    expand = nn.Conv2d(inputs, channels, 1, bias=False)
    filters = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return nn.ModuleList([expand, layer(channels), filters, layer(channels)])


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(4, 24, 9, 6), (2, 16, 1, 3), (9, 40, 3, 2)])
def test_what_lies_between_bottlenecks_is_torchs(shape: tuple[int, int, int, int], stride: int) -> None:
    torch.manual_seed(0)
    start = between(shape[1], 96, stride)
    images = (3 * torch.randn(shape) + 5).contiguous(memory_format=torch.channels_last)
    outer = torch.randn(start[2](torch.zeros(shape[0], 96, *shape[2:])).shape)
    found = []
    for dtype in (torch.float32, torch.float64):  # by the core, and by torch
        layers = deepcopy(start).to(dtype)
        given = images.to(dtype, copy=True).requires_grad_()
        out = batch_norm.hidden(given, *layers)
        out.backward(outer.to(dtype))
        found.append([out, *layers.buffers(), *(weight.grad for weight in (*layers.parameters(), given))])
    assert found[0][0].is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=1e-3)


def test_gradients_come_in_any_layout() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 16, 4, 5).contiguous(memory_format=torch.channels_last)
    norm = layer(16)
    for outer in (torch.randn(2, 16, 4, 5), torch.randn(2, 16, 1, 1).expand(2, 16, 4, 5)):
        ours, theirs = (passed(norm, images, outer, by_core=by_core) for by_core in (True, False))
        torch.testing.assert_close(ours["by images"].double(), theirs["by images"], rtol=1e-4, atol=1e-4)


def test_the_core_takes_what_it_is_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    compute = _core.moments
    monkeypatch.setattr(_core, "moments", lambda *arguments: [calls.append(1), compute(*arguments)])
    images = torch.randn(2, 16, 4, 5).contiguous(memory_format=torch.channels_last)
    batch_norm.relu6(images, layer(16))
    batch_norm.hidden(images, *between(16, 32, 1))
    assert len(calls) == 3
    for others, norm in [
        (images.contiguous(), layer(16)),
        (images.double(), layer(16).double()),
        (images[:, :6].contiguous(memory_format=torch.channels_last), layer(6)),
        (images, layer(16).eval()),
        (images, nn.Identity()),
        (images, nn.BatchNorm2d(16, momentum=None)),
        (images, nn.BatchNorm2d(16, affine=False)),
        (images, nn.BatchNorm2d(16, track_running_stats=False)),
    ]:
        expected = F.relu6(deepcopy(norm)(others))
        before_it = len(calls)
        torch.testing.assert_close(batch_norm.relu6(others, deepcopy(norm)), expected)
        assert len(calls) == before_it
        expand, usual, filters, _ = between(others.shape[1], others.shape[1], 2).to(others.dtype)
        for before, after in [(norm, usual), (usual, norm)]:
            first, second = deepcopy(before), deepcopy(after)
            expected = F.relu6(second(filters(F.relu6(first(expand(others))))))
            found = batch_norm.hidden(others, expand, deepcopy(before), filters, deepcopy(after))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        batch_norm.relu6(torch.randn(1, 16, 1, 1), layer(16))


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
    monkeypatch.setattr(batch_norm, "_fits", lambda images, norm: False)
    for found, exact in zip(by_core, learned(torch.float64), strict=True):
        # A gradient that falls to the other side of a kink is as large as any.
        assert torch.linalg.norm(found - exact) < 0.01 * torch.linalg.norm(exact)
