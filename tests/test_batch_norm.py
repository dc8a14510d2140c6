"""Batch normalisation with ReLU6 in one is that of torch's two layers, and leaves to them what it is not for."""

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


@pytest.mark.parametrize("shape", [(4, 8, 5, 7), (3, 5, 1, 1), (16, 33, 9, 2), (2, 300, 24, 20)])
def test_it_is_torchs_two_layers(shape: tuple[int, int, int, int]) -> None:
    torch.manual_seed(0)
    images, outer = (torch.randn(shape).contiguous(memory_format=torch.channels_last) for _ in range(2))
    norm = layer(shape[1])
    ours, theirs = (passed(norm, 3 * images + 5, outer, by_core=by_core) for by_core in (True, False))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value.double(), theirs[name].double(), rtol=1e-4, atol=1e-4, msg=name)
    assert ours["out"].is_contiguous(memory_format=torch.channels_last)


def test_gradients_come_in_any_layout() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 6, 4, 5).contiguous(memory_format=torch.channels_last)
    norm = layer(6)
    for outer in (torch.randn(2, 6, 4, 5), torch.randn(2, 6, 1, 1).expand(2, 6, 4, 5)):
        ours, theirs = (passed(norm, images, outer, by_core=by_core) for by_core in (True, False))
        torch.testing.assert_close(ours["by images"].double(), theirs["by images"], rtol=1e-4, atol=1e-4)


def test_the_core_takes_what_it_is_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    compute = _core.moments
    monkeypatch.setattr(_core, "moments", lambda *arguments: [calls.append(1), compute(*arguments)])
    images = torch.randn(2, 6, 4, 5).contiguous(memory_format=torch.channels_last)
    batch_norm.relu6(images, layer(6))
    assert len(calls) == 1
    for others, norm in [
        (images.contiguous(), layer(6)),
        (images.double(), layer(6).double()),
        (images, layer(6).eval()),
        (images, nn.Identity()),
        (images, nn.BatchNorm2d(6, momentum=None)),
        (images, nn.BatchNorm2d(6, affine=False)),
        (images, nn.BatchNorm2d(6, track_running_stats=False)),
    ]:
        torch.testing.assert_close(batch_norm.relu6(others, norm), F.relu6(deepcopy(norm)(others)))
    assert len(calls) == 1
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        batch_norm.relu6(torch.randn(1, 6, 1, 1), layer(6))


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
