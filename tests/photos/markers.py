"""A detector that finds markers, and photographs with markers: faces that are known exactly, without photographs.

A marker is a bright red pixel. Its cell is the square of 32 pixels that contains it. The upper left corner of the cell
is the center of the face. The green of the pixel sets the size of the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from PIL import Image

from facetools.network.graph import GraphBuilder

CELL = 32

#: Where the landmarks of a marker's face are, in pixels from its center.
LANDMARKS = np.array([(-10.0, -6), (10, -6), (0, 3), (-6, 13), (6, 13)])


def yunet_file(path: Path, values: dict[str, np.ndarray]) -> Path:
    """An ONNX file that gives `values` for any input, and zeros for the other outputs of YuNet on 64 x 64 pixels."""
    builder = GraphBuilder()
    names = []
    for stride in (8, 16, 32):
        cells = (64 // stride) ** 2
        for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            name = f"{part}_{stride}"
            builder.node("Identity", builder.constant(values.get(name, np.zeros((1, cells, width)))), output=name)
            names.append(name)
    return _write(builder, names, path)


def marker_file(path: Path) -> Path:
    """An ONNX file that is read as a YuNet and finds markers."""
    builder = GraphBuilder()
    shape = builder.constant([1, -1, 1], np.int64)
    names = []
    for stride in (8, 16, CELL):
        window = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        red, green = (
            builder.node(
                "Reshape",
                builder.node(
                    "MaxPool", builder.node("Gather", "input", builder.constant([channel], np.int64), axis=1), **window
                ),
                shape,
            )
            for channel in (2, 1)  # YuNet expects BGR
        )
        # Red pixels give 1 at the stride CELL, and 0 at the others.
        score = builder.node(
            "Clip",
            builder.node("Sub", red, builder.constant(254 if stride == CELL else 255)),
            builder.constant(0),
            builder.constant(1),
        )
        size = builder.node(
            "Log", builder.node("Add", builder.node("Div", green, builder.constant(CELL)), builder.constant(1))
        )
        none = builder.node("Mul", score, builder.constant(0))
        parts = {
            "cls": score,
            "obj": score,
            "bbox": builder.node("Concat", none, none, size, size, axis=2),
            "kps": builder.node("Add", none, builder.constant(LANDMARKS.reshape(1, 1, 10) / stride)),
        }
        for part, value in parts.items():
            names.append(f"{part}_{stride}")
            builder.node("Identity", value, output=names[-1])
    return _write(builder, names, path)


def draw_photo(faces: Sequence[tuple[int, int, int]], size: tuple[int, int] = (192, 160), seed: int = 0) -> Image.Image:
    """A photograph of `size`, (height, width), with a face per (column, row, side): its cell, and its side in pixels.

    Sides are from CELL to CELL + 255. Save it as PNG: a marker is a single pixel.
    """
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[:, :, 2] = np.random.default_rng(seed).integers(0, 256, size)
    for column, row, side in faces:
        pixels[CELL * row + 16, CELL * column + 16] = (255, side - CELL, 0)
    return Image.fromarray(pixels)


def _write(builder: GraphBuilder, names: list[str], path: Path) -> Path:
    model = builder.model([1, 3, 64, 64], dict.fromkeys(names))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "h", "w"]))
    path.write_bytes(model.SerializeToString())
    return path
