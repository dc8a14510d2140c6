"""Boxes of faces as (left, top, right, bottom): overlaps and non-maximum suppression."""

from __future__ import annotations

from typing import Literal

import numpy as np

#: What the intersection of two boxes is divided by: the area of their union, or that of the smaller box.
Overlap = Literal["union", "smaller"]


def overlaps(box: np.ndarray, boxes: np.ndarray, overlap: Overlap = "union") -> np.ndarray:
    """The overlap of one box, float (4,), with each of `boxes`, float (n, 4): float (n,) from 0 to 1."""
    size = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    intersection = np.prod(np.maximum(size, 0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    whole = area + areas - intersection if overlap == "union" else np.minimum(area, areas)
    return intersection / np.maximum(whole, 1e-9)


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float, overlap: Overlap = "union") -> np.ndarray:
    """Non-maximum suppression: the rows, int (m,), of the boxes to keep, best score first.

    `boxes` is float (n, 4), `scores` float (n,). A box is dropped if it overlaps a better one by more than `limit`.
    """
    rows = np.argsort(-scores, kind="stable")
    kept = []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        rows = rows[overlaps(boxes[best], boxes[rows], overlap) <= limit]
    return np.array(kept, int)


def to_squares(boxes: np.ndarray) -> np.ndarray:
    """The smallest squares with the same centers that contain `boxes`, float (n, 4)."""
    centers, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    return np.concatenate((centers - sides / 2, centers + sides / 2), axis=1)
