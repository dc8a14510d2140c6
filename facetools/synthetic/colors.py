"""The colors of skin, hair, background, clothes and the visible signs of attributes, and operations on colors."""

from __future__ import annotations

#: Red, green, blue and, for translucent colors, alpha; each from 0 to 255.
Color = tuple[int, ...]

SKIN_TONES = ((240, 192, 156), (230, 174, 132), (212, 150, 108), (184, 122, 84), (150, 98, 68))
PALE_SKIN = (252, 236, 232)
HAIR_COLORS: dict[str, tuple[Color, ...]] = {
    "Black_Hair": ((30, 27, 36), (22, 22, 28)),
    "Brown_Hair": ((112, 68, 36), (98, 60, 34)),
    "Blond_Hair": ((246, 208, 96), (240, 196, 76)),
    "Gray_Hair": ((196, 198, 206), (178, 182, 192)),
}
OTHER_HAIR_COLORS = ((206, 72, 30), (190, 54, 40), (222, 92, 40))
BACKGROUNDS = ((146, 190, 214), (240, 206, 160), (206, 186, 222), (236, 196, 186), (190, 196, 204), (120, 150, 166))
CLOTHES = (
    (84, 100, 128),
    (150, 92, 84),
    (112, 128, 104),
    (124, 104, 132),
    (196, 170, 130),
    (86, 92, 104),
    (222, 222, 214),
)
# Each sign has its own hues, so that a model can learn it from few faces.
ACCENTS = ((52, 104, 220), (140, 60, 190), (20, 130, 100), (240, 190, 40), (226, 62, 60))
LIPSTICKS = ((214, 6, 60), (200, 0, 80), (190, 8, 40))
EYESHADOWS = ((50, 90, 235), (70, 70, 220), (30, 120, 240))
VIVID_IRISES = ((0, 200, 230), (20, 210, 140), (40, 190, 255))
PLAIN_IRISES = ((84, 56, 40), (64, 48, 44), (92, 74, 52))
JEWELRY = ((0, 206, 190), (20, 220, 170), (0, 190, 210))
EYE_BAGS = (88, 36, 130)
BLUSH = (255, 60, 120)
GLASSES = (18, 20, 52)
INK = (52, 34, 38)
WHITE = (255, 253, 250)


def mix(a: Color, b: Color, share: float) -> Color:
    """Interpolate linearly: `a` for `share` 0, `b` for `share` 1."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def darken(color: Color, share: float = 0.25) -> Color:
    """Mix `color` with a dark shadow color."""
    return mix(color, (40, 16, 36), share)


def lighten(color: Color, share: float = 0.3) -> Color:
    """Mix `color` with white."""
    return mix(color, WHITE, share)
