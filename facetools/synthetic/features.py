"""Draw the head and its features."""

from __future__ import annotations

import numpy as np

from facetools.synthetic import colors
from facetools.synthetic.canvas import Canvas
from facetools.synthetic.colors import WHITE, darken, lighten, mix
from facetools.synthetic.curves import CIRCLE, SIDES, smooth
from facetools.synthetic.face import Face


def draw_double_chin(canvas: Canvas, face: Face) -> None:
    if "Double_Chin" in face.attributes:
        low = face.outline[:, 1].max()
        canvas.ellipse((0, low - 0.09), (0.8, 0.5), darken(face.skin, 0.6))
        canvas.ellipse((0, low - 0.12), (0.75, 0.45), lighten(face.skin, 0.15))


def draw_ears(canvas: Canvas, face: Face) -> None:
    for side in (-1, 1):
        canvas.ellipse((side * 1.0, 0.14), (0.16, 0.26), darken(face.skin, 0.22 if side == face.light_side else 0.32))
        canvas.ellipse((side * 1.0, 0.14), (0.1, 0.18), darken(face.skin, 0.08))


def draw_head(canvas: Canvas, face: Face) -> None:
    canvas.polygon(face.outline, darken(face.skin, 0.24))
    canvas.polygon(face.outline * (0.95, 0.985) + (0.045 * face.light_side, -0.015), face.skin)
    canvas.soft_ellipse((0.3 * face.light_side, -0.5), (0.5, 0.35), lighten(face.skin), 60)
    if "Bald" in face.attributes:
        canvas.soft_ellipse((0.3 * face.light_side, -0.95), (0.42, 0.2), WHITE, 190)


def draw_cheeks(canvas: Canvas, face: Face) -> None:
    for side in SIDES:
        if "High_Cheekbones" in face.attributes:
            hollow = smooth([(0.93, 0.3), (0.6, 0.56), (0.46, 0.86), (0.66, 0.86), (0.86, 0.62)])
            canvas.polygon(hollow * side, (*mix(face.skin, (110, 24, 30), 0.6), 150))
            canvas.soft_ellipse((0.64 * side[0], 0.28), (0.3, 0.17), WHITE, 185)
        if "Rosy_Cheeks" in face.attributes:
            canvas.soft_ellipse((0.6 * side[0], 0.5), (0.32, 0.28), colors.BLUSH, 220)


def draw_age_lines(canvas: Canvas, face: Face) -> None:
    if "Young" in face.attributes:
        return
    ink = (*darken(face.skin, 0.62), 210)
    for y in (-0.58, -0.74):
        furrow = smooth([(-0.5, y + 0.03), (-0.2, y - 0.02), (0.2, y + 0.02), (0.5, y - 0.02)], closed=False)
        canvas.stroke(furrow, 0.07, ink)
    for side in SIDES:
        fold = smooth([(0.24, 0.46), (0.42, 0.62), (0.54, 0.84), (0.52, 1.06)], closed=False)
        canvas.stroke(fold * side, 0.09, ink)
        for end in ((0.92, -0.16), (0.94, 0), (0.9, 0.15)):
            canvas.stroke(np.array([(0.72, 0), np.add((0.72, 0), end) / 2, end]) * side, 0.055, ink)


def draw_eyes(canvas: Canvas, face: Face) -> None:
    narrow, attractive = "Narrow_Eyes" in face.attributes, "Attractive" in face.attributes
    height = 0.05 if narrow else 0.23 if attractive else 0.19
    across = np.linspace(-1, 1, 15)
    lids = np.sqrt(1 - across**2) ** 1.2
    for side in (-1, 1):
        middle = np.array((side * 0.43, side * face.asymmetry * 0.6))
        x = across * 0.28
        upper, lower = np.stack([x, -height * lids], 1), np.stack([x, 0.8 * height * lids], 1)
        if "Heavy_Makeup" in face.attributes:
            lid = np.concatenate([np.stack([x * 1.25, -0.3 * lids - 0.02], 1), lower[::-1] * (1.25, 1.6)])
            canvas.polygon(lid + middle, face.eyeshadow)
        if "Bags_Under_Eyes" in face.attributes:
            bag = np.concatenate([np.stack([x, 0.4 * lids + 0.06], 1), (lower + (0, 0.05))[::-1]])
            canvas.polygon(bag + middle, (*mix(darken(face.skin, 0.4), colors.EYE_BAGS, 0.7), 235))
        canvas.polygon(np.concatenate([upper, lower[::-1]]) + middle, WHITE)
        for radius, color in ((0.19 if attractive else 0.1, face.iris), (0.075 if attractive else 0.05, (16, 12, 18))):
            ball = CIRCLE * radius
            limit = np.interp(ball[:, 0], x, height * lids)
            ball[:, 1] = np.clip(ball[:, 1], -limit, 0.8 * limit)
            canvas.polygon(ball + middle, color)
        canvas.stroke(upper + middle, 0.075 if "Male" not in face.attributes else 0.055, colors.INK)
        if "Male" not in face.attributes:
            for start, end in (((0.8, -0.6), (1.32, -1.0)), ((1, -0.1), (1.5, -0.45))):
                lash = np.array([start, np.add(start, end) / 2, end]) * (0.26 * side, 0.2)
                canvas.stroke(lash + middle, 0.05, colors.INK)
        if attractive and not narrow:
            canvas.ellipse((middle[0] + 0.06 * face.light_side, middle[1] - 0.08), 0.05, WHITE)
        canvas.ellipse((middle[0] - 0.05 * face.light_side, middle[1] + min(0.05, height / 3)), 0.025, WHITE)


