"""Build outlines: circles, smooth curves, symmetric shapes and curls."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Points (x, y) in face units, float (n, 2).
Points = Sequence[tuple[float, float]] | np.ndarray

#: Factors of (x, y) that place a shape on the left and on the right side of the face.
SIDES = ((-1, 1), (1, 1))

#: The unit circle as a closed outline, float (28, 2).
CIRCLE = np.array([(np.cos(angle), np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, 28, endpoint=False)])

# Powers of the curve parameter times the basis matrix of Catmull-Rom splines: (6 steps, 4 control points).
_STEPS = np.linspace(0, 1, 6, endpoint=False)[:, None] ** np.arange(4)
_CATMULL_ROM = _STEPS @ (np.array([(0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)]) / 2)


def smooth(points: Points, *, closed: bool = True) -> np.ndarray:
    """Interpolate `points` by a Catmull-Rom spline with 6 points per segment, float (m, 2)."""
    p = np.asarray(points, float)
    padded = np.concatenate([p[-1:], p, p[:2]] if closed else [p[:1], p, p[-1:]])
    windows = np.stack([padded[start : len(padded) - 3 + start] for start in range(4)], 1)
    curve = np.einsum("tk,skd->std", _CATMULL_ROM, windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def mirror(right: Points) -> np.ndarray:
    """Complete a symmetric outline from its right half, which runs from the top to the bottom and begins and ends at
    x = 0."""
    half = np.asarray(right, float)
    return np.concatenate([half, half[-2:0:-1] * (-1, 1)])


def unit_normals(curve: np.ndarray) -> np.ndarray:
    """The unit normals of a curve, float (n, 2); they point outwards if it runs clockwise, as outlines do."""
    tangents = np.gradient(curve, axis=0)
    tangents /= np.hypot(tangents[:, 0], tangents[:, 1])[:, None] + 1e-9
    return tangents[:, ::-1] * (1, -1)


def scallop(curve: np.ndarray, height: float, width: float) -> np.ndarray:
    """Add round outward bumps of `height` and `width` to a curve, like curls."""
    lengths = np.concatenate([[0], np.hypot(*np.diff(curve, axis=0).T).cumsum()])
    positions = np.linspace(0, lengths[-1], int(lengths[-1] / width * 6))
    line = np.stack([np.interp(positions, lengths, curve[:, axis]) for axis in (0, 1)], 1)
    return line + unit_normals(line) * (np.abs(np.sin(positions / width * np.pi)) * height)[:, None]
