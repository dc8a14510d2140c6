"""What is drawn of a face: what its attributes decide, and what chance does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facetools.synthetic import colours
from facetools.synthetic.colours import Colour, darker, lighter, mix
from facetools.synthetic.curves import mirrored, smooth
from facetools.table.attributes import CELEBA40


@dataclass(frozen=True)
class Face:
    """What is drawn: colours, shapes in face units, and choices from 0 to 1."""

    shows: frozenset[str]
    outline: np.ndarray  # of the head, float (n, 2)
    long_hair: bool
    skin: Colour
    hair: Colour
    lips: Colour
    iris: Colour
    eyeshadow: Colour
    accent: Colour
    jewel: Colour
    cloth: Colour
    backdrop: tuple[Colour, Colour]
    scenery: np.ndarray  # float (6, 4): place, size and choice of shapes in the background
    kind: dict[str, float]
    roll: float
    turn: float
    zoom: float
    shift: tuple[float, float]
    light: int  # -1 from the left, 1 from the right
    askew: float

    @classmethod
    def of(cls, attributes: np.ndarray, rng: np.random.Generator) -> Face:
        """A face with `attributes`, uint8 0/1 (40,).

        Draws the same numbers from `rng` whatever the attributes, so that another attribute alters its sign alone.
        """
        shows = frozenset(name for name, value in zip(CELEBA40, attributes, strict=True) if value)

        def vary(spread: float) -> float:
            return float(rng.uniform(-spread, spread))

        def pick(palette: Sequence[Colour]) -> Colour:
            chosen = palette[int(rng.random() * len(palette))]
            return tuple(int(np.clip(part + vary(8), 0, 255)) for part in chosen)

        named = [palette for name, palette in colours.HAIRS.items() if name in shows]
        tone = rng.random() * (len(colours.SKINS) - 1)
        skin = mix(colours.SKINS[int(tone)], colours.SKINS[int(tone) + 1], tone % 1)
        crop = rng.random() < 0.08
        backdrop = pick(colours.BACKDROPS)
        return cls(
            shows=shows,
            outline=_head_outline(shows),
            long_hair="Male" not in shows and not (crop and "Bangs" not in shows),
            skin=colours.PALE if "Pale_Skin" in shows else skin,
            hair=pick(named[0] if named else colours.OTHER_HAIRS),
            lips=pick(colours.LIPSTICKS) if "Wearing_Lipstick" in shows else pick([mix(skin, (190, 96, 84), 0.45)]),
            iris=pick(colours.VIVID_IRISES if "Attractive" in shows else colours.PLAIN_IRISES),
            eyeshadow=pick(colours.EYESHADOWS),
            accent=pick(colours.BRIGHT),
            jewel=pick(colours.JEWELS),
            cloth=pick(colours.CLOTHES),
            backdrop=(lighter(backdrop, rng.random() * 0.5), darker(backdrop, rng.random() * 0.3)),
            scenery=rng.random((6, 4)),
            kind={part: float(rng.random()) for part in ("scenery", "hat", "glasses", "earrings", "parting")},
            roll=float(np.clip(rng.normal(0, np.deg2rad(4.5)), *np.deg2rad((-12, 12)))),
            turn=vary(0.1),
            zoom=1 + vary(0.07),
            shift=(vary(0.1), vary(0.08)),
            light=1 if rng.random() < 0.5 else -1,
            askew=vary(0.03) + (0 if "Attractive" in shows else np.copysign(0.05, vary(1))),
        )


def _head_outline(shows: frozenset[str]) -> np.ndarray:
    widths = np.array((1.0, 0.95, 0.56))  # at the cheeks, the jaw and the chin
    length = 1.36
    if "Oval_Face" in shows:
        widths, length = np.array((0.78, 0.46, 0.14)), 1.58
    if "Chubby" in shows:
        widths = widths + (0.2, 0.32, 0.24)
    if "Male" in shows:
        widths, length = widths + (0.02, 0.06, 0.08), length + 0.04
    cheek, jaw, chin = widths
    top = [(0, -1.25), (0.52, -1.15), (0.86, -0.8), (0.98, -0.25)]
    return smooth(mirrored([*top, (cheek, 0.4), (jaw, 0.9), (chin, length - 0.1), (0, length)]))
