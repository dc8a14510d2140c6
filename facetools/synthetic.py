"""Drawn faces with known attributes: the embedded data set of the demo and of the tests.

Every one of CelebA's 40 attributes has a visible sign, as in a caricature, and keeps CelebA's frequency and its strong
dependencies. A face comes from a seed and its number alone, so any subset can be drawn in any order and process.

Faces are drawn back to front in face units: 1 is half the width of a head, the origin lies between the eyes, x points
to the right of the picture and y down; the crown is at y = -1.25 and the chin near y = 1.4.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from facetools import files
from facetools.attributes import CELEBA40, FREQUENCIES

#: Height and width of CelebA's aligned images, in pixels.
SIZE = (218, 178)

Colour = tuple[int, ...]  # red, green, blue and, where it is translucent, alpha; 0 to 255
Points = Sequence[tuple[float, float]] | np.ndarray  # float (n, 2) in face units

# Attributes: a Gaussian copula. What moves together loads on the same hidden factors.

_FACTORS = ("male", "age", "joy", "glamour", "weight", "beard")

_BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")

#: Before _settle, which takes some attributes from some faces: what it makes rarer starts more frequent. Bald is raised
#: from CelebA's 2.2 % so that there is something to learn.
_SHARES = FREQUENCIES | {
    "5_o_Clock_Shadow": 0.125,
    "Bald": 0.052,
    "Bangs": 0.16,
    "Black_Hair": 0.26,
    "Blond_Hair": 0.155,
    "Brown_Hair": 0.22,
    "Goatee": 0.07,
    "Gray_Hair": 0.05,
    "Mustache": 0.045,
    "Receding_Hairline": 0.1,
    "Sideburns": 0.073,
    "Straight_Hair": 0.23,
    "Wavy_Hair": 0.33,
}

#: Traits: the attributes that share one normal variable, from its lower to its upper end and so never two of them at
#: once (None: none of them), and the loadings of that variable on the factors.
_TRAITS: tuple[tuple[tuple[str | None, ...], dict[str, float]], ...] = (
    ((None, "Male"), {"male": 1.0}),
    ((None, "Young"), {"age": -0.93, "male": -0.3}),
    ((None, "Attractive"), {"age": -0.45, "male": -0.4, "weight": -0.35, "glamour": 0.25}),
    ((None, "Wearing_Lipstick"), {"male": -0.96, "glamour": 0.25}),
    ((None, "Heavy_Makeup"), {"male": -0.86, "glamour": 0.45}),
    ((None, "Wearing_Earrings"), {"male": -0.65, "glamour": 0.35}),
    ((None, "Wearing_Necklace"), {"male": -0.6, "glamour": 0.3}),
    ((None, "Rosy_Cheeks"), {"male": -0.6, "glamour": 0.4}),
    ((None, "Arched_Eyebrows"), {"male": -0.6, "glamour": 0.3}),
    ((None, "Wearing_Necktie"), {"male": 0.75, "age": 0.3}),
    ((None, "Bushy_Eyebrows"), {"male": 0.45}),
    ((None, "Bags_Under_Eyes"), {"male": 0.4, "age": 0.3}),
    (("Straight_Hair", None, "Wavy_Hair"), {"male": -0.4}),
    (("Black_Hair", "Brown_Hair", None, "Blond_Hair"), {"male": -0.35}),
    ((None, "Gray_Hair"), {"age": 0.85, "male": 0.3}),
    ((None, "Bald"), {"male": 0.75, "age": 0.3}),
    ((None, "Receding_Hairline"), {"male": 0.4, "age": 0.4}),
    ((None, "Bangs"), {"male": -0.4, "age": -0.2}),
    ((None, "Wearing_Hat"), {"male": 0.3}),
    ((None, "Smiling"), {"joy": 0.85, "male": -0.15}),
    ((None, "High_Cheekbones"), {"joy": 0.75, "male": -0.25}),
    ((None, "Mouth_Slightly_Open"), {"joy": 0.7}),
    (("Oval_Face", None, "Chubby"), {"weight": 0.8, "male": 0.25, "age": 0.2}),
    ((None, "Double_Chin"), {"weight": 0.75, "male": 0.2, "age": 0.3}),
    (("Pointy_Nose", None, "Big_Nose"), {"male": 0.5, "age": 0.3}),
    ((None, "Big_Lips"), {"male": -0.2}),
    ((None, "Eyeglasses"), {"male": 0.2, "age": 0.4}),
    ((None, "Narrow_Eyes"), {"joy": 0.2}),
    ((None, "Pale_Skin"), {"male": -0.1}),
    ((None, "Blurry"), {}),
    ((None, "No_Beard"), {"male": -0.6, "beard": -0.75}),
    *(((None, kind), {"male": 0.6, "beard": 0.65}) for kind in _BEARDS),
)


def _trait_tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Loadings (traits, factors), their residual (traits,), upper ends of bands and their columns (traits, bands)."""
    bands = max(len(names) for names, _ in _TRAITS)
    loadings = np.array([[weights.get(factor, 0.0) for factor in _FACTORS] for _, weights in _TRAITS])
    ends = np.full((len(_TRAITS), bands), np.inf)
    columns = np.full((len(_TRAITS), bands), len(CELEBA40))  # the column after the last takes what is no attribute
    for trait, (names, _) in enumerate(_TRAITS):
        shares = [0.0 if name is None else _SHARES[name] for name in names]
        shares[names.index(None)] = 1 - sum(shares)
        for band, name in enumerate(names):
            below = sum(shares[: band + 1])
            ends[trait, band] = NormalDist().inv_cdf(below) if band + 1 < len(names) else np.inf
            columns[trait, band] = len(CELEBA40) if name is None else CELEBA40.index(name)
    residual = np.sqrt(np.clip(1 - (loadings**2).sum(1), 0, None))
    return loadings, residual, ends, columns


