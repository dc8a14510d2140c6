"""Tests of inference with the PyTorch model: input layout, batch norm folding, flip averaging and bfloat16."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from facetools.network import inference
from facetools.network.architecture import ModelConfig
from facetools.network.inference import predict_scores
from facetools.network.model import AttributeNet
from tests.network.networks import SMALL, evaluate, random_pixels


def test_uploaded_images_are_float_and_channels_last() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    tensor = inference.upload_as_float(batch, torch.device("cpu"))
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(tensor.numpy(), batch.transpose(0, 3, 1, 2))


def test_bfloat16_is_accepted_only_if_scores_hardly_change() -> None:
    torch.manual_seed(0)
    network = AttributeNet(SMALL).eval()
    batch = random_pixels(count=1)
    assert inference.bfloat16_agrees(network, batch)
    assert not inference.bfloat16_agrees(network, batch, tolerance=0)
    with torch.no_grad():
        # Each logit becomes 0 as the difference of two large numbers, which bfloat16 cannot represent exactly.
        network.head[4].weight *= 1000
        network.head[4].bias -= evaluate(network, batch)[0]
    assert not inference.bfloat16_agrees(network, batch)
    with torch.no_grad():
        network.head[4].weight.fill_(torch.nan)
    assert not inference.bfloat16_agrees(network, batch)


def test_flip_average_gives_mirror_images_equal_scores() -> None:
    torch.manual_seed(0)
    config = ModelConfig(("a", "b"), "resnet18", head=8, image_size=(32, 32), flip_average=True)
    network = AttributeNet(config).eval()
    pixels = torch.rand(8, 3, 32, 1) * torch.linspace(0, 255, 32)
    scores, mirrored = (predict_scores(network, view, bfloat16=False) for view in (pixels, pixels.flip(3)))
    np.testing.assert_allclose(scores, mirrored, atol=1e-6)
    without_average = AttributeNet(replace(config, flip_average=False)).eval()
    without_average.load_state_dict(network.state_dict())
    assert not np.allclose(predict_scores(without_average, pixels, bfloat16=False), scores, atol=1e-6)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet18", "densenet121"])
def test_folding_batch_norm_preserves_logits(backbone: str) -> None:
    torch.manual_seed(0)
    network = AttributeNet(ModelConfig(("a", "b"), backbone, head=8, image_size=(64, 64)))
    pixels = torch.rand(8, 3, 64, 64) * 255
    network.train()(pixels)  # updates the running statistics
    network.eval()
    folded = inference.fold_batch_norm(network)
    assert folded is not network
    remaining, original = (sum(isinstance(part, nn.BatchNorm2d) for part in net.modules()) for net in (folded, network))
    # densenet121 has batch norms before convolutions, which cannot be folded.
    assert remaining == 0 if backbone != "densenet121" else remaining < original
    with torch.no_grad():
        torch.testing.assert_close(folded(pixels), network(pixels), atol=1e-4, rtol=1e-4)


def test_network_is_not_folded_if_its_logits_would_change() -> None:
    class NormBeforeConvolution(nn.Module):
        """Defines its batch norm after the convolution, but applies it before."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, bias=False)
            self.norm = nn.BatchNorm2d(3)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.conv(self.norm(pixels)).mean((2, 3))

    torch.manual_seed(0)
    network = AttributeNet(ModelConfig(("a",), head=8, image_size=(32, 32)), NormBeforeConvolution())
    network.backbone.norm.running_mean.fill_(3)
    network.backbone.norm.running_var.fill_(0.01)
    assert inference.fold_batch_norm(network) is network
