"""Where faces come from: the photographs that fa-align has cut them from.

Each row of fa-align has the keys `source`, the path of the photograph, and `face`, the number of the face in it. Other
programs may use these keys for anything, so values of other types are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from facetools.report.formatting import replace_controls, shorten_path
from facetools.report.model import PhotoCount

if TYPE_CHECKING:
    from facetools.table.columns import Table

#: The longest path of a photograph to show. Every sample face repeats it, so longer ones would inflate the page.
_MAX_PATH = 500

#: The largest number of a face to show; a larger value of `face` means something else.
_MAX_FACE = 999_999


def number_photos(table: Table) -> np.ndarray:
    """The photograph of each face, int64 (n,), numbered from 0 by first occurrence; -1 if it is not known."""
    if table.extras is None:
        return np.full(len(table), -1)
    numbers: dict[str, int] = {}
    photos = (_photo(row) for row in table.extras)
    return np.array([-1 if photo is None else numbers.setdefault(photo, len(numbers)) for photo in photos], np.int64)


def count_photos(photos: np.ndarray, clusters: np.ndarray, count: int) -> list[PhotoCount]:
    """Count the photographs in each of `count` clusters.

    `photos` int64 (n,) are from `number_photos`; `clusters` int64 (n,) is the cluster of each face, from 0.
    """
    is_known = photos >= 0
    width = int(photos.max(initial=0)) + 1
    pairs = np.unique(clusters[is_known] * width + photos[is_known])
    known = np.bincount(pairs // width, minlength=count)
    unknown = np.bincount(clusters[~is_known], minlength=count)
    return [PhotoCount(*counts) for counts in zip(known.tolist(), unknown.tolist(), strict=True)]


def describe_face(path: str, row: Mapping[str, Any]) -> str:
    """The path of a face and, if `row` (its other keys) names it, the photograph that it comes from."""
    photo = _photo(row)
    if photo is None:
        return path
    face = row.get("face")
    is_number = isinstance(face, int) and not isinstance(face, bool) and 0 <= face <= _MAX_FACE
    origin = f"face {face} of" if is_number else "from"
    return f"{path}: {origin} {replace_controls(shorten_path(photo, _MAX_PATH))}"


def _photo(row: Mapping[str, Any]) -> str | None:
    photo = row.get("source")
    return photo if isinstance(photo, str) and photo else None
