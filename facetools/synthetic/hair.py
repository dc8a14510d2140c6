"""Draw hair, stubble and beards."""

from __future__ import annotations

import numpy as np

from facetools.synthetic.canvas import Canvas
from facetools.synthetic.colors import darken, lighten
from facetools.synthetic.curves import SIDES, mirror, scallop, smooth
from facetools.synthetic.face import Face


def draw_hair_behind_head(canvas: Canvas, face: Face) -> None:
    if "Bald" in face.attributes:
        return
    canvas.polygon(_back_outline(face), darken(face.hair, 0.22) if face.long_hair else face.hair)


def _back_outline(face: Face) -> np.ndarray:
    if face.long_hair:
        if "Straight_Hair" in face.attributes:
            top = smooth([(0, -1.48), (0.62, -1.38), (1.06, -0.9), (1.18, -0.1), (1.2, 0.9)], closed=False)
            ends = [(1.26, 2.15), (1.06, 2.08), (0.98, 2.24), (0.76, 2.1), (0.6, 2.2), (0.4, 1.2), (0, 1.2)]
            return mirror([*top, *ends])
        if "Wavy_Hair" in face.attributes:
            upper = [(0, -1.55), (0.75, -1.42), (1.18, -0.9), (1.32, -0.1), (1.4, 0.8)]
            lower = [(1.4, 1.5), (1.1, 1.95), (0.5, 1.9), (0, 1.2)]
            return scallop(smooth(mirror(upper + lower)), 0.15, 0.36)
        half = [(0, -1.52), (0.7, -1.4), (1.14, -0.9), (1.26, -0.1), (1.3, 0.6), (1.1, 1.12), (0.7, 1.1), (0, 1)]
        return smooth(mirror(half))
    if "Straight_Hair" in face.attributes:
        angles = np.linspace(0, np.pi, 19)
        reach = np.where(np.arange(19) % 2, 1.26 + 0.36 * np.sin(angles), 1.2)
        return np.stack([np.cos(angles) * reach * 0.84, 0.1 - np.sin(angles) * reach * 1.12], 1)
    cap = smooth(mirror([(0, -1.45), (0.6, -1.38), (1, -0.95), (1.07, -0.3), (1.02, 0.2), (0, 0.3)]))
    return scallop(cap, 0.19, 0.42) if "Wavy_Hair" in face.attributes else cap


def draw_hair_in_front(canvas: Canvas, face: Face) -> None:
    if "Bald" in face.attributes:
        return
    parting = 0.5 * face.variants["parting"] - 0.25
    if "Bangs" in face.attributes:
        positions = np.linspace(-0.86, 0.86, 13)
        fringe = list(zip(positions, np.where(np.arange(13) % 2, -0.58, -0.4), strict=True))
        hairline = np.array([(-0.99, 0.0), *fringe, (0.99, 0.0)])
    elif "Receding_Hairline" in face.attributes:
        half = [(0, -0.86), (0.2, -1.04), (0.52, -1.2), (0.86, -0.86), (1, -0.2)]
        hairline = smooth([*((-x, y) for x, y in half[:0:-1]), *half], closed=False)
    else:
        left, right = [(-0.99, 0), (-0.84, -0.5), (-0.42, -0.78)], [(0.46, -0.76), (0.84, -0.5), (0.99, 0)]
        hairline = smooth([*left, (parting, -0.98), *right], closed=False)
    half = [(1.04, 0.02), (1.04, -0.5), (0.82, -1.08)]
    over = smooth([*half, (0, -1.42), *((-x, y) for x, y in half[::-1])], closed=False)
    canvas.polygon(np.concatenate([hairline, over]), face.hair)
    if face.long_hair:
        lock = smooth([(0.72, -0.86), (0.93, -0.3), (0.97, 0.3), (1.02, 0.85), (1.26, 0.8), (1.26, 0.0), (1.1, -0.8)])
        for side in SIDES:
            canvas.polygon(lock * side, face.hair)
    _draw_strands(canvas, face)


def _draw_strands(canvas: Canvas, face: Face) -> None:
    shine, shade = (*lighten(face.hair, 0.4), 150), (*darken(face.hair, 0.5), 150)
    arc = smooth([(0.1, -1.24), (0.5, -1.12), (0.78, -0.86)], closed=False)
    canvas.stroke(arc * (face.light_side, 1), 0.1, shine)
    if "Straight_Hair" in face.attributes:
        for x in np.linspace(-0.8, 0.8, 7):
            top, low = np.array((x * 0.75, -1.36 + 0.3 * x * x)), np.array((x * 1.1, -0.86 + 0.5 * x * x))
            canvas.stroke(np.linspace(top, low, 3), 0.07, shine)
    if not face.long_hair:
        return
    down = np.linspace(0, 1, 25)
    for side in SIDES:
        for start in (1.03, 1.12):
            color = shine if start < 1.1 else shade
            if "Wavy_Hair" in face.attributes:
                lock = np.stack([start + 0.12 * down + 0.07 * np.sin(down * 16), -0.5 + 2.2 * down], 1)
                canvas.stroke(lock * side, 0.06, color)
            elif "Straight_Hair" in face.attributes:
                lock = np.stack([start + 0.02 * down, -0.5 + 2.5 * down], 1)
                canvas.stroke(lock * side, 0.05, color)


def draw_stubble(canvas: Canvas, face: Face) -> None:
    if "5_o_Clock_Shadow" not in face.attributes:
        return
    jaw = face.outline[face.outline[:, 1] > 0.3] * (0.97, 0.99)
    lip = smooth([(-0.8, 0.35), (-0.55, 0.62), (0, 0.58), (0.55, 0.62), (0.8, 0.35)], closed=False)
    canvas.polygon(np.concatenate([jaw, lip]), (52, 58, 82, 120))
    right = face.outline[: len(face.outline) // 2]
    for y in (0.74, 0.96, 1.2):
        width = np.interp(y, right[:, 1], right[:, 0])
        for x in np.linspace(-0.84, 0.84, 9):
            canvas.ellipse((x * width, y + 0.05 * np.cos(9 * x)), 0.022, (36, 36, 52, 150))


def draw_beard(canvas: Canvas, face: Face) -> None:
    color = darken(face.hair, 0.18)
    if "No_Beard" not in face.attributes:
        jaw = face.outline[face.outline[:, 1] > 0.42]
        canvas.polygon(np.concatenate([jaw * (1.02, 1.03), jaw[::-1] * (0.8, 0.86) + (0, 0.06)]), color)
    if "Sideburns" in face.attributes:
        for side in SIDES:
            canvas.polygon(np.array([(0.78, -0.4), (1.04, -0.4), (1.02, 0.5), (0.66, 0.66)]) * side, color)
    if "Goatee" in face.attributes:
        low = face.outline[:, 1].max()
        tuft = [(0, 1.1), (0.3, 1.12), (0.38, low - 0.1), (0.14, low + 0.24), (0, low + 0.3)]
        canvas.polygon(smooth(mirror(tuft)), color)
    if "Mustache" in face.attributes:
        for side in SIDES:
            wing = smooth([(0, 0.66), (0.2, 0.6), (0.42, 0.72), (0.62, 0.66), (0.5, 0.86), (0.26, 0.84), (0, 0.78)])
            canvas.polygon(wing * side, color)
