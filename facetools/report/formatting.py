"""Format names, numbers and parameters for the page, the text and the figures."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from facetools.clustering.rules import format_share as format_share  # the page, the text and fa-cluster share it

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


def format_lift(lift: float) -> str:
    """A lift as a factor, such as ×2.3 or ×0.04; a dash if it is NaN."""
    if math.isnan(lift):
        return "–"
    if 0 < lift < 0.005:
        return "×<0.01"
    digits = 0 if lift >= 9.95 or lift == 0 else 1 if lift >= 0.995 else 2
    return f"×{lift:.{digits}f}"


def format_residual(residual: float) -> str:
    """A standardised residual with one decimal and its sign."""
    return f"{residual:+.1f}".replace("-", "−")


def format_interval(low: float, high: float) -> str:
    """An interval of shares in whole percent, such as 28–63%."""
    return f"{100 * low:.0f}–{100 * high:.0f}%"


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
