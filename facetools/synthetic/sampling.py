"""Attributes with CelebA's frequencies and its strong dependencies."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import NormalDist

import numpy as np

from facetools.table.attributes import CELEBA40, FREQUENCIES

#: The hidden factors of a Gaussian copula: what moves together loads on the same ones.
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
