"""The network as an ONNX graph: MobileNetV2, the paper's head, and all that comes before and after them.

Batch normalisations are part of the convolutions before them (Jacob et al. 2018, section 3.2), that of the head is part
of the layer behind it. What computes ONNX needs nothing else to score images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from facetools.network.architecture import FIRST_CHANNELS, LAST_CHANNELS, PIXEL_MEAN, PIXEL_STD, inverted_residuals
from facetools.network.checkpoint import Checkpoint, CheckpointError, mismatched_checkpoint

#: Of ONNX: late enough for all that is used here, early enough for most of what computes it.
_OPSET, _FORMAT = 17, 8


#: torch's, of batch normalisation.
_EPSILON = 1e-5


def build_onnx_model(checkpoint: Checkpoint) -> ModelProto:
    """From `pixels`, uint8 (n, height, width, 3), to `scores`, float32 (n, attributes); a CheckpointError if the
    weights are not those of MobileNetV2 and the head."""
    config, builder = checkpoint.config, _Builder(checkpoint)
    if config.backbone != "mobilenet_v2":
        raise CheckpointError(f"{checkpoint.path}: of {config.backbone}, and mobilenet_v2 alone is written as a graph")
    pixels = builder.node("Transpose", builder.node("Cast", "pixels", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    images = builder.node("Mul", pixels, builder.constant(1 / std))
    images = builder.node("Add", images, builder.constant(-mean / std))
    if config.flip_average:
        ends = [builder.constant([value], np.int64) for value in (-1, np.iinfo(np.int64).min, 3, -1)]
        images = builder.node("Concat", images, builder.node("Slice", images, *ends), axis=0)
    features = builder.backbone(images, config.first_stride)
    logits = builder.head(features, config.head, len(config.attributes))
    if config.flip_average:
        both = builder.node("Reshape", logits, builder.constant([2, -1, len(config.attributes)], np.int64))
        logits = builder.node("ReduceMean", both, axes=[0], keepdims=0)
    builder.node("Sigmoid", logits, output="scores")

    sides = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", *config.image_size, 3])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", len(config.attributes)])
    made = helper.make_graph(builder.nodes, "facetools", [sides], [scores], builder.constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_FORMAT)
    helper.set_model_props(model, {"attributes": ",".join(config.attributes)})
    return model


class _Builder:
    """Nodes and constants, which take the names of the numbers of nodes and constants before them."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def backbone(self, images: str, first_stride: int) -> str:
        images = self._relu6(
            self._convolution(images, "backbone.0.0.0", "backbone.0.0.1", 3, FIRST_CHANNELS, 3, first_stride)
        )
        number = 0
        for number, (inputs, outputs, stride, expansion) in enumerate(inverted_residuals(), 1):
            before, block, hidden = images, f"backbone.0.{number}.conv", inputs * expansion
            layer = 0
            if expansion > 1:
                images = self._relu6(self._convolution(images, f"{block}.0.0", f"{block}.0.1", inputs, hidden))
                layer = 1
            name, norm = f"{block}.{layer}.0", f"{block}.{layer}.1"
            images = self._relu6(self._convolution(images, name, norm, hidden, hidden, 3, stride, groups=hidden))
            images = self._convolution(images, f"{block}.{layer + 1}", f"{block}.{layer + 2}", hidden, outputs)
            if stride == 1 and inputs == outputs:
                images = self.node("Add", images, before)
        last = f"backbone.0.{number + 1}"
        images = self._relu6(self._convolution(images, f"{last}.0", f"{last}.1", outputs, LAST_CHANNELS))
        return self.node("Flatten", self.node("GlobalAveragePool", images))

    def head(self, features: str, hidden: int, attributes: int) -> str:
        weight, bias = self._weight("head.0.weight", hidden, LAST_CHANNELS), self._weight("head.0.bias", hidden)
        activations = self.node("Relu", self._dense(features, weight, bias))
        scale, offset = self._norm("head.2", hidden)
        weight, bias = self._weight("head.4.weight", attributes, hidden), self._weight("head.4.bias", attributes)
        return self._dense(activations, weight * scale, bias + weight @ offset)

    def _dense(self, inputs: str, weight: np.ndarray, bias: np.ndarray) -> str:
        return self.node("Gemm", inputs, self.constant(weight), self.constant(bias), transB=1)

    def _convolution(
        self,
        images: str,
        name: str,
        norm: str,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> str:
        scale, offset = self._norm(norm, outputs)
        weight = self._weight(f"{name}.weight", outputs, inputs // groups, kernel, kernel) * scale.reshape(-1, 1, 1, 1)
        given = (images, self.constant(weight), self.constant(offset))
        return self.node("Conv", *given, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)

    def _relu6(self, images: str) -> str:
        return self.node("Clip", images, self.constant(0), self.constant(6))

    def _norm(self, name: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """What a batch normalisation multiplies by, and what it then adds."""
        parts = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self._weight(f"{name}.{part}", channels) for part in parts)
        scale = weight / np.sqrt(variance + _EPSILON)
        return scale, bias - mean * scale

    def _weight(self, name: str, *shape: int) -> np.ndarray:
        found = self._checkpoint.weights.get(name)
        if not isinstance(found, np.ndarray) or found.shape != shape:
            raise mismatched_checkpoint(self._checkpoint.path, f"{name} is no array of the shape {shape}")
        return found.astype(np.float64)
