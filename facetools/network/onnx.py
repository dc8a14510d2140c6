"""The attribute network as an ONNX model: pixel normalization, MobileNetV2, the paper's head and the sigmoid.

The network is defined twice: for PyTorch in `model.py` and for ONNX Runtime here. `build_onnx_model` converts a
checkpoint to a self-contained model, without torch. The batch norms of the backbone are folded into the convolutions
before them (Jacob et al. 2018, section 3.2), the batch norm of the head into the dense layer after it.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper

from facetools.network.architecture import FIRST_CHANNELS, LAST_CHANNELS, PIXEL_MEAN, PIXEL_STD, inverted_residuals
from facetools.network.checkpoint import Checkpoint, CheckpointError, mismatch_error
from facetools.network.graph import GraphBuilder

#: torch's default `eps` of batch norm.
_BATCH_NORM_EPSILON = 1e-5


def build_onnx_model(checkpoint: Checkpoint) -> ModelProto:
    """The ONNX model from `pixels`, uint8 (n, height, width, 3), to `scores`, float32 (n, attributes).

    Raises CheckpointError if the backbone is not MobileNetV2 or the weights do not fit.
    """
    config, builder = checkpoint.config, _NetworkBuilder(checkpoint)
    if config.backbone != "mobilenet_v2":
        raise CheckpointError(
            f"{checkpoint.path}: only networks with the backbone mobilenet_v2 can be converted to ONNX, "
            f"not {config.backbone}"
        )
    pixels = builder.node("Transpose", builder.node("Cast", "pixels", to=TensorProto.FLOAT), perm=[0, 3, 1, 2])
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    images = builder.node("Mul", pixels, builder.constant(1 / std))
    images = builder.node("Add", images, builder.constant(-mean / std))
    if config.flip_average:
        # start, end, axis and step of a slice that reverses the columns
        reverse = [builder.constant([value], np.int64) for value in (-1, np.iinfo(np.int64).min, 3, -1)]
        images = builder.node("Concat", images, builder.node("Slice", images, *reverse), axis=0)
    features = builder.backbone(images, config.first_stride)
    logits = builder.head(features, config.head, len(config.attributes))
    if config.flip_average:
        pairs = builder.node("Reshape", logits, builder.constant([2, -1, len(config.attributes)], np.int64))
        logits = builder.node("ReduceMean", pairs, axes=[0], keepdims=0)
    builder.node("Sigmoid", logits, output="scores")

    model = builder.model(["n", *config.image_size, 3], {"scores": ["n", len(config.attributes)]})
    helper.set_model_props(model, {"attributes": ",".join(config.attributes)})
    return model


class _NetworkBuilder(GraphBuilder):
    """Adds the parts of the network, with the weights of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._checkpoint = checkpoint

    def backbone(self, images: str, first_stride: int) -> str:
        """MobileNetV2 from normalized images (n, 3, height, width) to features (n, LAST_CHANNELS)."""
        images = self._relu6(
            self._convolution(images, "backbone.0.0.0", "backbone.0.0.1", 3, FIRST_CHANNELS, 3, first_stride)
        )
        number = 0
        for number, (inputs, outputs, stride, expansion) in enumerate(inverted_residuals(), 1):
            shortcut, block, hidden = images, f"backbone.0.{number}.conv", inputs * expansion
            layer = 0
            if expansion > 1:
                images = self._relu6(self._convolution(images, f"{block}.0.0", f"{block}.0.1", inputs, hidden))
                layer = 1
            name, norm = f"{block}.{layer}.0", f"{block}.{layer}.1"
            images = self._relu6(self._convolution(images, name, norm, hidden, hidden, 3, stride, groups=hidden))
            images = self._convolution(images, f"{block}.{layer + 1}", f"{block}.{layer + 2}", hidden, outputs)
            if stride == 1 and inputs == outputs:
                images = self.node("Add", images, shortcut)
        last = f"backbone.0.{number + 1}"
        images = self._relu6(self._convolution(images, f"{last}.0", f"{last}.1", outputs, LAST_CHANNELS))
        return self.node("Flatten", self.node("GlobalAveragePool", images))

    def head(self, features: str, hidden: int, attributes: int) -> str:
        """The paper's head from features (n, LAST_CHANNELS) to logits (n, attributes)."""
        weight, bias = self._weight("head.0.weight", hidden, LAST_CHANNELS), self._weight("head.0.bias", hidden)
        activations = self.node("Relu", self._dense(features, weight, bias))
        scale, offset = self._batch_norm("head.2", hidden)
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
        """The convolution called `name` in the checkpoint, with the batch norm called `norm` folded into it."""
        scale, offset = self._batch_norm(norm, outputs)
        weight = self._weight(f"{name}.weight", outputs, inputs // groups, kernel, kernel) * scale.reshape(-1, 1, 1, 1)
        operands = (images, self.constant(weight), self.constant(offset))
        return self.node("Conv", *operands, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)

    def _relu6(self, images: str) -> str:
        return self.node("Clip", images, self.constant(0), self.constant(6))

    def _batch_norm(self, name: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and offset, float64 (channels,), of a batch norm in eval mode: it computes x * scale + offset."""
        parameters = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (self._weight(f"{name}.{parameter}", channels) for parameter in parameters)
        scale = weight / np.sqrt(variance + _BATCH_NORM_EPSILON)
        return scale, bias - mean * scale

    def _weight(self, name: str, *shape: int) -> np.ndarray:
        weight = self._checkpoint.weights.get(name)
        if not isinstance(weight, np.ndarray) or weight.shape != shape:
            raise mismatch_error(self._checkpoint.path, f"{name} is not an array of shape {shape}")
        return weight.astype(np.float64)
