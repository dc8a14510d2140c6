"""Scores of images from a network: decoding works ahead in threads while the device computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from facetools.model import AttributeNet, bfloat16_agrees, folded, has_bfloat16, to_pixels

#: Images whose scores decide whether bfloat16 is near enough.
PROBES = 16


def predict(
    model: AttributeNet,
    batches: Iterable[tuple[list[str], np.ndarray]],
    *,
    device: torch.device,
    bfloat16: bool | None = None,
) -> Iterator[tuple[list[str], np.ndarray]]:
    """The scores, float32 (n, attributes), of each batch of paths and pixels, uint8 (n, height, width, 3).

    `bfloat16` None takes it where the hardware has it and it moves the scores of the first images by less than 0.01.
    """
    model = ready(model, device)
    for paths, images in batches:
        if bfloat16 is None:
            bfloat16 = wants_bfloat16(model, images, device)
        yield paths, scores(model, to_pixels(images, device), bfloat16)


def wants_bfloat16(model: AttributeNet, images: np.ndarray, device: torch.device) -> bool:
    """Whether the hardware has bfloat16 and it moves the scores of the first of `images` by less than 0.01; of a model
    that is ready for `device`."""
    return has_bfloat16(device) and bfloat16_agrees(model, to_pixels(images[:PROBES], device))


def ready(model: AttributeNet, device: torch.device) -> AttributeNet:
    """`model` as it predicts fastest on `device`."""
    return folded(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def scores(model: AttributeNet, pixels: torch.Tensor, bfloat16: bool) -> np.ndarray:
    """The scores of `pixels` (n, 3, height, width), 0 to 255, by a model in eval mode on their device."""
    with torch.inference_mode(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(pixels).float()
        if model.config.flip_average:
            logits = (logits + model(pixels.flip(3)).float()) / 2
    return torch.sigmoid(logits).cpu().numpy()
