"""Batch normalisation with ReLU6 is as one what torch's layers are, and leaves to those what it is not for."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facetools import _core, batch_norm


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


def test_gradients_come_in_any_layout() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 16, 4, 5).contiguous(memory_format=torch.channels_last)
    norm = layer(16)
    for outer in (torch.randn(2, 16, 4, 5), torch.randn(2, 16, 1, 1).expand(2, 16, 4, 5)):
        ours, theirs = (passed(norm, images, outer, by_core=by_core) for by_core in (True, False))
        torch.testing.assert_close(ours["by images"].double(), theirs["by images"], rtol=1e-4, atol=1e-4)


def test_in_use_it_goes_by_the_moving_averages(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    images, norm = torch.randn(4, 16, 5, 7).contiguous(memory_format=torch.channels_last), layer(16)
    batch_norm.relu6(3 * images + 5, norm)
    norm.eval()
    expected = F.relu6(deepcopy(norm).double()(images.double()))
    torch.testing.assert_close(batch_norm.relu6(images, norm).double(), expected, rtol=1e-4, atol=1e-4)
    asked: list[int] = []
    compute = _core.normalise
    monkeypatch.setattr(_core, "normalise", lambda *given: [asked.append(1), compute(*given)])
    with torch.no_grad():
        found = batch_norm.relu6(images, norm)
    assert len(asked) == 1 and found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_the_core_takes_what_it_is_for_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    compute = _core.moments
    monkeypatch.setattr(_core, "moments", lambda *arguments: [calls.append(1), compute(*arguments)])
    images = torch.randn(2, 16, 4, 5).contiguous(memory_format=torch.channels_last)
    batch_norm.relu6(images, layer(16))
    assert len(calls) == 1
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
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        batch_norm.relu6(torch.randn(1, 16, 1, 1), layer(16))


def test_images_are_scaled_alike_by_the_core_and_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    compute = _core.normalise
    monkeypatch.setattr(_core, "normalise", lambda *given: [asked.append(1), compute(*given)])
    scale = torch.cat((torch.randn(2, 3), torch.zeros(1, 3), torch.ones(1, 3)))
    images = torch.randn(2, 3, 4, 10).contiguous(memory_format=torch.channels_last)
    for given, by_core in [
        (images, True),
        (images.contiguous(), False),
        (images[:, :, :, :5].contiguous(memory_format=torch.channels_last), False),
        (images[:0], False),
        (images.double(), False),
        (images.clone().requires_grad_(), False),
    ]:
        asked.clear()
        found = batch_norm.scaled(given, scale.to(given.dtype))
        assert len(asked) == by_core
        expected = given.double() * scale[0].double().view(3, 1, 1) + scale[1].double().view(3, 1, 1)
        torch.testing.assert_close(found.double(), expected)
        assert found.stride() == given.stride()
