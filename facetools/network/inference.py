"""Inference with the PyTorch model: folded batch norm, scores of batches, bfloat16 check."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facetools.network.cuda import upload
from facetools.network.model import AttributeNet

#: Pixels of a side at most of the images on which a network and its folded copy are compared.
PROBE_SIDE = 96


def fold_batch_norm(model: AttributeNet) -> AttributeNet:
    """A copy of `model`, in eval mode, whose batch normalisations of images are part of the convolutions before them
    (Jacob et al. 2018, section 3.2), so that they cost nothing; `model` itself where that would change its logits."""
    copy = deepcopy(model).eval()
    for parent in list(copy.modules()):
        children = list(parent.named_children())
        for (name, first), (following, second) in pairwise(children):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(first, second))
                setattr(parent, following, nn.Identity())
    # A small probe tells as much: whether the modules are computed in the order in which they stand.
    height, width = (min(side, PROBE_SIDE) for side in model.config.image_size)
    probe = torch.linspace(0, 255, 2 * 3 * height * width, device=next(model.parameters()).device)
    probe = probe.view(2, 3, height, width)
    with torch.inference_mode():
        expected, found = model.eval()(probe), copy(probe)
    return copy if torch.allclose(found, expected, rtol=1e-3, atol=1e-3) else model


def prepare_for_inference(model: AttributeNet, device: torch.device) -> AttributeNet:
    """`model` as it predicts fastest on `device`."""
    return fold_batch_norm(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def predict_probabilities(model: AttributeNet, pixels: Tensor, bfloat16: bool) -> Tensor:
    """The scores, float32 (n, attributes), of `pixels` (n, 3, height, width), 0 to 255, by a model in eval mode on
    their device."""
    with torch.inference_mode(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(pixels).float()
        if model.config.flip_average:
            logits = (logits + model(pixels.flip(3)).float()) / 2
        return torch.sigmoid(logits)


def predict_scores(model: AttributeNet, pixels: Tensor, bfloat16: bool) -> np.ndarray:
    """The same in memory."""
    return predict_probabilities(model, pixels, bfloat16).cpu().numpy()


def upload_images(batch: np.ndarray, device: torch.device) -> Tensor:
    """A batch of images, uint8 (n, height, width, 3), as a uint8 tensor (n, 3, height, width), channels last."""
    return upload(batch, device).permute(0, 3, 1, 2)


def upload_as_float(batch: np.ndarray, device: torch.device) -> Tensor:
    """A batch of images, uint8 (n, height, width, 3), as a float tensor (n, 3, height, width), channels last."""
    return upload_images(batch, device).to(torch.float32)


def bfloat16_agrees(model: AttributeNet, pixels: Tensor, within: float = 0.02) -> bool:
    """Whether bfloat16 moves the scores of `pixels` by less than `within`."""
    with torch.inference_mode():
        exact = torch.sigmoid(model(pixels))
        with torch.autocast(pixels.device.type, torch.bfloat16):
            rough = torch.sigmoid(model(pixels).float())
    return bool((exact - rough).abs().max() < within)
