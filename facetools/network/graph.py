"""Build ONNX graphs node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

#: Versions of the operator set and of the file format: the oldest that suffice, so that older runtimes read the model.
_OPSET_VERSION, _IR_VERSION = 17, 8

#: Memory that has to be free for a constant, beyond its copies.
_SPARE_BYTES = 1 << 20

#: A length is a number, or a name if any number is possible.
Shape = Sequence[int | str]


class GraphBuilder:
    """Collects the nodes and constants of a graph. Methods that add a node return the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[TensorProto] = []

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{operator}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, values: Any, dtype: type = np.float32) -> str:
        name = f"constant{len(self._constants)}"
        array: np.ndarray = np.array(values, dtype, order="C")
        np.empty(2 * array.nbytes + _SPARE_BYTES, np.uint8)  # raises MemoryError, where protobuf would crash
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def model(self, pixels: Shape, outputs: Mapping[str, Shape | None]) -> ModelProto:
        """The model from `pixels`, uint8, to `outputs`, float32, each of the given shape, or None if that depends."""
        inputs = helper.make_tensor_value_info("pixels", TensorProto.UINT8, pixels)
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self._nodes, "facetools", [inputs], results, self._constants)
        opsets = [helper.make_opsetid("", _OPSET_VERSION)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
