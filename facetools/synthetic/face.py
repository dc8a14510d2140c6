"""The appearance of a face: what its attributes determine, and what is random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facetools.synthetic import colors
from facetools.synthetic.colors import Color, darken, lighten, mix
from facetools.synthetic.curves import mirror, smooth
from facetools.table.attributes import CELEBA40


@dataclass(frozen=True)
class Face:
    """The appearance of a face. Shapes and distances are in face units, angles in radians."""

    attributes: frozenset[str]  # the names of the attributes that are present
    outline: np.ndarray  # of the head, float (n, 2)
    long_hair: bool
    skin: Color
    hair: Color
    lips: Color
    iris: Color
    eyeshadow: Color
    accent: Color
    jewelry: Color
    clothes: Color
    background: tuple[Color, Color]  # at the top and at the bottom
    background_shapes: np.ndarray  # float (6, 4), 0 to 1: x, y, size and color choice of each shape
    variants: dict[str, float]  # numbers from 0 to 1 that choose among variants of a part
    roll: float
    yaw: float  # the displacement of the middle of the face when the head turns
    zoom: float
    shift: tuple[float, float]
    light_side: int  # -1: light from the left, 1: from the right
    asymmetry: float

    @classmethod
    def from_attributes(cls, attributes: np.ndarray, rng: np.random.Generator) -> Face:
        """Create a face with `attributes`, uint8 0/1 (40,), in the order of CELEBA40.

        The random draws do not depend on the attributes, so that changing an attribute changes only its own signs. The
        exception is Attractive, which skips the last draw.
        """
        present = frozenset(name for name, value in zip(CELEBA40, attributes, strict=True) if value)

        def vary(spread: float) -> float:
            return float(rng.uniform(-spread, spread))

        def pick(palette: Sequence[Color]) -> Color:
            color = palette[int(rng.random() * len(palette))]
            return tuple(int(np.clip(part + vary(8), 0, 255)) for part in color)

        hair_palettes = [palette for name, palette in colors.HAIR_COLORS.items() if name in present]
        tone = rng.random() * (len(colors.SKIN_TONES) - 1)
        skin = mix(colors.SKIN_TONES[int(tone)], colors.SKIN_TONES[int(tone) + 1], tone % 1)
        short_hair = rng.random() < 0.08
        background = pick(colors.BACKGROUNDS)
        return cls(
            attributes=present,
            outline=_head_outline(present),
            long_hair="Male" not in present and not (short_hair and "Bangs" not in present),
            skin=colors.PALE_SKIN if "Pale_Skin" in present else skin,
            hair=pick(hair_palettes[0] if hair_palettes else colors.OTHER_HAIR_COLORS),
            lips=pick(colors.LIPSTICKS) if "Wearing_Lipstick" in present else pick([mix(skin, (190, 96, 84), 0.45)]),
            iris=pick(colors.VIVID_IRISES if "Attractive" in present else colors.PLAIN_IRISES),
            eyeshadow=pick(colors.EYESHADOWS),
            accent=pick(colors.ACCENTS),
            jewelry=pick(colors.JEWELRY),
            clothes=pick(colors.CLOTHES),
            background=(lighten(background, rng.random() * 0.5), darken(background, rng.random() * 0.3)),
            background_shapes=rng.random((6, 4)),
            variants={part: float(rng.random()) for part in ("background", "hat", "glasses", "earrings", "parting")},
            roll=float(np.clip(rng.normal(0, np.deg2rad(4.5)), *np.deg2rad((-12, 12)))),
            yaw=vary(0.1),
            zoom=1 + vary(0.07),
            shift=(vary(0.1), vary(0.08)),
            light_side=1 if rng.random() < 0.5 else -1,
            asymmetry=vary(0.03) + (0 if "Attractive" in present else np.copysign(0.05, vary(1))),
        )


def _head_outline(present: frozenset[str]) -> np.ndarray:
    widths = np.array((1.0, 0.95, 0.56))  # at the cheeks, the jaw and the chin
    length = 1.36
    if "Oval_Face" in present:
        widths, length = np.array((0.78, 0.46, 0.14)), 1.58
    if "Chubby" in present:
        widths = widths + (0.2, 0.32, 0.24)
    if "Male" in present:
        widths, length = widths + (0.02, 0.06, 0.08), length + 0.04
    cheek, jaw, chin = widths
    top = [(0, -1.25), (0.52, -1.15), (0.86, -0.8), (0.98, -0.25)]
    return smooth(mirror([*top, (cheek, 0.4), (jaw, 0.9), (chin, length - 0.1), (0, length)]))
