"""Small networks and inputs that the tests of this folder share."""

import torch
from torch import nn

from facetools.network.architecture import ModelConfig

SMALL = ModelConfig(("Bald", "Young"), "resnet18", head=8, image_size=(32, 40))


def perturb(network: nn.Module) -> nn.Module:
    """Change every parameter and running statistic from its initial value, so that a test notices one not restored."""
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.mul_(1.05)
            if value.ndim == 1:
                value.add_(0.05 * torch.arange(len(value)) / len(value))
    return network.eval()


def random_pixels(size: tuple[int, int] = (32, 40), count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(5)) * 255


def evaluate(network: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """The output of `network` in eval mode."""
    with torch.inference_mode():
        return network.eval()(pixels)
