"""Descriptions of faces: `parse_query` reads "eyeglasses, no beard, gray hair:2" as a list of literals.

Terms are separated by commas. Each is the name of an attribute or a synonym, in any case, with spaces, hyphens or
underscores. `no`, `not`, `without` and `-` before it negate it; `:2` after it is its weight.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from facetools.search.terms import SYNONYMS
from facetools.table.attributes import CELEBA40

_NEGATION = re.compile(r"(?:-\s*|(?:no|not|without)[\s_-]+)", re.IGNORECASE)

#: The number of known terms that a message suggests for an unknown one.
_SUGGESTIONS = 3


class QueryError(ValueError):
    """A description that cannot be understood; the message names the term."""


@dataclass(frozen=True)
class Literal:
    """An attribute that is to be present or absent. Its log-probability counts `weight` times in the ranking."""

    attribute: str
    present: bool
    weight: float = 1.0


def parse_query(text: str, attributes: Iterable[str] = ()) -> list[Literal]:
    """Return the literals of a description, in its order. `attributes` are known besides CelebA's.

    Raises QueryError for an empty description, an unknown term, an invalid weight, and an attribute that occurs twice.
    """
    known = known_terms(attributes)
    literals: dict[str, tuple[Literal, str]] = {}
    for term in filter(None, (part.strip() for part in text.split(","))):
        literal = _parse_term(term, known)
        if literal.attribute in literals:
            other, other_term = literals[literal.attribute]
            relation = "mean the same" if other.present == literal.present else "contradict each other"
            raise QueryError(f"'{other_term}' and '{term}' {relation}")
        literals[literal.attribute] = literal, term
    if not literals:
        raise QueryError("the description is empty; give terms separated by commas")
    return [literal for literal, _ in literals.values()]


def known_terms(attributes: Iterable[str] = ()) -> dict[str, tuple[str, bool]]:
    """Return the attribute and whether it is present, by normalized term. Names of attributes precede synonyms."""
    terms = {normalize(term): meaning for term, meaning in SYNONYMS.items()}
    return terms | {normalize(name): (name, True) for name in (*CELEBA40, *attributes)}


def normalize(term: str) -> str:
    """Return a term in lower case, with single spaces for hyphens and underscores."""
    return " ".join(re.split(r"[\s_-]+", term.strip().lower()))


def _parse_term(text: str, known: Mapping[str, tuple[str, bool]]) -> Literal:
    term, separator, number = text.rpartition(":")
    if not separator:
        term, number = text, "1"
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 < weight <= 1000:
        raise QueryError(f"the weight of '{text}' is not a number above 0, at most 1000")
    present, term = True, term.strip()
    # No_Beard is a name by itself, not the negation of a beard. Both mean the same.
    while normalize(term) not in known and (negation := _NEGATION.match(term)):
        present, term = not present, term[negation.end() :]
    if normalize(term) not in known:
        close = difflib.get_close_matches(normalize(term), known, _SUGGESTIONS)
        hint = f"did you mean {' or '.join(close)}?" if close else "--terms lists all terms"
        raise QueryError(f"'{term or text}' is no known term; {hint}")
    attribute, is_present = known[normalize(term)]
    return Literal(attribute, is_present == present, weight)
