"""Sample attributes with CelebA's frequencies and its strongest dependencies.

The model is a Gaussian copula. Each trait, such as hair texture, is a normal variable that depends on a few hidden
factors, such as gender and age. Thresholds divide its range into bands, one per attribute, with the frequencies of
those attributes. Finally, contradictions are removed: a bald person has no hair color.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist

import numpy as np

from facetools.table.attributes import CELEBA40, FREQUENCIES

#: The hidden factors of the copula. Attributes that occur together load on the same factors.
_FACTORS = ("male", "age", "joy", "glamour", "weight", "beard")

_BEARDS = ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns")

#: Frequencies before `_remove_contradictions`, which makes some attributes rarer. Bald is more frequent than in CelebA
#: (2.2%), so that a small data set has enough examples.
_FREQUENCIES = FREQUENCIES | {
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

#: The traits. Each has mutually exclusive attributes, from the lower to the upper end of its variable (None: no
#: attribute), and the loadings of the variable on the factors.
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
    """The traits as arrays: loadings (traits, factors), residual standard deviations (traits,), and for each band its
    upper threshold and the column of its attribute (traits, bands)."""
    bands = max(len(names) for names, _ in _TRAITS)
    loadings = np.array([[weights.get(factor, 0.0) for factor in _FACTORS] for _, weights in _TRAITS])
    thresholds = np.full((len(_TRAITS), bands), np.inf)
    columns = np.full((len(_TRAITS), bands), len(CELEBA40))  # an extra column for no attribute
    for trait, (names, _) in enumerate(_TRAITS):
        frequencies = [0.0 if name is None else _FREQUENCIES[name] for name in names]
        frequencies[names.index(None)] = 1 - sum(frequencies)
        for band, name in enumerate(names):
            cumulative = sum(frequencies[: band + 1])
            thresholds[trait, band] = NormalDist().inv_cdf(cumulative) if band + 1 < len(names) else np.inf
            columns[trait, band] = len(CELEBA40) if name is None else CELEBA40.index(name)
    residual = np.sqrt(np.clip(1 - (loadings**2).sum(1), 0, None))
    return loadings, residual, thresholds, columns


_LOADINGS, _RESIDUAL, _THRESHOLDS, _COLUMNS = _trait_tables()


def sample_attributes(count: int, rng: np.random.Generator) -> np.ndarray:
    """Sample the attributes of `count` faces: uint8 0/1 (count, 40), columns as in CELEBA40.

    Frequencies are within 3 percentage points of those in CelebA; Bald is raised from 2.2% to about 5%. The strongest
    dependencies of CelebA hold: on gender and age, and of smile, open mouth and high cheekbones. Nobody has two hair
    colors, hair both straight and wavy, or a kind of beard together with No_Beard.
    """
    factors = rng.standard_normal((count, len(_FACTORS)))
    values = factors @ _LOADINGS.T + rng.standard_normal((count, len(_TRAITS))) * _RESIDUAL
    bands = (values[:, :, None] > _THRESHOLDS).sum(2)
    labels = np.zeros((count, len(CELEBA40) + 1), np.uint8)
    np.put_along_axis(labels, np.take_along_axis(_COLUMNS[None], bands[:, :, None], 2)[:, :, 0], 1, 1)
    _remove_contradictions(dict(zip(CELEBA40, labels.T, strict=False)))
    return labels[:, :-1].copy()


def _remove_contradictions(has: dict[str, np.ndarray]) -> None:
    """Clear, in place, attributes that contradict or are hidden by another one; `has` maps names to uint8 (count,)."""

    def exclude(names: Iterable[str], *causes: str) -> None:
        """Clear the attributes `names` of faces that have any of `causes`."""
        for cause in causes:
            for name in names:
                has[name] &= 1 - has[cause]

    for name in (*_BEARDS, "Bald"):
        has[name] &= has["Male"]
    has["No_Beard"] |= 1 - has["Male"]
    exclude(["No_Beard"], *_BEARDS)
    exclude(["Bald", "Receding_Hairline", "Bangs"], "Wearing_Hat")
    exclude(["Receding_Hairline", "Bangs", "Gray_Hair", "Sideburns", "Straight_Hair", "Wavy_Hair"], "Bald")
    exclude(["Black_Hair", "Brown_Hair", "Blond_Hair"], "Bald", "Gray_Hair")
    exclude(["Young"], "Gray_Hair")
    exclude(["Receding_Hairline"], "Bangs")
    exclude(["Wearing_Necklace"], "Wearing_Necktie")
    hidden = has["Male"] & has["Wearing_Hat"]  # a hat covers short hair
    for name in ("Straight_Hair", "Wavy_Hair"):
        has[name] &= 1 - hidden
