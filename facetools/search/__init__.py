"""Search faces by a description: `parse_query` reads it, `Ranking` scores faces, `Best` keeps the best rows."""

from facetools.search.query import Literal, QueryError, parse_query
from facetools.search.ranking import RANKINGS, Ranking, expected_differences
from facetools.search.selection import Best
from facetools.search.terms import SYNONYMS

__all__ = [
    "RANKINGS",
    "SYNONYMS",
    "Best",
    "Literal",
    "QueryError",
    "Ranking",
    "expected_differences",
    "parse_query",
]
