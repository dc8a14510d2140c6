"""Facial attributes: names, presets, CelebA frequencies, published accuracies and weights by frequency.

`select_attributes` parses a selection such as `paper10,Bangs`; `frequency_weights` gives the paper's attribute weights.
Names and their order are CelebA's (Liu, Luo, Wang and Tang: Deep Learning Face Attributes in the Wild, 2015).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

_DATA = json.loads(files("facetools.table").joinpath("attributes.json").read_text("utf-8"))

#: All 40 attributes of CelebA.
CELEBA40: tuple[str, ...] = tuple(_DATA["celeba40"])

#: The attributes that the paper predicts: all but Attractive, Pale_Skin and Blurry.
PAPER37: tuple[str, ...] = tuple(_DATA["paper37"])

#: The attributes that the paper's reference implementation clusters by.
PAPER10: tuple[str, ...] = tuple(_DATA["paper10"])

PRESETS: dict[str, tuple[str, ...]] = {"celeba40": CELEBA40, "paper37": PAPER37, "paper10": PAPER10}

#: Share of CelebA's faces that show each attribute, 0 to 1.
FREQUENCIES: dict[str, float] = _DATA["frequencies"]

#: Published test accuracies in percent, by method and attribute. "paper" and "LNets+ANet" are from the paper's table 1.
PUBLISHED_ACCURACIES: dict[str, dict[str, float]] = _DATA["published_accuracy_percent"]


def select_attributes(spec: str, available: Sequence[str] = CELEBA40) -> tuple[str, ...]:
    """Return the names in `available` that `spec` selects, in the order of `spec` and without duplicates.

    `spec` is a comma-separated list of presets and attribute names, such as `paper10,Bangs`. Case does not matter;
    spaces and dashes count as underscores. Raises ValueError if `spec` selects nothing, an attribute that is not
    available, for which the message suggests the closest name, or one that several available names fit.
    """
    available_by_key = {_normalize(name): name for name in available}
    selected: dict[str, None] = {}
    for item in filter(None, (part.strip() for part in spec.split(","))):
        for requested in PRESETS.get(item.lower(), (item,)):
            key = _normalize(requested)
            name = requested if requested in available else available_by_key.get(key)
            if name is None:
                raise ValueError(_unavailable_message(requested, item, available_by_key))
            fitting = [other for other in available if _normalize(other) == key]
            if name != requested and len(fitting) > 1:
                raise ValueError(
                    f"attribute '{requested}' may be {' or '.join(map(repr, fitting))}; give the exact name"
                )
            selected[name] = None
    if not selected:
        raise ValueError("no attribute is named; give presets (celeba40, paper37, paper10) or names, comma-separated")
    return tuple(selected)


def _normalize(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _unavailable_message(requested: str, item: str, available_by_key: Mapping[str, str]) -> str:
    origin = f" (of preset {item})" if item.lower() in PRESETS else ""
    matches = difflib.get_close_matches(_normalize(requested), available_by_key, 1)
    if matches:
        hint = f"did you mean {available_by_key[matches[0]]}?"
    else:
        hint = f"the available attributes are {', '.join(available_by_key.values())}"
    return f"attribute '{requested}'{origin} is not available; {hint}"


def default_attribute_names(count: int) -> tuple[str, ...]:
    """Return names for `count` unnamed columns: CelebA's for 40, the paper's for 37, else the column numbers from 0."""
    return {len(CELEBA40): CELEBA40, len(PAPER37): PAPER37}.get(count) or tuple(str(column) for column in range(count))


def frequency_weights(frequencies: Mapping[str, float], criterion: str) -> dict[str, float]:
    """Return the paper's weight of each attribute from its frequency f (section 4.1). The largest weight is 1.

    `rare` emphasizes rare attributes: 1 - f + min f. `common` emphasizes common ones: f + 1 - max f. Raises ValueError
    for any other criterion.
    """
    if criterion == "rare":
        minimum = min(frequencies.values())
        return {name: 1 - f + minimum for name, f in frequencies.items()}
    if criterion == "common":
        maximum = max(frequencies.values())
        return {name: f + 1 - maximum for name, f in frequencies.items()}
    raise ValueError(f"the weighting criterion must be 'rare' or 'common', not '{criterion}'")
