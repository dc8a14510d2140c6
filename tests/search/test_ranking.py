"""Tests of rankings: probabilities against all attribute vectors of a mixture, weights, and the best rows of blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from facetools.network.calibration import Calibration
from facetools.search import RANKINGS, Best, Literal, Ranking, expected_differences
from facetools.table.columns import Table, encode_paths
from facetools.table.scanning import Block

SCORES = np.random.default_rng(0).random((50, 3)).astype(np.float32)
CALIBRATION = Calibration(
    np.array([1.2, 0.8, 1.0]),
    np.array([0.1, -0.3, 0]),
    np.array([0.3, 0.7]),
    np.random.default_rng(1).normal(size=(2, 3)),
)


def test_match_is_the_probability_of_the_description_in_the_mixture() -> None:
    total = np.zeros(len(SCORES))
    marginal = np.zeros(len(SCORES))
    for present in itertools.product((True, False), repeat=3):
        literals = [Literal("abc"[number], value) for number, value in enumerate(present)]
        match, key = Ranking(literals, CALIBRATION).rank(SCORES)
        odds = np.exp(CALIBRATION.slope * np.log(SCORES / (1 - SCORES.astype(float))) + CALIBRATION.intercept)
        expected = 0.0
        for weight, offsets in zip(CALIBRATION.weights, CALIBRATION.offsets, strict=True):
            p = odds * np.exp(offsets) / (1 + odds * np.exp(offsets))
            expected = expected + weight * np.where(present, p, 1 - p).prod(axis=1)
        np.testing.assert_allclose(match, expected, rtol=1e-9)
        np.testing.assert_allclose(key, np.log(expected), rtol=1e-9)
        total += match
        marginal += match * present[1]
    np.testing.assert_allclose(total, 1)
    np.testing.assert_allclose(marginal, CALIBRATION.probabilities(SCORES)[:, 1])


def test_correlations_change_the_order() -> None:
    """In one class both attributes are likelier, in the other both are unlikelier, so they come together more often."""
    correlated = Calibration(np.ones(2), np.zeros(2), np.array([0.5, 0.5]), np.array([[3.0, 3.0], [-3.0, -3.0]]))
    pair = [Literal("a", True), Literal("b", True)]
    match, _ = Ranking(pair, correlated).rank(np.array([[0.5, 0.5]]))
    assert match[0] > 0.4
    assert Ranking(pair, Calibration.identity(2)).rank(np.array([[0.5, 0.5]]))[0][0] == pytest.approx(0.25)


@pytest.mark.parametrize("ranking", RANKINGS)
def test_a_weight_decides_between_faces_that_match_equally(ranking: str) -> None:
    scores = np.array([[0.8, 0.4], [0.4, 0.8]])
    keys = Ranking([Literal("a", True, 2), Literal("b", True)], Calibration.identity(2), ranking).rank(scores)[1]
    assert keys[0] > keys[1] + 0.1
    match, keys = Ranking([Literal("a", True), Literal("b", True)], Calibration.identity(2), ranking).rank(scores)
    assert keys[0] == pytest.approx(keys[1]) and match == pytest.approx(0.32)


def test_log_odds_are_summed() -> None:
    _, keys = Ranking([Literal("a", True), Literal("b", False)], Calibration.identity(2), "log-odds").rank(
        SCORES[:, :2]
    )
    logits = np.log(SCORES / (1 - SCORES.astype(float)))
    np.testing.assert_allclose(keys, logits[:, 0] - logits[:, 1], atol=1e-5)


def test_certain_scores_are_finite() -> None:
    for ranking in RANKINGS:
        match, keys = Ranking([Literal("a", True)], Calibration.identity(1), ranking).rank(np.array([[0.0], [1.0]]))
        assert np.isfinite(keys).all() and match == pytest.approx([0, 1], abs=1e-6)
    with pytest.raises(ValueError, match="must be"):
        Ranking([Literal("a", True)], Calibration.identity(1), "best")


def test_expected_differences_are_0_only_for_the_same_probabilities() -> None:
    differences = expected_differences(np.array([[0.2, 0.9], [1, 0]]), np.array([0.2, 0.9]))
    assert differences == pytest.approx([0, 1.7])


def make_block(first: int, count: int, sources: list[str] | None = None) -> Block:
    paths = encode_paths(str(number) for number in range(first, first + count))
    extras = None if sources is None else [{"source": source} for source in sources]
    return Block(Table(paths, extras=extras))


@pytest.mark.parametrize("size", [1, 7, 200])
def test_best_rows_are_exact_and_ties_keep_table_order(size: int) -> None:
    keys = np.random.default_rng(2).integers(0, 20, 200).astype(float)
    keys[keys == 19] = -np.inf
    for count in (1, 10, 150, 500):
        best = Best(count)
        for start in range(0, 200, size):
            part = keys[start : start + size]
            best.add(make_block(start, len(part)), start, part, {"key": part})
        result = best.result()
        assert result is not None
        table, figures = result
        expected = [row for row in np.argsort(-keys, kind="stable").tolist() if keys[row] > -np.inf][:count]
        assert [int(table.path(row)) for row in range(len(table))] == expected
        assert figures["key"].tolist() == keys[expected].tolist()


@pytest.mark.parametrize("size", [1, 7, 200])
def test_best_face_of_each_photo(size: int) -> None:
    rng = np.random.default_rng(3)
    keys, photos = rng.permutation(200).astype(float), rng.integers(0, 30, 200)
    expected = sorted((max(keys[photos == photo]) for photo in set(photos.tolist())), reverse=True)[:10]
    best = Best(10, "source")
    for start in range(0, 200, size):
        part = slice(start, start + size)
        names = [str(photo) for photo in photos[part]]
        best.add(make_block(start, len(names), names), start, keys[part], {"key": keys[part]})
    result = best.result()
    assert result is not None and result[1]["key"].tolist() == expected


def test_no_row_matches() -> None:
    best = Best(3)
    best.add(make_block(0, 2), 0, np.full(2, -np.inf), {})
    assert best.result() is None
