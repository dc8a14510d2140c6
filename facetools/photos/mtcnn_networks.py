"""The three networks of MTCNN as ONNX models, built from weights in the layout of Keras.

Each network takes `pixels`, uint8 (n, height, width, 3), and looks at square cells. It gives the probability that a
cell shows a face, and the box of the face relative to the cell: the shift of each side as a fraction of the cell's.
Source: Zhang, Zhang, Li, Qiao 2016, https://arxiv.org/abs/1604.02878, figure 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import ModelProto, TensorProto

from facetools.network.graph import GraphBuilder

#: The sides of the cells of the three networks, in pixels, and the distance between the cells of the first one.
PROPOSAL_CELL, REFINEMENT_CELL, OUTPUT_CELL = 12, 24, 48
PROPOSAL_STRIDE = 2


def build_proposal_network(weights: Sequence[np.ndarray]) -> ModelProto:
    """P-Net: all cells of images of any size. `scores` (n, rows, columns), `boxes` (n, 4, rows, columns)."""
    layers = _Layers(weights)
    features = layers.pool(layers.convolution(layers.normalize("pixels")), 2, keeps_rest=True)
    features = layers.convolution(layers.convolution(features))
    layers.node("Identity", layers.convolution(features, activated=False), output="boxes")
    layers.face_scores(layers.convolution(features, activated=False))
    return layers.model(("n", "height", "width", 3), dict.fromkeys(("scores", "boxes")))


def build_refinement_network(weights: Sequence[np.ndarray]) -> ModelProto:
    """R-Net: one cell per image. `scores` (n,), `boxes` (n, 4)."""
    layers = _Layers(weights)
    features = layers.pool(layers.convolution(layers.normalize("pixels")), 3, keeps_rest=True)
    features = layers.pool(layers.convolution(features), 3)
    features = layers.dense(layers.flatten(layers.convolution(features)), activated=True)
    layers.dense(features, output="boxes")
    layers.face_scores(layers.dense(features))
    return layers.model(("n", REFINEMENT_CELL, REFINEMENT_CELL, 3), dict.fromkeys(("scores", "boxes")))


def build_output_network(weights: Sequence[np.ndarray]) -> ModelProto:
    """O-Net: one cell per image. `scores` (n,), `boxes` (n, 4), `landmarks` (n, 10): five x, then five y."""
    layers = _Layers(weights)
    features = layers.pool(layers.convolution(layers.normalize("pixels")), 3, keeps_rest=True)
    features = layers.pool(layers.convolution(features), 3)
    features = layers.pool(layers.convolution(features), 2, keeps_rest=True)
    features = layers.dense(layers.flatten(layers.convolution(features)), activated=True)
    layers.dense(features, output="boxes")
    layers.dense(features, output="landmarks")
    layers.face_scores(layers.dense(features))
    return layers.model(("n", OUTPUT_CELL, OUTPUT_CELL, 3), dict.fromkeys(("scores", "boxes", "landmarks")))


class _Layers(GraphBuilder):
    """Adds layers, which take their weights from a list in the order of the layers."""

    def __init__(self, weights: Sequence[np.ndarray]) -> None:
        super().__init__()
        self._weights = iter(weights)

    def normalize(self, pixels: str) -> str:
        images = self.node("Transpose", self.node("Cast", pixels, to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
        return self.node("Mul", self.node("Sub", images, self.constant(127.5)), self.constant(1 / 128))

    def convolution(self, images: str, *, activated: bool = True) -> str:
        # Keras has filters as (height, width, inputs, outputs), ONNX as (outputs, inputs, height, width).
        filters, bias = next(self._weights).transpose(3, 2, 0, 1), next(self._weights)
        images = self.node("Conv", images, self.constant(filters), self.constant(bias))
        return self._prelu(images, (-1, 1, 1)) if activated else images

    def pool(self, images: str, size: int, *, keeps_rest: bool = False) -> str:
        """Max pooling at stride 2. `keeps_rest` adds a last window that the image only partly fills."""
        padding = "SAME_UPPER" if keeps_rest else "VALID"
        return self.node("MaxPool", images, kernel_shape=[size, size], strides=[2, 2], auto_pad=padding)

    def flatten(self, images: str) -> str:
        # The weights were trained on transposed images.
        return self.node("Flatten", self.node("Transpose", images, perm=[0, 3, 2, 1]))

    def dense(self, features: str, *, activated: bool = False, output: str = "") -> str:
        matrix, bias = next(self._weights), next(self._weights)
        result = self.node("Gemm", features, self.constant(matrix), self.constant(bias), output=output)
        return self._prelu(result, (-1,)) if activated else result

    def face_scores(self, logits: str) -> None:
        probabilities = self.node("Softmax", logits, axis=1)
        self.node("Gather", probabilities, self.constant(1, np.int64), output="scores", axis=1)

    def _prelu(self, values: str, shape: tuple[int, ...]) -> str:
        return self.node("PRelu", values, self.constant(next(self._weights).reshape(shape)))
