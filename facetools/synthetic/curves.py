"""Outlines: circles, smooth and symmetric curves, curls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Points = Sequence[tuple[float, float]] | np.ndarray  # float (n, 2) in face units

SIDES = ((-1, 1), (1, 1))  # factors that draw a shape on the left and on the right

CIRCLE = np.array([(np.cos(angle), np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, 28, endpoint=False)])
_STEPS = np.linspace(0, 1, 6, endpoint=False)[:, None] ** np.arange(4)
_CATMULL_ROM = _STEPS @ (np.array([(0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)]) / 2)


def smooth(points: Points, *, closed: bool = True) -> np.ndarray:
    """The Catmull-Rom curve through `points`, 6 points a segment."""
    p = np.asarray(points, float)
    around = np.concatenate([p[-1:], p, p[:2]] if closed else [p[:1], p, p[-1:]])
    windows = np.stack([around[start : len(around) - 3 + start] for start in range(4)], 1)
    curve = np.einsum("tk,skd->std", _CATMULL_ROM, windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def mirrored(right: Points) -> np.ndarray:
    """A closed symmetric outline from its right half, given from the top middle to the bottom middle, both at x = 0."""
    half = np.asarray(right, float)
    return np.concatenate([half, half[-2:0:-1] * (-1, 1)])


def normals(curve: np.ndarray) -> np.ndarray:
    """Unit normals, float (n, 2): outwards where `curve` runs clockwise, as outlines do."""
    tangents = np.gradient(curve, axis=0)
    tangents /= np.hypot(tangents[:, 0], tangents[:, 1])[:, None] + 1e-9
    return tangents[:, ::-1] * (1, -1)


def scalloped(curve: np.ndarray, height: float, width: float) -> np.ndarray:
    """`curve` with round bumps outwards, like curls."""
    along = np.concatenate([[0], np.hypot(*np.diff(curve, axis=0).T).cumsum()])
    even = np.linspace(0, along[-1], int(along[-1] / width * 6))
    line = np.stack([np.interp(even, along, curve[:, axis]) for axis in (0, 1)], 1)
    return line + normals(line) * (np.abs(np.sin(even / width * np.pi)) * height)[:, None]
