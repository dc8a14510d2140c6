"""Draw the background, the body, and what the person wears."""

from __future__ import annotations

import numpy as np

from facetools.synthetic import colors
from facetools.synthetic.canvas import Canvas
from facetools.synthetic.colors import WHITE, darken, lighten
from facetools.synthetic.curves import CIRCLE, SIDES, mirror, smooth
from facetools.synthetic.face import Face


def draw_background(canvas: Canvas, face: Face) -> None:
    tint = (*lighten(face.background[0], 0.55), 90)
    for x, y, size, choice in face.background_shapes:
        center = (4.4 * x - 2.2, 4.6 * y - 2.3)
        if face.variants["background"] < 0.4:
            canvas.ellipse(center, 0.2 + 0.5 * size, tint if choice < 0.5 else (*face.accent, 50))
        elif face.variants["background"] < 0.7:
            lean = face.variants["parting"] - 0.5
            canvas.stroke([(center[0] - lean, -3), (center[0] + lean, 3)], 0.1 + 0.4 * size, tint, taper=False)


def draw_body(canvas: Canvas, face: Face) -> None:
    male = "Male" in face.attributes
    neck, shoulder = (0.56, 1.75) if male else (0.36, 1.4)
    throat = [(0, 0.8), (neck, 0.9), (neck, 1.6), (neck + 0.12, 1.8), (neck + 0.2, 2.9), (0, 2.9)]
    canvas.polygon(mirror(throat), face.skin)
    shadow = [(-neck, 1.2), (neck, 1.2), (neck, 1.55), (0.1 * face.light_side, 1.8), (-neck, 1.55)]
    canvas.polygon(smooth(shadow), darken(face.skin, 0.3))
    shoulders = [(neck + 0.04, 1.68), (neck + 0.4, 1.82), (shoulder, 2.1), (shoulder + 0.25, 2.9)]
    neckline = 2.0 if male else 2.3
    canvas.polygon(mirror([(0, neckline), (neck * 0.7, neckline - 0.1), *shoulders, (0, 2.9)]), face.clothes)
    collar = [
        (0, neckline + 0.1),
        (neck * 0.8, neckline - 0.04),
        (neck + 0.02, 1.7),
        (neck * 0.7, neckline - 0.1),
        (0, neckline),
    ]
    canvas.polygon(mirror(collar), darken(face.clothes, 0.3))


def draw_necktie(canvas: Canvas, face: Face) -> None:
    if "Wearing_Necktie" not in face.attributes:
        return
    canvas.polygon(mirror([(0, 1.6), (0.6, 1.62), (0.75, 1.78), (0.3, 2.9), (0, 2.9)]), WHITE)
    for side in SIDES:
        canvas.polygon(np.array([(0.3, 2.9), (0.7, 1.72), (1.1, 1.84), (0.75, 2.9)]) * side, darken(face.clothes, 0.55))
        canvas.stroke(np.array([(0.14, 1.78), (0.4, 2.0), (0.66, 1.74)]) * side, 0.05, (190, 190, 200))
    canvas.polygon(mirror([(0, 1.66), (0.2, 1.68), (0.13, 1.9), (0.3, 2.9), (0, 2.9)]), face.accent)
    canvas.polygon(mirror([(0, 1.88), (0.14, 1.86), (0.13, 1.94), (0, 1.97)]), darken(face.accent, 0.4))


def draw_necklace(canvas: Canvas, face: Face) -> None:
    if "Wearing_Necklace" not in face.attributes:
        return
    angles = np.linspace(-1.3, 1.3, 11)
    for x, y in zip(0.66 * np.sin(angles), 1.52 + 0.48 * np.cos(angles), strict=True):
        canvas.ellipse((x, y), 0.115, (150, 110, 20))
        canvas.ellipse((x - 0.01, y - 0.01), 0.095, (255, 214, 40))
        canvas.ellipse((x - 0.02, y - 0.03), 0.025, WHITE)
    canvas.ellipse((0, 2.1), 0.17, darken(face.jewelry, 0.4))
    canvas.ellipse((0, 2.09), 0.12, face.jewelry)


