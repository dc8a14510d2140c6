"""A YuNet that finds the same faces in every photograph, for tests without photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facetools.network.graph import GraphBuilder


def yunet_file(path: Path, values: dict[str, np.ndarray]) -> Path:
    """An ONNX file that gives `values` for any input, and zeros for the other outputs of YuNet on 64 x 64 pixels."""
    from onnx import TensorProto, helper

    builder = GraphBuilder()
    names = []
    for stride in (8, 16, 32):
        cells = (64 // stride) ** 2
        for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{part}_{stride}"
            array = values.get(name, np.zeros((1, cells, width)))
            builder.node("Identity", builder.constant(array), output=name)
            names.append(name)
    model = builder.model([1, 3, 64, 64], dict.fromkeys(names))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"]))
    path.write_bytes(model.SerializeToString())
    return path


def one_face_file(path: Path) -> Path:
    """An ONNX file that finds one face of 48 x 48 pixels in the middle of photographs of up to 64 x 64 pixels."""
    values = {
        name: np.zeros((1, 4, width)) for name, width in (("cls_32", 1), ("obj_32", 1), ("bbox_32", 4), ("kps_32", 10))
    }
    # The cell at (32, 32) of 2 x 2 cells; all numbers are in cells, the size as a logarithm.
    values["cls_32"][0, 3] = values["obj_32"][0, 3] = 1
    values["bbox_32"][0, 3] = (0, 0, np.log(1.5), np.log(1.5))
    values["kps_32"][0, 3] = (-0.3, -0.2, 0.3, -0.2, 0, 0.1, -0.2, 0.4, 0.2, 0.4)
    return yunet_file(path, values)
