"""Format names, numbers and parameters for the page, the text and the figures."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

#: Separates thousands; does not break at the end of a line.
THIN_SPACE = "\u202f"


def format_name(attribute: str) -> str:
    """The attribute with spaces in place of underscores."""
    return replace_controls(attribute.replace("_", " "))


def replace_controls(text: str) -> str:
    """The text with U+FFFD in place of control characters, lone surrogates and others that XML does not allow."""
    if text.isprintable():
        return text
    return "".join(
        "\ufffd" if unicodedata.category(character) in ("Cc", "Cs") or character in "\ufffe\uffff" else character
        for character in text
    )


def shorten_path(text: str, limit: int) -> str:
    """The last `limit` characters of a text that is longer: the end of a path is what distinguishes it."""
    return text if len(text) <= limit else "…" + text[1 - limit :]


def format_count(value: float) -> str:
    """A number with thin spaces between thousands, and one decimal unless it is whole."""
    return f"{value:,.{0 if value == int(value) else 1}f}".replace(",", THIN_SPACE)


def format_share(share: float) -> str:
    """A share from 0 to 1 in whole percent; 0% and 100% only if exactly none or all."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


def format_points(difference: float) -> str:
    """A difference of two shares in whole percentage points, with its sign."""
    return f"{100 * difference:+.0f}".replace("-", "−")


def format_parameters(record: Mapping[str, Any], leave_out: Sequence[str] = ()) -> str:
    """The parameters of a record of fa-cluster --compare on one line, without those named in `leave_out`."""
    parameters = record.get("parameters") or {}
    return replace_controls(
        ", ".join(
            f"{name} {f'{value:g}' if isinstance(value, float) else value}"
            for name, value in parameters.items()
            if name not in leave_out
        )
    )


def noise_share(record: Mapping[str, Any]) -> float:
    """The share of the faces that a clustering left in no cluster, 0 if unknown, from a record of --compare."""
    share = record.get("noise_share")
    if share is not None:
        return float(share)
    return (record.get("noise") or 0) / (record.get("faces") or math.inf)
