"""A canvas to draw on in face units."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from facetools.synthetic.colors import Color
from facetools.synthetic.curves import CIRCLE, Points, unit_normals

#: Height and width of CelebA's aligned images, in pixels.
SIZE = (218, 178)


class Canvas:
    """An image with a coordinate system of face units, SCALE times larger than the final image to avoid jagged edges.

    One face unit is half the width of a head. The origin is between the eyes, x points right and y points down. The top
    of the head is at y = -1.25 and the chin near y = 1.4. `set_pose` places the shapes that are drawn after it.
    """

    SCALE = 3
    UNIT = 55 / 218  # one face unit, as a share of the height
    PIVOT = np.array((0, 0.8))  # the center of zoom and roll, in face units

    def __init__(self, size: tuple[int, int], top: Color, bottom: Color) -> None:
        """Fill the background with a gradient from `top` to `bottom`; `size` is (height, width) of the final image."""
        height, width = (side * self.SCALE for side in size)
        self.unit_pixels = min(height, width * SIZE[0] / SIZE[1]) * self.UNIT
        self.center = np.array((width / 2, height * 0.46))
        column = Image.fromarray(np.linspace(top, bottom, height).astype(np.uint8)[:, None])
        self.image = column.resize((width, height), Image.Resampling.NEAREST)
        self._opaque, self._translucent = ImageDraw.Draw(self.image), ImageDraw.Draw(self.image, "RGBA")
        self.set_pose(zoom=1, roll=0, shift=(0, 0), parallax=0)

    def set_pose(self, zoom: float, roll: float, shift: tuple[float, float], parallax: float) -> None:
        """Draw the following shapes shifted by `shift` face units, `zoom` times larger and rolled by `roll` radians.

        `parallax` is the horizontal displacement, in face units, of the middle of a shape when the head turns; it
        falls to zero towards the sides of the head.
        """
        rotation = np.array(((np.cos(roll), np.sin(roll)), (-np.sin(roll), np.cos(roll))))
        self._matrix = rotation * zoom * self.unit_pixels
        self._origin = self.center + (np.asarray(shift) + self.PIVOT * zoom) * self.unit_pixels
        self._parallax = parallax

    def polygon(self, points: Points, color: Color) -> None:
        """Fill a closed outline."""
        p = np.array(points, float)
        if self._parallax:
            p[:, 0] += self._parallax * np.sqrt(np.clip(1 - (p[:, 0] / 1.35) ** 2, 0, 1))
        draw = self._opaque if len(color) == 3 else self._translucent
        draw.polygon(((p - self.PIVOT) @ self._matrix + self._origin).ravel().tolist(), fill=color)

    def ellipse(self, center: tuple[float, float], radii: tuple[float, float] | float, color: Color) -> None:
        """Fill an ellipse."""
        self.polygon(CIRCLE * radii + center, color)

    def soft_ellipse(self, center: tuple[float, float], radii: tuple[float, float], color: Color, alpha: int) -> None:
        """Fill an ellipse that fades out towards its edge; `alpha`, 0 to 255, is the opacity in its middle."""
        for size in (1, 0.8, 0.6, 0.4):
            self.ellipse(center, (radii[0] * size, radii[1] * size), (*color, alpha * 2 // 5))

    def stroke(self, points: Points, width: float, color: Color, *, taper: bool = True) -> None:
        """Draw a line of `width`; with `taper` it is thin at its ends, like a brush stroke."""
        curve = np.asarray(points, float)
        half = np.full(len(curve), width / 2)
        if taper:
            half *= np.sqrt(np.sin(np.linspace(0.08, np.pi - 0.08, len(curve))))
        offset = unit_normals(curve) * half[:, None]
        self.polygon(np.concatenate([curve + offset, (curve - offset)[::-1]]), color)