def draw_eyebrows(canvas: Canvas, face: Face) -> None:
    width = 0.26 if "Bushy_Eyebrows" in face.attributes else 0.08
    arch = 0.28 if "Arched_Eyebrows" in face.attributes else 0.02
    color = darken(face.hair, 0.6) if "Young" in face.attributes else (226, 226, 232)
    for side in SIDES:
        brow = smooth([(0.2, -0.37), (0.36, -0.4 - arch * 0.75), (0.56, -0.4 - arch), (0.8, -0.28)], closed=False)
        canvas.stroke(brow * side + (0, side[0] * face.asymmetry), width, color)


def draw_nose(canvas: Canvas, face: Face) -> None:
    shade, shine = darken(face.skin, 0.5), lighten(face.skin, 0.6)
    big, pointy = "Big_Nose" in face.attributes, "Pointy_Nose" in face.attributes
    if pointy:
        tip = 0.4 * -face.light_side
        canvas.polygon([(0.02, -0.12), (tip, 0.56), (0, 0.64), (-tip * 0.35, 0.56)], shade)
        canvas.polygon([(-tip * 0.2, -0.1), (0.02, -0.12), (tip * 0.25, 0.56), (-tip * 0.5, 0.56)], shine)
    if big:
        for side in (-1, 1):
            canvas.ellipse((side * 0.26, 0.48), (0.15, 0.13), shade)
        canvas.ellipse((0, 0.42), (0.31, 0.27), shade)
        canvas.ellipse((0.02 * face.light_side, 0.39), (0.28, 0.24), mix(face.skin, (244, 70, 56), 0.45))
        canvas.soft_ellipse((0.07 * face.light_side, 0.33), (0.12, 0.09), WHITE, 150)
    if not big and not pointy:
        canvas.stroke(smooth([(-0.12, 0.4), (-0.08, 0.48), (0.08, 0.48), (0.12, 0.4)], closed=False), 0.06, shade)


def draw_mouth(canvas: Canvas, face: Face) -> None:
    smiling, is_open = "Smiling" in face.attributes, "Mouth_Slightly_Open" in face.attributes
    width = 0.52 if smiling else 0.32
    thickness = 0.22 if "Big_Lips" in face.attributes else 0.085
    x = np.linspace(-1, 1, 17)
    bow = 1 - x**2
    middle = 0.9 + (0.12 - 0.32 * x**2 if smiling else 0.01 * x**2) + 0.8 * face.asymmetry * x
    gap = (0.24 if smiling else 0.22) * bow if is_open else 0 * x
    top = middle - thickness * bow * (1 - 0.35 * np.exp(-((x / 0.18) ** 2)))
    bottom = middle + gap + 1.15 * thickness * bow

    def region(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return np.stack([np.concatenate([x, x[::-1]]) * width, np.concatenate([high, low[::-1]])], 1)

    canvas.polygon(region(top, bottom), face.lips)
    if is_open:
        canvas.polygon(region(middle, middle + gap), (96, 16, 28))
        canvas.polygon(region(middle, middle + gap * 0.45), WHITE)
    else:
        canvas.stroke(np.stack([x * width, middle], 1), 0.05, darken(face.lips, 0.65))
    gloss = (0.06 * face.light_side, float(bottom[8] - 0.5 * thickness))
    canvas.soft_ellipse(gloss, (0.12, thickness * 0.4), WHITE, 80)
    if smiling:
        for side in (0, -1):
            end = np.array((x[side] * width, middle[side]))
            canvas.stroke(end + [(-0.05, -0.06), (0.02 * x[side], 0.01), (0.04, 0.07)], 0.04, darken(face.skin, 0.5))
