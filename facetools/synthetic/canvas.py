"""A picture that is painted in face units."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from facetools.synthetic.colours import Colour
from facetools.synthetic.curves import CIRCLE, Points, normals

#: Height and width of CelebA's aligned images, in pixels.
SIZE = (218, 178)


class Canvas:
    """A picture, SCALE times as large as the one wanted, that is painted in face units.

    In face units 1 is half the width of a head, the origin lies between the eyes, x points to the right of the picture
    and y down; the crown is at y = -1.25 and the chin near y = 1.4.

    `place` says where following shapes go; what lies in front of the axis of the head moves with a turn of it.
    """

    SCALE = 3
    UNIT = 55 / 218  # of the height
    PIVOT = np.array((0, 0.8))

    def __init__(self, size: tuple[int, int], top: Colour, bottom: Colour) -> None:
        height, width = (side * self.SCALE for side in size)
        self.pixels = min(height, width * SIZE[0] / SIZE[1]) * self.UNIT
        self.centre = np.array((width / 2, height * 0.46))
        column = Image.fromarray(np.linspace(top, bottom, height).astype(np.uint8)[:, None])
        self.image = column.resize((width, height), Image.Resampling.NEAREST)
        self._opaque, self._translucent = ImageDraw.Draw(self.image), ImageDraw.Draw(self.image, "RGBA")
        self.place(1, 0, (0, 0), 0)

    def place(self, zoom: float, roll: float, shift: tuple[float, float], turn: float) -> None:
        """Put the face at `shift` face units, `zoom` times as large, rolled by `roll` radians about the chin."""
        self._matrix = np.array(((np.cos(roll), np.sin(roll)), (-np.sin(roll), np.cos(roll)))) * zoom * self.pixels
        self._origin = self.centre + (np.asarray(shift) + self.PIVOT * zoom) * self.pixels
        self._turn = turn

    def fill(self, points: Points, colour: Colour) -> None:
        """The inside of a closed line."""
        p = np.array(points, float)
        if self._turn:
            p[:, 0] += self._turn * np.sqrt(np.clip(1 - (p[:, 0] / 1.35) ** 2, 0, 1))
        draw = self._opaque if len(colour) == 3 else self._translucent
        draw.polygon(((p - self.PIVOT) @ self._matrix + self._origin).ravel().tolist(), fill=colour)

    def disc(self, centre: tuple[float, float], radii: tuple[float, float] | float, colour: Colour) -> None:
        """An ellipse."""
        self.fill(CIRCLE * radii + centre, colour)

    def glow(self, centre: tuple[float, float], radii: tuple[float, float], colour: Colour, alpha: int) -> None:
        """A soft ellipse, `alpha` in its middle."""
        for size in (1, 0.8, 0.6, 0.4):
            self.disc(centre, (radii[0] * size, radii[1] * size), (*colour, alpha * 2 // 5))

    def stroke(self, points: Points, width: float, colour: Colour, *, taper: bool = True) -> None:
        """A line of `width`, as by a brush: thin at its ends if `taper`."""
        curve = np.asarray(points, float)
        half = np.full(len(curve), width / 2)
        if taper:
            half *= np.sqrt(np.sin(np.linspace(0.08, np.pi - 0.08, len(curve))))
        side = normals(curve) * half[:, None]
        self.fill(np.concatenate([curve + side, (curve - side)[::-1]]), colour)
