"""Tests of descriptions: names and synonyms, negation, weights, and what is refused."""

from __future__ import annotations

import pytest

from facetools.search import SYNONYMS, Literal, QueryError, parse_query
from facetools.search.query import normalize
from facetools.table.attributes import CELEBA40


def test_names_are_known_in_any_case_with_any_separator() -> None:
    for name in CELEBA40:
        for term in (name, name.upper(), name.replace("_", " "), name.replace("_", "-")):
            assert parse_query(term) == [Literal(name, True)], term


@pytest.mark.parametrize("term", ["no smile", "not smiling", "without smile", "-smiling", "- Smiling", "NO_smile"])
def test_words_and_a_dash_negate(term: str) -> None:
    assert parse_query(term) == [Literal("Smiling", False)]


@pytest.mark.parametrize(
    ("term", "present"),
    [("no beard", True), ("No_Beard", True), ("-beard", True), ("beard", False), ("not no beard", False)],
)
def test_no_beard_is_the_absence_of_a_beard(term: str, present: bool) -> None:
    assert parse_query(term) == [Literal("No_Beard", present)]


def test_synonyms_mean_attributes_and_do_not_hide_names() -> None:
    assert parse_query("glasses, woman, grey, old, moustache") == [
        Literal("Eyeglasses", True),
        Literal("Male", False),
        Literal("Gray_Hair", True),
        Literal("Young", False),
        Literal("Mustache", True),
    ]
    names = {normalize(name) for name in CELEBA40}
    for term, (attribute, present) in SYNONYMS.items():
        assert attribute in CELEBA40 and normalize(term) not in names
        assert parse_query(term) == [Literal(attribute, present)]


def test_weights_and_attributes_of_a_table() -> None:
    assert parse_query("hat:2, no-tie : 0.5") == [
        Literal("Wearing_Hat", True, 2),
        Literal("Wearing_Necktie", False, 0.5),
    ]
    assert parse_query("my attribute", ["My_Attribute"]) == [Literal("My_Attribute", True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("glases", "did you mean glasses or eyeglasses"),
        ("qqqqqq", "--terms lists"),
        ("no", "'no' is no known term"),
        ("", "empty"),
        (" , ", "empty"),
        ("man, woman", "'man' and 'woman' contradict"),
        ("hat, cap", "'hat' and 'cap' mean the same"),
        ("hat:0", "weight"),
        ("hat:-1", "weight"),
        ("hat:nan", "weight"),
        ("hat:inf", "weight"),
        ("hat:x", "weight"),
        ("hat:", "weight"),
    ],
)
def test_invalid_descriptions_are_refused(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        parse_query(text)