_LOADINGS, _RESIDUAL, _ENDS, _COLUMNS = _trait_tables()


def sample_attributes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Attributes of `count` faces: uint8 0/1 (count, 40), columns as in CELEBA40.

    Frequencies are within a few points of CelebA's (Bald is raised from 2.2 % to about 5 %, so that there is
    something to learn), and so are the strong dependencies: on gender, on age, of a smile and the open mouth, and of
    what hides what. Nobody has two hair colours, or hair both straight and wavy, or a kind of beard with No_Beard.
    """
    factors = rng.standard_normal((count, len(_FACTORS)))
    values = factors @ _LOADINGS.T + rng.standard_normal((count, len(_TRAITS))) * _RESIDUAL
    bands = (values[:, :, None] > _ENDS).sum(2)
    labels = np.zeros((count, len(CELEBA40) + 1), np.uint8)
    np.put_along_axis(labels, np.take_along_axis(_COLUMNS[None], bands[:, :, None], 2)[:, :, 0], 1, 1)
    _settle(dict(zip(CELEBA40, labels.T, strict=False)))
    return labels[:, :-1].copy()


def _settle(has: dict[str, np.ndarray]) -> None:
    """Take away, in place, what contradicts or hides something else; each column is uint8 (count,)."""

    def excludes(*causes: str, of: Iterable[str]) -> None:
        for cause in causes:
            for name in of:
                has[name] &= 1 - has[cause]

    for name in (*_BEARDS, "Bald"):
        has[name] &= has["Male"]
    has["No_Beard"] |= 1 - has["Male"]
    excludes(*_BEARDS, of=["No_Beard"])
    excludes("Wearing_Hat", of=["Bald", "Receding_Hairline", "Bangs"])
    excludes("Bald", of=["Receding_Hairline", "Bangs", "Gray_Hair", "Sideburns", "Straight_Hair", "Wavy_Hair"])
    excludes("Bald", "Gray_Hair", of=["Black_Hair", "Brown_Hair", "Blond_Hair"])
    excludes("Gray_Hair", of=["Young"])
    excludes("Bangs", of=["Receding_Hairline"])
    excludes("Wearing_Necktie", of=["Wearing_Necklace"])
    hidden = has["Male"] & has["Wearing_Hat"]  # short hair under a hat has no outline
    for name in ("Straight_Hair", "Wavy_Hair"):
        has[name] &= 1 - hidden


# Colours

_SKINS = ((240, 192, 156), (230, 174, 132), (212, 150, 108), (184, 122, 84), (150, 98, 68))
_PALE = (252, 236, 232)
_HAIRS: dict[str, tuple[Colour, ...]] = {
    "Black_Hair": ((30, 27, 36), (22, 22, 28)),
    "Brown_Hair": ((112, 68, 36), (98, 60, 34)),
    "Blond_Hair": ((246, 208, 96), (240, 196, 76)),
    "Gray_Hair": ((196, 198, 206), (178, 182, 192)),
}
_OTHER_HAIRS = ((206, 72, 30), (190, 54, 40), (222, 92, 40))
_BACKDROPS = ((146, 190, 214), (240, 206, 160), (206, 186, 222), (236, 196, 186), (190, 196, 204), (120, 150, 166))
_CLOTHES = (
    (84, 100, 128),
    (150, 92, 84),
    (112, 128, 104),
    (124, 104, 132),
    (196, 170, 130),
    (86, 92, 104),
    (222, 222, 214),
)
# Every sign has hues of its own: as caricature does, and so that few faces are enough to learn it from.
_BRIGHT = ((52, 104, 220), (140, 60, 190), (20, 130, 100), (240, 190, 40), (226, 62, 60))
_LIPSTICKS = ((214, 6, 60), (200, 0, 80), (190, 8, 40))
_EYESHADOWS = ((50, 90, 235), (70, 70, 220), (30, 120, 240))
_VIVID_IRISES = ((0, 200, 230), (20, 210, 140), (40, 190, 255))
_PLAIN_IRISES = ((84, 56, 40), (64, 48, 44), (92, 74, 52))
_JEWELS = ((0, 206, 190), (20, 220, 170), (0, 190, 210))
_BAGS = (88, 36, 130)
_BLUSH = (255, 60, 120)
_FRAMES = (18, 20, 52)
_INK = (52, 34, 38)
_WHITE = (255, 253, 250)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    """The colour `share` of the way from `a` to `b`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a[:3], b[:3], strict=True))


def _dark(colour: Colour, share: float = 0.25) -> Colour:
    return _mix(colour, (40, 16, 36), share)


def _light(colour: Colour, share: float = 0.3) -> Colour:
    return _mix(colour, _WHITE, share)


# Curves

_CIRCLE = np.array([(np.cos(angle), np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, 28, endpoint=False)])
_STEPS = np.linspace(0, 1, 6, endpoint=False)[:, None] ** np.arange(4)
_CATMULL_ROM = _STEPS @ (np.array([(0, 2, 0, 0), (-1, 0, 1, 0), (2, -5, 4, -1), (-1, 3, -3, 1)]) / 2)


