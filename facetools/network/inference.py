"""Inference with the PyTorch model: batch norm folding, scores of batches, and the bfloat16 accuracy check."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facetools.network.cuda import upload
from facetools.network.model import AttributeNet

#: Longest side, in pixels, of the probe images on which a network and its folded copy are compared.
PROBE_SIDE = 96


def fold_batch_norm(model: AttributeNet) -> AttributeNet:
    """A copy of `model`, in eval mode, with each batch norm folded into the convolution before it.

    Returns `model` itself if folding would change its logits. Source: Jacob et al., Quantization and Training of Neural
    Networks for Efficient Integer-Arithmetic-Only Inference (2018), section 3.2.
    """
    folded = deepcopy(model).eval()
    for parent in list(folded.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    # Folding is wrong if a module does not call its children in the order of their definition. A small probe shows it.
    height, width = (min(side, PROBE_SIDE) for side in model.config.image_size)
    probe = torch.linspace(0, 255, 2 * 3 * height * width, device=next(model.parameters()).device)
    probe = probe.view(2, 3, height, width)
    with torch.inference_mode():
        expected, logits = model.eval()(probe), folded(probe)
    return folded if torch.allclose(logits, expected, rtol=1e-3, atol=1e-3) else model


def prepare_for_inference(model: AttributeNet, device: torch.device) -> AttributeNet:
    """`model` on `device`, with folded batch norm and weights in the channels-last layout."""
    return fold_batch_norm(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def predict_probabilities(model: AttributeNet, pixels: Tensor, bfloat16: bool) -> Tensor:
    """The scores, float32 (n, attributes), of `pixels` (n, 3, height, width), 0 to 255.

    `model` is in eval mode and on the same device as `pixels`.
    """
    with torch.inference_mode(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(pixels).float()
        if model.config.flip_average:
            logits = (logits + model(pixels.flip(3)).float()) / 2
        return torch.sigmoid(logits)


def predict_scores(model: AttributeNet, pixels: Tensor, bfloat16: bool) -> np.ndarray:
    """The scores of predict_probabilities as an array in host memory."""
    return predict_probabilities(model, pixels, bfloat16).cpu().numpy()


def upload_images(batch: np.ndarray, device: torch.device) -> Tensor:
    """Images, uint8 (n, height, width, 3), as a uint8 tensor (n, 3, height, width), channels last, on `device`."""
    return upload(batch, device).permute(0, 3, 1, 2)


def upload_as_float(batch: np.ndarray, device: torch.device) -> Tensor:
    """Images, uint8 (n, height, width, 3), as a float tensor (n, 3, height, width), channels last, on `device`."""
    return upload_images(batch, device).to(torch.float32)


def bfloat16_agrees(model: AttributeNet, pixels: Tensor, tolerance: float = 0.02) -> bool:
    """Whether bfloat16 changes every score of `pixels` by less than `tolerance`; false if a score is NaN."""
    with torch.inference_mode():
        exact = torch.sigmoid(model(pixels))
        with torch.autocast(pixels.device.type, torch.bfloat16):
            approximate = torch.sigmoid(model(pixels).float())
    return bool((exact - approximate).abs().max() < tolerance)
