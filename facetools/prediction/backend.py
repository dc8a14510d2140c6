"""The protocol of prediction backends, and what they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from facetools.images.decoding import TruncatedCallback
from facetools.network.architecture import ModelConfig

#: Pixels that a CPU thread scores at a time: the activations of more do not fit into its caches.
CPU_BATCH_PIXELS = 8 * 224**2

#: Images whose scores decide whether bfloat16 is accurate enough.
PROBE_IMAGES = 16

#: Called with the path of an image that cannot be read or decoded, and the reason.
FailureCallback = Callable[[str, str], None]


class Predictor(Protocol):
    """A network that scores images. `entries` are those of its checkpoint, such as `thresholds`."""

    config: ModelConfig
    entries: dict[str, Any]
    #: How many images `choose_precision` needs; 0 if the precision is fixed.
    probe_count: int

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The scores, float32 (n, attributes), of `images`, uint8 (n, height, width, 3)."""

    def choose_precision(self, images: np.ndarray) -> None:
        """Choose between float32, the default, and bfloat16 by comparing their scores of `images`."""

    def predict(
        self,
        paths: Sequence[str],
        batch: int,
        *,
        jobs: int,
        on_failure: FailureCallback,
        on_truncated: TruncatedCallback | None = None,
    ) -> Iterator[tuple[list[str], np.ndarray]]:
        """See predictor.predict_images."""


def split_batch(images: np.ndarray) -> Iterator[np.ndarray]:
    """Split `images` (n, height, width, 3) into parts of about CPU_BATCH_PIXELS pixels; one empty part if n is 0."""
    size = max(4, CPU_BATCH_PIXELS // math.prod(images.shape[1:3]))
    return (images[start : start + size] for start in range(0, max(1, len(images)), size))