def _smooth(points: Points, *, closed: bool = True) -> np.ndarray:
    """The Catmull-Rom curve through `points`, 6 points a segment."""
    p = np.asarray(points, float)
    around = np.concatenate([p[-1:], p, p[:2]] if closed else [p[:1], p, p[-1:]])
    windows = np.stack([around[start : len(around) - 3 + start] for start in range(4)], 1)
    curve = np.einsum("tk,skd->std", _CATMULL_ROM, windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def _mirrored(right: Points) -> np.ndarray:
    """A closed symmetric outline from its right half, given from the top middle to the bottom middle."""
    half = np.asarray(right, float)
    left = half[::-1] * (-1, 1)
    return np.concatenate([half, left[int(half[-1, 0] == 0) : len(left) - int(half[0, 0] == 0)]])


def _normals(curve: np.ndarray) -> np.ndarray:
    tangents = np.gradient(curve, axis=0)
    tangents /= np.hypot(tangents[:, 0], tangents[:, 1])[:, None] + 1e-9
    return tangents[:, ::-1] * (1, -1)


def _scalloped(curve: np.ndarray, height: float, width: float) -> np.ndarray:
    """`curve` with round bumps outwards, like curls."""
    along = np.concatenate([[0], np.hypot(*np.diff(curve, axis=0).T).cumsum()])
    even = np.linspace(0, along[-1], int(along[-1] / width * 6))
    line = np.stack([np.interp(even, along, curve[:, axis]) for axis in (0, 1)], 1)
    return line + _normals(line) * (np.abs(np.sin(even / width * np.pi)) * height)[:, None]


class Canvas:
    """A picture, SCALE times as large as the one wanted, that is painted in face units.

    `place` says where following shapes go; what lies in front of the axis of the head moves with a turn of it.
    """

    SCALE = 3
    UNIT = 55 / 218  # of the height

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
        self._pivot = np.array((0, 0.8))
        self._origin = self.centre + (np.asarray(shift) + self._pivot * zoom) * self.pixels
        self._turn = turn

    def fill(self, points: Points, colour: Colour) -> None:
        """The inside of a closed line."""
        p = np.array(points, float)
        if self._turn:
            p[:, 0] += self._turn * np.sqrt(np.clip(1 - (p[:, 0] / 1.35) ** 2, 0, 1))
        draw = self._opaque if len(colour) == 3 else self._translucent
        draw.polygon(((p - self._pivot) @ self._matrix + self._origin).ravel().tolist(), fill=colour)

    def disc(self, centre: tuple[float, float], radii: tuple[float, float] | float, colour: Colour) -> None:
        """An ellipse."""
        self.fill(_CIRCLE * radii + centre, colour)

    def glow(self, centre: tuple[float, float], radii: tuple[float, float], colour: Colour, alpha: int) -> None:
        """A soft ellipse, `alpha` in its middle."""
        for size in (1, 0.8, 0.6, 0.4):
            self.disc(centre, (radii[0] * size, radii[1] * size), (*colour[:3], alpha * 2 // 5))

    def stroke(self, points: Points, width: float, colour: Colour, *, taper: bool = True) -> None:
        """A line of `width`, as by a brush: thin at its ends if `taper`."""
        curve = np.asarray(points, float)
        half = np.full(len(curve), width / 2)
        if taper:
            half *= np.sqrt(np.sin(np.linspace(0.08, np.pi - 0.08, len(curve))))
        side = _normals(curve) * half[:, None]
        self.fill(np.concatenate([curve + side, (curve - side)[::-1]]), colour)


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

        def pick(colours: Sequence[Colour]) -> Colour:
            chosen = colours[int(rng.random() * len(colours))]
            return tuple(int(np.clip(part + vary(8), 0, 255)) for part in chosen)

        named = [colours for name, colours in _HAIRS.items() if name in shows]
        tone = rng.random() * (len(_SKINS) - 1)
        skin = _mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone % 1)
        crop = rng.random() < 0.08
        backdrop = pick(_BACKDROPS)
        return cls(
            shows=shows,
            outline=_head_outline(shows),
            long_hair="Male" not in shows and not (crop and "Bangs" not in shows),
            skin=_PALE if "Pale_Skin" in shows else skin,
            hair=pick(named[0] if named else _OTHER_HAIRS),
            lips=pick(_LIPSTICKS) if "Wearing_Lipstick" in shows else pick([_mix(skin, (190, 96, 84), 0.45)]),
            iris=pick(_VIVID_IRISES if "Attractive" in shows else _PLAIN_IRISES),
            eyeshadow=pick(_EYESHADOWS),
            accent=pick(_BRIGHT),
            jewel=pick(_JEWELS),
            cloth=pick(_CLOTHES),
            backdrop=(_light(backdrop, rng.random() * 0.5), _dark(backdrop, rng.random() * 0.3)),
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
    return _smooth(_mirrored([*top, (cheek, 0.4), (jaw, 0.9), (chin, length - 0.1), (0, length)]))


# Parts, from back to front

_SIDES = ((-1, 1), (1, 1))  # factors that draw a shape on the left and on the right


def _scenery(canvas: Canvas, face: Face) -> None:
    tint = (*_light(face.backdrop[0], 0.55), 90)
    for x, y, size, choice in face.scenery:
        place = (4.4 * x - 2.2, 4.6 * y - 2.3)
        if face.kind["scenery"] < 0.4:
            canvas.disc(place, 0.2 + 0.5 * size, tint if choice < 0.5 else (*face.accent, 50))
        elif face.kind["scenery"] < 0.7:
            lean = face.kind["parting"] - 0.5
            canvas.stroke([(place[0] - lean, -3), (place[0] + lean, 3)], 0.1 + 0.4 * size, tint, taper=False)


def _body(canvas: Canvas, face: Face) -> None:
    male = "Male" in face.shows
    neck, reach = (0.56, 1.75) if male else (0.36, 1.4)
    shade = _dark(face.skin, 0.3)
    canvas.fill(
        _mirrored([(0, 0.8), (neck, 0.9), (neck, 1.6), (neck + 0.12, 1.8), (neck + 0.2, 2.9), (0, 2.9)]), face.skin
    )
    canvas.fill(_smooth([(-neck, 1.2), (neck, 1.2), (neck, 1.55), (0.1 * face.light, 1.8), (-neck, 1.55)]), shade)
    shoulders = [(neck + 0.04, 1.68), (neck + 0.4, 1.82), (reach, 2.1), (reach + 0.25, 2.9)]
    dip = 2.0 if male else 2.3
    canvas.fill(_mirrored([(0, dip), (neck * 0.7, dip - 0.1), *shoulders, (0, 2.9)]), face.cloth)
    canvas.fill(
        _mirrored([(0, dip + 0.1), (neck * 0.8, dip - 0.04), (neck + 0.02, 1.7), (neck * 0.7, dip - 0.1), (0, dip)]),
        _dark(face.cloth, 0.3),
    )


def _necktie(canvas: Canvas, face: Face) -> None:
    if "Wearing_Necktie" not in face.shows:
        return
    canvas.fill(_mirrored([(0, 1.6), (0.6, 1.62), (0.75, 1.78), (0.3, 2.9), (0, 2.9)]), _WHITE)
    for side in _SIDES:
        canvas.fill(np.array([(0.3, 2.9), (0.7, 1.72), (1.1, 1.84), (0.75, 2.9)]) * side, _dark(face.cloth, 0.55))
        canvas.stroke(np.array([(0.14, 1.78), (0.4, 2.0), (0.66, 1.74)]) * side, 0.05, (190, 190, 200))
    canvas.fill(_mirrored([(0, 1.66), (0.2, 1.68), (0.13, 1.9), (0.3, 2.9), (0, 2.9)]), face.accent)
    canvas.fill(_mirrored([(0, 1.88), (0.14, 1.86), (0.13, 1.94), (0, 1.97)]), _dark(face.accent, 0.4))


def _necklace(canvas: Canvas, face: Face) -> None:
    if "Wearing_Necklace" not in face.shows:
        return
    angles = np.linspace(-1.3, 1.3, 11)
    for x, y in zip(0.66 * np.sin(angles), 1.52 + 0.48 * np.cos(angles), strict=True):
        canvas.disc((x, y), 0.115, (150, 110, 20))
        canvas.disc((x - 0.01, y - 0.01), 0.095, (255, 214, 40))
        canvas.disc((x - 0.02, y - 0.03), 0.025, _WHITE)
    canvas.disc((0, 2.1), 0.17, _dark(face.jewel, 0.4))
    canvas.disc((0, 2.09), 0.12, face.jewel)


def _double_chin(canvas: Canvas, face: Face) -> None:
    if "Double_Chin" in face.shows:
        low = face.outline[:, 1].max()
        canvas.disc((0, low - 0.09), (0.8, 0.5), _dark(face.skin, 0.6))
        canvas.disc((0, low - 0.12), (0.75, 0.45), _light(face.skin, 0.15))


def _hair_behind(canvas: Canvas, face: Face) -> None:
    if "Bald" in face.shows:
        return
    canvas.fill(_hair_outline(face), _dark(face.hair, 0.22) if face.long_hair else face.hair)


def _hair_outline(face: Face) -> np.ndarray:
    if face.long_hair:
        if "Straight_Hair" in face.shows:
            top = _smooth([(0, -1.48), (0.62, -1.38), (1.06, -0.9), (1.18, -0.1), (1.2, 0.9)], closed=False)
            return _mirrored(
                [*top, (1.26, 2.15), (1.06, 2.08), (0.98, 2.24), (0.76, 2.1), (0.6, 2.2), (0.4, 1.2), (0, 1.2)]
            )
        if "Wavy_Hair" in face.shows:
            upper = [(0, -1.55), (0.75, -1.42), (1.18, -0.9), (1.32, -0.1), (1.4, 0.8)]
            lower = [(1.4, 1.5), (1.1, 1.95), (0.5, 1.9), (0, 1.2)]
            return _scalloped(_smooth(_mirrored(upper + lower)), 0.15, 0.36)
        half = [(0, -1.52), (0.7, -1.4), (1.14, -0.9), (1.26, -0.1), (1.3, 0.6), (1.1, 1.12), (0.7, 1.1), (0, 1)]
        return _smooth(_mirrored(half))
    if "Straight_Hair" in face.shows:
        angles = np.linspace(0, np.pi, 19)
        reach = np.where(np.arange(19) % 2, 1.26 + 0.36 * np.sin(angles), 1.2)
        return np.stack([np.cos(angles) * reach * 0.84, 0.1 - np.sin(angles) * reach * 1.12], 1)
    cap = _smooth(_mirrored([(0, -1.45), (0.6, -1.38), (1, -0.95), (1.07, -0.3), (1.02, 0.2), (0, 0.3)]))
    return _scalloped(cap, 0.19, 0.42) if "Wavy_Hair" in face.shows else cap


def _ears(canvas: Canvas, face: Face) -> None:
    for side in (-1, 1):
        canvas.disc((side * 1.0, 0.14), (0.16, 0.26), _dark(face.skin, 0.22 if side == face.light else 0.32))
        canvas.disc((side * 1.0, 0.14), (0.1, 0.18), _dark(face.skin, 0.08))


def _head(canvas: Canvas, face: Face) -> None:
    canvas.fill(face.outline, _dark(face.skin, 0.24))
    canvas.fill(face.outline * (0.95, 0.985) + (0.045 * face.light, -0.015), face.skin)
    canvas.glow((0.3 * face.light, -0.5), (0.5, 0.35), _light(face.skin), 60)
    if "Bald" in face.shows:
        canvas.glow((0.3 * face.light, -0.95), (0.42, 0.2), _WHITE, 190)


def _cheeks(canvas: Canvas, face: Face) -> None:
    for side in _SIDES:
        if "High_Cheekbones" in face.shows:
            hollow = _smooth([(0.93, 0.3), (0.6, 0.56), (0.46, 0.86), (0.66, 0.86), (0.86, 0.62)])
            canvas.fill(hollow * side, (*_mix(face.skin, (110, 24, 30), 0.6), 150))
            canvas.glow((0.64 * side[0], 0.28), (0.3, 0.17), _WHITE, 185)
        if "Rosy_Cheeks" in face.shows:
            canvas.glow((0.6 * side[0], 0.5), (0.32, 0.28), _BLUSH, 220)


def _age_lines(canvas: Canvas, face: Face) -> None:
    if "Young" in face.shows:
        return
    ink = (*_dark(face.skin, 0.62), 210)
    for y in (-0.58, -0.74):
        canvas.stroke(
            _smooth([(-0.5, y + 0.03), (-0.2, y - 0.02), (0.2, y + 0.02), (0.5, y - 0.02)], closed=False), 0.07, ink
        )
    for side in _SIDES:
        fold = _smooth([(0.24, 0.46), (0.42, 0.62), (0.54, 0.84), (0.52, 1.06)], closed=False)
        canvas.stroke(fold * side, 0.09, ink)
        for end in ((0.92, -0.16), (0.94, 0), (0.9, 0.15)):
            canvas.stroke(np.array([(0.72, 0), np.add((0.72, 0), end) / 2, end]) * side, 0.055, ink)


def _stubble(canvas: Canvas, face: Face) -> None:
    if "5_o_Clock_Shadow" not in face.shows:
        return
    jaw = face.outline[face.outline[:, 1] > 0.3] * (0.97, 0.99)
    lip = _smooth([(-0.8, 0.35), (-0.55, 0.62), (0, 0.58), (0.55, 0.62), (0.8, 0.35)], closed=False)
    canvas.fill(np.concatenate([jaw, lip]), (52, 58, 82, 120))
    right = face.outline[: len(face.outline) // 2]
    for y in (0.74, 0.96, 1.2):
        width = np.interp(y, right[:, 1], right[:, 0])
        for x in np.linspace(-0.84, 0.84, 9):
            canvas.disc((x * width, y + 0.05 * np.cos(9 * x)), 0.022, (36, 36, 52, 150))


def _beard(canvas: Canvas, face: Face) -> None:
    colour = _dark(face.hair, 0.18)
    low = face.outline[:, 1].max()
    if "No_Beard" not in face.shows:
        jaw = face.outline[face.outline[:, 1] > 0.42]
        canvas.fill(np.concatenate([jaw * (1.02, 1.03), jaw[::-1] * (0.8, 0.86) + (0, 0.06)]), colour)
    if "Sideburns" in face.shows:
        for side in _SIDES:
            canvas.fill(np.array([(0.78, -0.4), (1.04, -0.4), (1.02, 0.5), (0.66, 0.66)]) * side, colour)
    if "Goatee" in face.shows:
        canvas.fill(
            _smooth(_mirrored([(0, 1.1), (0.3, 1.12), (0.38, low - 0.1), (0.14, low + 0.24), (0, low + 0.3)])), colour
        )
    if "Mustache" in face.shows:
        for side in _SIDES:
            wing = _smooth([(0, 0.66), (0.2, 0.6), (0.42, 0.72), (0.62, 0.66), (0.5, 0.86), (0.26, 0.84), (0, 0.78)])
            canvas.fill(wing * side, colour)


def _eyes(canvas: Canvas, face: Face) -> None:
    narrow, pretty = "Narrow_Eyes" in face.shows, "Attractive" in face.shows
    height = 0.05 if narrow else 0.23 if pretty else 0.19
    across = np.linspace(-1, 1, 15)
    lids = np.sqrt(1 - across**2) ** 1.2
    for side in (-1, 1):
        middle = np.array((side * 0.43, side * face.askew * 0.6))
        x = across * 0.28
        upper, lower = np.stack([x, -height * lids], 1), np.stack([x, 0.8 * height * lids], 1)
        if "Heavy_Makeup" in face.shows:
            lid = np.concatenate([np.stack([x * 1.25, -0.3 * lids - 0.02], 1), lower[::-1] * (1.25, 1.6)])
            canvas.fill(lid + middle, face.eyeshadow)
        if "Bags_Under_Eyes" in face.shows:
            bag = np.concatenate([np.stack([x, 0.4 * lids + 0.06], 1), (lower + (0, 0.05))[::-1]])
            canvas.fill(bag + middle, (*_mix(_dark(face.skin, 0.4), _BAGS, 0.7), 235))
        canvas.fill(np.concatenate([upper, lower[::-1]]) + middle, _WHITE)
        for radius, colour in ((0.19 if pretty else 0.1, face.iris), (0.075 if pretty else 0.05, (16, 12, 18))):
            ball = _CIRCLE * radius
            limit = np.interp(ball[:, 0], x, height * lids)
            ball[:, 1] = np.clip(ball[:, 1], -limit, 0.8 * limit)
            canvas.fill(ball + middle, colour)
        canvas.stroke(upper + middle, 0.075 if "Male" not in face.shows else 0.055, _INK)
        if "Male" not in face.shows:
            for start, end in (((0.8, -0.6), (1.32, -1.0)), ((1, -0.1), (1.5, -0.45))):
                lash = np.array([start, np.add(start, end) / 2, end]) * (0.26 * side, 0.2)
                canvas.stroke(lash + middle, 0.05, _INK)
        if pretty and not narrow:
            canvas.disc((middle[0] + 0.06 * face.light, middle[1] - 0.08), 0.05, _WHITE)
        canvas.disc((middle[0] - 0.05 * face.light, middle[1] + min(0.05, height / 3)), 0.025, _WHITE)


def _eyebrows(canvas: Canvas, face: Face) -> None:
    width = 0.26 if "Bushy_Eyebrows" in face.shows else 0.08
    arch = 0.28 if "Arched_Eyebrows" in face.shows else 0.02
    colour = _dark(face.hair, 0.6) if "Young" in face.shows else (226, 226, 232)
    for side in _SIDES:
        brow = _smooth([(0.2, -0.37), (0.36, -0.4 - arch * 0.75), (0.56, -0.4 - arch), (0.8, -0.28)], closed=False)
        canvas.stroke(brow * side + (0, side[0] * face.askew), width, colour)


def _nose(canvas: Canvas, face: Face) -> None:
    shade, shine = _dark(face.skin, 0.5), _light(face.skin, 0.6)
    big, pointy = "Big_Nose" in face.shows, "Pointy_Nose" in face.shows
    if pointy:
        tip = 0.4 * -face.light
        canvas.fill([(0.02, -0.12), (tip, 0.56), (0, 0.64), (-tip * 0.35, 0.56)], shade)
        canvas.fill([(-tip * 0.2, -0.1), (0.02, -0.12), (tip * 0.25, 0.56), (-tip * 0.5, 0.56)], shine)
    if big:
        for side in (-1, 1):
            canvas.disc((side * 0.26, 0.48), (0.15, 0.13), shade)
        canvas.disc((0, 0.42), (0.31, 0.27), shade)
        canvas.disc((0.02 * face.light, 0.39), (0.28, 0.24), _mix(face.skin, (244, 70, 56), 0.45))
        canvas.glow((0.07 * face.light, 0.33), (0.12, 0.09), _WHITE, 150)
    if not big and not pointy:
        canvas.stroke(_smooth([(-0.12, 0.4), (-0.08, 0.48), (0.08, 0.48), (0.12, 0.4)], closed=False), 0.06, shade)


def _mouth(canvas: Canvas, face: Face) -> None:
    smiling, opened = "Smiling" in face.shows, "Mouth_Slightly_Open" in face.shows
    wide = 0.52 if smiling else 0.32
    thick = 0.22 if "Big_Lips" in face.shows else 0.085
    x = np.linspace(-1, 1, 17)
    bow = 1 - x**2
    middle = 0.9 + (0.12 - 0.32 * x**2 if smiling else 0.01 * x**2) + 0.8 * face.askew * x
    gap = (0.24 if smiling else 0.22) * bow if opened else 0 * x
    top = middle - thick * bow * (1 - 0.35 * np.exp(-((x / 0.18) ** 2)))
    bottom = middle + gap + 1.15 * thick * bow

    def between(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        return np.stack([np.concatenate([x, x[::-1]]) * wide, np.concatenate([high, low[::-1]])], 1)

    canvas.fill(between(top, bottom), face.lips)
    if opened:
        canvas.fill(between(middle, middle + gap), (96, 16, 28))
        canvas.fill(between(middle, middle + gap * 0.45), _WHITE)
    else:
        canvas.stroke(np.stack([x * wide, middle], 1), 0.05, _dark(face.lips, 0.65))
    canvas.glow((0.06 * face.light, float(bottom[8] - 0.5 * thick)), (0.12, thick * 0.4), _WHITE, 80)
    if smiling:
        for side in (0, -1):
            end = np.array((x[side] * wide, middle[side]))
            canvas.stroke(end + [(-0.05, -0.06), (0.02 * x[side], 0.01), (0.04, 0.07)], 0.04, _dark(face.skin, 0.5))


def _hair_in_front(canvas: Canvas, face: Face) -> None:
    if "Bald" in face.shows:
        return
    lean = 0.5 * face.kind["parting"] - 0.25
    if "Bangs" in face.shows:
        teeth = np.linspace(-0.86, 0.86, 13)
        fringe = list(zip(teeth, np.where(np.arange(13) % 2, -0.58, -0.4), strict=True))
        hairline = np.array([(-0.99, 0.0), *fringe, (0.99, 0.0)])
    elif "Receding_Hairline" in face.shows:
        half = [(0, -0.86), (0.2, -1.04), (0.52, -1.2), (0.86, -0.86), (1, -0.2)]
        hairline = _smooth([*((-x, y) for x, y in half[:0:-1]), *half], closed=False)
    else:
        hairline = _smooth(
            [(-0.99, 0.0), (-0.84, -0.5), (-0.42, -0.78), (lean, -0.98), (0.46, -0.76), (0.84, -0.5), (0.99, 0.0)],
            closed=False,
        )
    over = _smooth(
        [(1.04, 0.02), (1.04, -0.5), (0.82, -1.08), (0, -1.42), (-0.82, -1.08), (-1.04, -0.5), (-1.04, 0.02)],
        closed=False,
    )
    canvas.fill(np.concatenate([hairline, over]), face.hair)
    if face.long_hair:
        lock = _smooth([(0.72, -0.86), (0.93, -0.3), (0.97, 0.3), (1.02, 0.85), (1.26, 0.8), (1.26, 0.0), (1.1, -0.8)])
        for side in _SIDES:
            canvas.fill(lock * side, face.hair)
    _strands(canvas, face)


def _strands(canvas: Canvas, face: Face) -> None:
    shine, shade = (*_light(face.hair, 0.4), 150), (*_dark(face.hair, 0.5), 150)
    arc = _smooth([(0.1, -1.24), (0.5, -1.12), (0.78, -0.86)], closed=False)
    canvas.stroke(arc * (face.light, 1), 0.1, shine)
    if "Straight_Hair" in face.shows:
        for x in np.linspace(-0.8, 0.8, 7):
            top, low = np.array((x * 0.75, -1.36 + 0.3 * x * x)), np.array((x * 1.1, -0.86 + 0.5 * x * x))
            canvas.stroke(np.linspace(top, low, 3), 0.07, shine)
    if not face.long_hair:
        return
    down = np.linspace(0, 1, 25)
    for side in _SIDES:
        for start in (1.03, 1.12):
            if "Wavy_Hair" in face.shows:
                lock = np.stack([start + 0.12 * down + 0.07 * np.sin(down * 16), -0.5 + 2.2 * down], 1)
                canvas.stroke(lock * side, 0.06, shine if start < 1.1 else shade)
            elif "Straight_Hair" in face.shows:
                canvas.stroke(
                    np.stack([start + 0.02 * down, -0.5 + 2.5 * down], 1) * side, 0.05, shine if start < 1.1 else shade
                )


def _hat(canvas: Canvas, face: Face) -> None:
    if "Wearing_Hat" not in face.shows:
        return
    band = _dark(face.accent, 0.4)
    dome = _smooth(_mirrored([(0, -1.72), (0.7, -1.58), (1.06, -1.1), (1.13, -0.6), (0.6, -0.66), (0, -0.68)]))
    if face.kind["hat"] < 0.34:  # a woollen cap
        canvas.disc((0, -1.78), 0.24, _WHITE)
        canvas.fill(dome, face.accent)
        canvas.fill(
            _smooth(_mirrored([(0, -0.96), (0.7, -0.93), (1.14, -0.8), (1.18, -0.5), (0.7, -0.58), (0, -0.62)])), band
        )
    elif face.kind["hat"] < 0.67:  # a cap with a visor
        canvas.fill(dome, face.accent)
        canvas.stroke([(0, -1.7), (0.0, -1.2), (0, -0.7)], 0.06, band)
        canvas.fill(_smooth(_mirrored([(0, -0.9), (0.75, -0.82), (1.2, -0.52), (0.8, -0.54), (0, -0.6)])), band)
    else:  # a hat with a brim
        canvas.fill(_smooth(_mirrored([(0, -1.62), (0.6, -1.7), (0.86, -1.3), (0.98, -0.7), (0, -0.6)])), face.accent)
        canvas.fill(_mirrored([(0, -1.02), (0.93, -0.98), (1.0, -0.7), (0, -0.66)]), band)
        canvas.fill(_smooth(_mirrored([(0, -0.82), (1, -0.8), (1.6, -0.66), (1, -0.56), (0, -0.54)])), face.accent)


def _eyeglasses(canvas: Canvas, face: Face) -> None:
    if "Eyeglasses" not in face.shows:
        return
    rim = _CIRCLE if face.kind["glasses"] < 0.5 else np.sign(_CIRCLE) * np.abs(_CIRCLE) ** 0.45
    closed = np.concatenate([rim, rim[:1]]) * (0.39, 0.36)
    for side in (-1, 1):
        lens = closed + (side * 0.44, 0.02)
        canvas.fill(lens, (120, 200, 255, 90))
        canvas.stroke(lens, 0.13, _FRAMES, taper=False)
        canvas.stroke([(side * 0.8, -0.06), (side * 0.9, -0.09), (side * 1.04, -0.1)], 0.1, _FRAMES, taper=False)
        canvas.stroke(
            [(side * 0.44 - 0.16, 0.14), (side * 0.44, -0.02), (side * 0.44 + 0.14, -0.2)], 0.05, (255, 255, 255, 130)
        )
    canvas.stroke([(-0.1, -0.03), (0, -0.08), (0.1, -0.03)], 0.1, _FRAMES, taper=False)


def _earrings(canvas: Canvas, face: Face) -> None:
    if "Wearing_Earrings" not in face.shows:
        return
    edge = _dark(face.jewel, 0.4)
    for side in (-1, 1):
        x = side * 1.1
        if face.kind["earrings"] < 0.5:
            hoop = np.concatenate([_CIRCLE, _CIRCLE[:1]]) * (0.2, 0.26) + (x, 0.68)
            canvas.stroke(hoop, 0.17, edge, taper=False)
            canvas.stroke(hoop, 0.11, face.jewel, taper=False)
        else:
            drop = np.array([(0, 0.36), (0.2, 0.74), (0, 0.96), (-0.2, 0.74)])
            canvas.fill(drop + (x, 0), edge)
            canvas.fill(drop * (0.72, 0.8) + (x, 0.14), face.jewel)
        canvas.disc((x - 0.03, 0.4), 0.05, _WHITE)


Part = Callable[[Canvas, Face], None]

#: Back to front: each part, and how far it lies in front of the axis of the head (None: it does not move with it).
_PARTS: tuple[tuple[Part, float | None], ...] = (
    (_scenery, None),
    (_hair_behind, -0.5),
    (_body, None),
    (_necklace, None),
    (_necktie, None),
    (_double_chin, 0.3),
    (_ears, -0.2),
    (_head, 0),
    (_stubble, 0.3),
    (_cheeks, 0.8),
    (_age_lines, 0.8),
    (_eyes, 1),
    (_beard, 0.4),
    (_mouth, 1),
    (_nose, 1.4),
    (_hair_in_front, 0.3),
    (_eyebrows, 1),
    (_hat, 0.3),
    (_eyeglasses, 1),
    (_earrings, 0),
)


def draw_face(attributes: np.ndarray, rng: np.random.Generator, size: tuple[int, int] = SIZE) -> Image.Image:
    """A face with `attributes`, uint8 0/1 (40,) in the order of CELEBA40, as an RGB image of `size` (height, width).

    All that is not an attribute comes from `rng`: pose, scale, skin, colours, light, background and noise.
    """
    face = Face.of(attributes, rng)
    canvas = Canvas(size, *face.backdrop)
    for part, depth in _PARTS:
        if depth is None:
            canvas.place(face.zoom, 0, face.shift, 0)
        else:
            canvas.place(face.zoom, face.roll, face.shift, face.turn * depth)
        part(canvas, face)
    return _photograph(canvas, face, rng)


def _photograph(canvas: Canvas, face: Face, rng: np.random.Generator) -> Image.Image:
    """What a camera makes of the drawing: exposure, a slope and a tint of light, blur and noise."""
    image = canvas.image.reduce(canvas.SCALE)
    if "Blurry" in face.shows:
        image = image.filter(ImageFilter.GaussianBlur(image.height * 3.4 / SIZE[0]))
    gain, slope, fall = 1 + rng.uniform(-0.1, 0.1), rng.uniform(0.02, 0.12) * face.light, rng.uniform(-0.06, 0.06)
    tint = 1 + rng.uniform(-0.03, 0.03, 3)
    light = gain + np.linspace(-slope, slope, image.width) + np.linspace(-fall, fall, image.height)[:, None]
    noise = rng.standard_normal((image.height, image.width), np.float32) * np.float32(rng.uniform(1, 4))
    pixels = np.asarray(image) * light.astype(np.float32)[:, :, None]
    pixels *= tint.astype(np.float32)
    pixels += noise[:, :, None]
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))


def _numbered_face(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, Image.Image]:
    rng = np.random.default_rng((seed, index))
    attributes = sample_attributes(1, rng)[0]
    return attributes, draw_face(attributes, rng, size)


def draw_faces(count: int, seed: int, size: tuple[int, int] = SIZE) -> Iterator[tuple[np.ndarray, Image.Image]]:
    """`count` faces: their attributes, uint8 (40,), and RGB images of `size` (height, width).

    Face i depends on `seed` and i alone.
    """
    return (_numbered_face(index, seed, size) for index in range(count))


# CelebA's layout


def write_celeba(
    folder: Path,
    count: int,
    seed: int,
    size: tuple[int, int] = SIZE,
    test_share: float = 0.1,
    valid_share: float = 0.1,
    jobs: int = 1,
) -> None:
    """Write `count` faces to `folder` as CelebA comes: a zip of JPEGs, the attribute list and the partition.

    The first faces are for training, the next `valid_share` of them for validation, the last `test_share` for the test.
    The same arguments give the same bytes with any number of `jobs`, the processes that draw.
    """
    names = [f"{index + 1:06d}.jpg" for index in range(count)]
    tested, validated = round(count * test_share), round(count * valid_share)
    if tested + validated > count:
        raise ValueError("test_share and valid_share leave less than nothing to train on")
    parts = [0] * (count - tested - validated) + [1] * validated + [2] * tested
    files.make_folder(folder)
    rows = []
    with files.replacing(folder / "img_align_celeba.zip") as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, (attributes, jpeg) in zip(names, _encoded_faces(count, seed, size, jobs), strict=True):
            # ZipInfo's own time is that of 1980, not that of the clock: equal faces make equal archives.
            archive.writestr(zipfile.ZipInfo(f"img_align_celeba/{name}"), jpeg)
            rows.append(f"{name} " + " ".join(f"{2 * int(value) - 1:2d}" for value in attributes))
    listing = "\n".join([str(count), " ".join(CELEBA40) + " ", *rows]) + "\n"
    files.write(folder / "list_attr_celeba.txt", listing.encode())
    partition = "".join(f"{name} {part}\n" for name, part in zip(names, parts, strict=True))
    files.write(folder / "list_eval_partition.txt", partition.encode())


def _encoded_faces(count: int, seed: int, size: tuple[int, int], jobs: int) -> Iterator[tuple[np.ndarray, bytes]]:
    encode = partial(_encoded_face, seed=seed, size=size)
    if jobs == 1:
        yield from map(encode, range(count))
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(encode, range(count), chunksize=32)


def _encoded_face(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, bytes]:
    attributes, image = _numbered_face(index, seed, size)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=92)
    return attributes, jpeg.getvalue()
