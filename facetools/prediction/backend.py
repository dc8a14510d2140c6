"""The protocol of prediction backends, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from facetools.network.architecture import ModelConfig

#: Pixels that a CPU thread computes at a time: the activations of more do not fit into its caches.
CPU_BATCH_PIXELS = 8 * 224**2

#: Images whose scores decide whether bfloat16 is accurate enough.
PROBE_IMAGES = 16

#: Called with the path of an image that cannot be read or decoded, and the reason.
Failed = Callable[[str, str], None]


class Predictor(Protocol):
    """A network that scores images. `parts` holds what else its checkpoint holds, such as `thresholds`."""

    config: ModelConfig
    parts: dict[str, Any]
    #: How many images `choose_precision` wants; 0 where there is nothing to decide.
    probes: int

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The scores, float32 (n, attributes), of `images`, uint8 (n, height, width, 3)."""

    def choose_precision(self, images: np.ndarray) -> None:
        """Decides from the scores of `images` between float32, the default, and bfloat16."""

    def predict(
        self, paths: Sequence[str], batch: int, *, jobs: int, on_failure: Failed
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """See predictor.predict_images."""


def split_batch(images: np.ndarray) -> Iterator[np.ndarray]:
    """`images` (n, height, width, 3) in parts of about CPU_BATCH_PIXELS pixels; one empty part if n is 0."""
    size = max(4, CPU_BATCH_PIXELS // math.prod(images.shape[1:3]))
    return (images[start : start + size] for start in range(0, max(1, len(images)), size))