def draw_hat(canvas: Canvas, face: Face) -> None:
    if "Wearing_Hat" not in face.attributes:
        return
    band = darken(face.accent, 0.4)
    dome = smooth(mirror([(0, -1.72), (0.7, -1.58), (1.06, -1.1), (1.13, -0.6), (0.6, -0.66), (0, -0.68)]))
    if face.variants["hat"] < 0.34:  # a knit cap
        canvas.ellipse((0, -1.78), 0.24, WHITE)
        canvas.polygon(dome, face.accent)
        cuff = [(0, -0.96), (0.7, -0.93), (1.14, -0.8), (1.18, -0.5), (0.7, -0.58), (0, -0.62)]
        canvas.polygon(smooth(mirror(cuff)), band)
    elif face.variants["hat"] < 0.67:  # a baseball cap
        canvas.polygon(dome, face.accent)
        canvas.stroke([(0, -1.7), (0.0, -1.2), (0, -0.7)], 0.06, band)
        canvas.polygon(smooth(mirror([(0, -0.9), (0.75, -0.82), (1.2, -0.52), (0.8, -0.54), (0, -0.6)])), band)
    else:  # a brimmed hat
        canvas.polygon(smooth(mirror([(0, -1.62), (0.6, -1.7), (0.86, -1.3), (0.98, -0.7), (0, -0.6)])), face.accent)
        canvas.polygon(mirror([(0, -1.02), (0.93, -0.98), (1.0, -0.7), (0, -0.66)]), band)
        canvas.polygon(smooth(mirror([(0, -0.82), (1, -0.8), (1.6, -0.66), (1, -0.56), (0, -0.54)])), face.accent)


def draw_eyeglasses(canvas: Canvas, face: Face) -> None:
    if "Eyeglasses" not in face.attributes:
        return
    rim = CIRCLE if face.variants["glasses"] < 0.5 else np.sign(CIRCLE) * np.abs(CIRCLE) ** 0.45
    closed = np.concatenate([rim, rim[:1]]) * (0.39, 0.36)
    for side in (-1, 1):
        lens = closed + (side * 0.44, 0.02)
        canvas.polygon(lens, (120, 200, 255, 90))
        canvas.stroke(lens, 0.13, colors.GLASSES, taper=False)
        canvas.stroke([(side * 0.8, -0.06), (side * 0.9, -0.09), (side * 1.04, -0.1)], 0.1, colors.GLASSES, taper=False)
        glint = [(side * 0.44 - 0.16, 0.14), (side * 0.44, -0.02), (side * 0.44 + 0.14, -0.2)]
        canvas.stroke(glint, 0.05, (255, 255, 255, 130))
    canvas.stroke([(-0.1, -0.03), (0, -0.08), (0.1, -0.03)], 0.1, colors.GLASSES, taper=False)


def draw_earrings(canvas: Canvas, face: Face) -> None:
    if "Wearing_Earrings" not in face.attributes:
        return
    edge = darken(face.jewelry, 0.4)
    for side in (-1, 1):
        x = side * 1.1
        if face.variants["earrings"] < 0.5:
            hoop = np.concatenate([CIRCLE, CIRCLE[:1]]) * (0.2, 0.26) + (x, 0.68)
            canvas.stroke(hoop, 0.17, edge, taper=False)
            canvas.stroke(hoop, 0.11, face.jewelry, taper=False)
        else:
            drop = np.array([(0, 0.36), (0.2, 0.74), (0, 0.96), (-0.2, 0.74)])
            canvas.polygon(drop + (x, 0), edge)
            canvas.polygon(drop * (0.72, 0.8) + (x, 0.14), face.jewelry)
        canvas.ellipse((x - 0.03, 0.4), 0.05, WHITE)
