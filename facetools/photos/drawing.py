"""Draw detected faces into their photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from facetools.photos.detection import Faces

#: Yellow on black, which is visible in front of any photograph.
_COLOR, _OUTLINE = (255, 230, 0), (0, 0, 0)


def draw_faces(image: np.ndarray, size: tuple[int, int], faces: Faces) -> np.ndarray:
    """Return a copy of `image`, uint8 (h, w, 3), with the boxes and landmarks of `faces`.

    The faces are those of the photograph, which has the height and width `size` and of which `image` is a reduced copy.
    """
    scaled = faces.scale(np.divide(image.shape[1::-1], size[::-1]))
    picture = Image.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    width = max(1, round(max(image.shape) / 300))
    for box, landmarks in zip(scaled.boxes, scaled.landmarks, strict=True):
        for margin, color in ((width, _OUTLINE), (0, _COLOR)):
            left, top, right, bottom = box
            outer = (left - margin, top - margin, right + margin, bottom + margin)
            canvas.rectangle(outer, outline=color, width=width + 2 * margin)
            for x, y in landmarks:
                radius = width + margin
                canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    return np.asarray(picture)
