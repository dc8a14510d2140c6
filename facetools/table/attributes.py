"""The facial attributes: their names, presets, CelebA frequencies, published accuracies, and weights by frequency.

Names are CelebA's (Liu, Luo, Wang, Tang 2015). `paper37` leaves out Attractive, Pale_Skin and Blurry, as the paper
does; `paper10` are the ten its reference implementation groups by.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

_DATA = json.loads(files("facetools.table").joinpath("attributes.json").read_text("utf-8"))


CELEBA40: tuple[str, ...] = tuple(_DATA["celeba40"])


PAPER37: tuple[str, ...] = tuple(_DATA["paper37"])


PAPER10: tuple[str, ...] = tuple(_DATA["paper10"])


PRESETS: dict[str, tuple[str, ...]] = {"celeba40": CELEBA40, "paper37": PAPER37, "paper10": PAPER10}


#: Share of CelebA's faces that show each attribute, 0 to 1.
FREQUENCIES: dict[str, float] = _DATA["frequencies"]


#: Published test accuracies in percent, by method and attribute; "paper" and "LNets+ANet" are the paper's table 1.
PUBLISHED: dict[str, dict[str, float]] = _DATA["published_accuracy_percent"]


def select_attributes(spec: str, available: Sequence[str] = CELEBA40) -> tuple[str, ...]:
    """The attributes that `spec` names, each of them one of `available`.

    `spec` is a comma-separated list of presets and names, for example `paper10,Bangs`; case does not matter and blanks
    or dashes stand for underscores. The order is that of `spec`; a name given twice counts once. A ValueError names
    the first item that is not available, and the closest one that is.
    """
    by_key = {_key(name): name for name in available}
    chosen: dict[str, None] = {}
    for item in filter(None, (part.strip() for part in spec.split(","))):
        for wanted in PRESETS.get(item.lower(), (item,)):
            name = by_key.get(_key(wanted))
            if name is None:
                raise ValueError(_unknown(wanted, item, by_key))
            chosen[name] = None
    if not chosen:
        raise ValueError("no attribute is named; give presets (celeba40, paper37, paper10) or names, comma-separated")
    return tuple(chosen)


def default_attribute_names(count: int) -> tuple[str, ...]:
    """Names for `count` columns that come without any: CelebA's for 40 or 37, else their numbers from 0."""
    return {len(CELEBA40): CELEBA40, len(PAPER37): PAPER37}.get(count) or tuple(str(column) for column in range(count))


def frequency_weights(frequencies: Mapping[str, float], criterion: str) -> dict[str, float]:
    """The paper's weight of each attribute by its frequency f (section 4.1).

    `rare` raises rare attributes: 1 - f + min f. `common` raises common ones: f + 1 - max f. The largest weight is 1.
    """
    if criterion == "rare":
        least = min(frequencies.values())
        return {name: 1 - f + least for name, f in frequencies.items()}
    if criterion == "common":
        most = max(frequencies.values())
        return {name: f + 1 - most for name, f in frequencies.items()}
    raise ValueError(f"weights by frequency are 'rare' or 'common', not '{criterion}'")


def _key(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _unknown(wanted: str, item: str, by_key: Mapping[str, str]) -> str:
    of = f" (of preset {item})" if item.lower() in PRESETS else ""
    close = difflib.get_close_matches(_key(wanted), by_key, 1)
    hint = f"; did you mean {by_key[close[0]]}?" if close else f"; there are {', '.join(by_key.values())}"
    return f"attribute '{wanted}'{of} is not available{hint}"
