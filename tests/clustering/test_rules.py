"""The shortest rules: the core against a plain search of all rules over all faces."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetools import _core
from facetools.clustering import codes, points
from facetools.clustering.rules import MARGIN, MAX_VARYING, Literal, Rule, find_rules, rules_of_points
from tests.core.cases import Faces, faces_from_rows, random_faces, random_labels


def as_set(holds: np.ndarray) -> int:
    """The faces for which `holds`, bool (n,), is true, as the bits of an integer."""
    return int.from_bytes(np.packbits(holds).tobytes(), "big")


def search(rows: np.ndarray, row_labels: np.ndarray, cluster: int) -> tuple[tuple[int, ...], int, int]:
    """The rule of a cluster over all faces: its literals, 2 a for attribute a and 2 a + 1 for its absence; its matches;
    and the faces that it selects. Literals on attributes that all faces share are not tried."""
    everything, members = as_set(row_labels > -2), as_set(row_labels == cluster)
    varying = np.flatnonzero(rows.min(axis=0) != rows.max(axis=0)).tolist()
    sets = {2 * a + absent: as_set(rows[:, a] != absent) for a in varying for absent in (0, 1)}
    size = members.bit_count()
    best_by_length = []
    for length in range(min(3, len(varying)) + 1):
        best, best_reach = ((), 0, 0), 1
        for attributes in combinations(varying, length):
            for signs in product((0, 1), repeat=length):
                selected, literals = everything, tuple(2 * a + s for a, s in zip(attributes, signs, strict=True))
                for literal in literals:
                    selected &= sets[literal]
                matches, reach = (selected & members).bit_count(), size + selected.bit_count()
                if matches * best_reach > best[1] * reach:
                    best, best_reach = (literals, matches, reach - size), reach
        best_by_length.append((Fraction(2 * best[1], best_reach), best))
    highest = max(best_by_length)[0]
    return next(best for f1, best in best_by_length if f1 >= highest - MARGIN)


def names(attributes: int) -> list[str]:
    return [f"a{attribute}" for attribute in range(attributes)]


def as_literals(rule: Rule) -> tuple[int, ...]:
    return tuple(2 * int(literal.attribute[1:]) + (not literal.is_present) for literal in rule.literals)


def check(faces: Faces, labels: np.ndarray) -> list[Rule]:
    """Compare the rules of a clustering of the distinct codes with those of the plain search; return them."""
    rules = find_rules(faces.codes, faces.counts, labels, names(faces.attributes))
    row_labels = labels[faces.inverse]
    assert len(rules) == labels.max() + 1
    for cluster, rule in enumerate(rules):
        assert (as_literals(rule), rule.matches, rule.selected) == search(faces.rows, row_labels, cluster)
        assert (rule.faces, rule.all_faces) == ((row_labels == cluster).sum(), len(row_labels))
    for jobs in (2, 7):
        assert find_rules(faces.codes, faces.counts, labels, names(faces.attributes), jobs=jobs) == rules
    return rules


def dense_labels(faces: Faces, clusters: int, seed: int, noise: bool) -> np.ndarray:
    """Random labels, int32 (d,), numbered without gaps."""
    labels = random_labels(faces, clusters, seed, noise)
    used, dense = np.unique(labels, return_inverse=True)
    return (dense - int(used[0] == -1)).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 90),
    attributes=st.integers(1, 9),
    clusters=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
    noise=st.booleans(),
)
def test_rules_equal_those_of_a_plain_search(n: int, attributes: int, clusters: int, seed: int, noise: bool) -> None:
    faces = random_faces(n, attributes, seed)
    check(faces, dense_labels(faces, clusters, seed, noise))


@pytest.mark.parametrize("attributes", [1, 2, 3, 37, 40, 64])
def test_rules_equal_those_of_a_plain_search_at_the_usual_numbers_of_attributes(attributes: int) -> None:
    faces = random_faces(150, attributes, attributes)
    # Clusters that attributes explain in part, so that rules of several lengths win.
    rows = codes.unpack(faces.codes, attributes)
    labels = np.where(rows[:, 0] & ~rows[:, -1] & 1, 0, np.where(rows[:, attributes // 2], 1, 2)).astype(np.int32)
    labels[::7] = -1
    used, dense = np.unique(labels, return_inverse=True)
    check(faces, (dense - 1).astype(np.int32))
    assert used[0] == -1


def test_a_literal_beyond_the_first_word_is_found() -> None:
    """65 attributes, of which one is the same in all faces: the others are the 64 that may differ."""
    rows = random_faces(120, 65, 3, repeated_fraction=0).rows
    rows[:, 20] = 1
    rows[:10, 64], rows[10:, 64] = 1, 0
    faces = faces_from_rows(rows)
    labels = codes.unpack(faces.codes, 65)[:, 64].astype(np.int32)
    rules = check(faces, labels)
    assert rules[1].literals == (Literal("a64", True),) and rules[1].f1 == 1
    rows[:3, 20] = 0
    faces = faces_from_rows(rows)
    with pytest.raises(ValueError, match=r"^attributes: more than 64 differ"):
        find_rules(faces.codes, faces.counts, labels, names(65))
    assert MAX_VARYING == 64


def test_a_cluster_of_all_faces_has_the_empty_rule() -> None:
    faces = random_faces(50, 8, 0)
    (rule,) = check(faces, np.zeros(len(faces.counts), np.int32))
    assert (rule.literals, rule.precision, rule.recall, rule.f1, rule.other_share) == ((), 1, 1, 1, None)
    assert rule.text == "every face: 100% of the cluster"


def test_equal_faces_in_different_clusters_have_the_empty_rule() -> None:
    codes_ = np.full((3, 1), 5, np.uint64)
    rules = find_rules(codes_, np.array([6, 3, 1]), np.array([0, 1, -1], np.int32), names(3))
    assert [(rule.literals, rule.matches, rule.selected) for rule in rules] == [((), 6, 10), ((), 3, 10)]
    assert rules[1].text == "every face: 100% of the cluster, 100% of other faces"


def test_clusters_of_one_face_and_constant_attributes() -> None:
    rows = np.array([[1, 0, 0, 1], [1, 1, 0, 0], [1, 1, 0, 1], [1, 0, 0, 0]], np.uint8)
    faces = faces_from_rows(rows)
    rules = check(faces, np.arange(4, dtype=np.int32))
    assert [rule.f1 for rule in rules] == [1, 1, 1, 1]
    assert [str(literal) for literal in rules[0].literals] == ["not a1", "a3"]
    assert check(faces_from_rows(rows[:1]), np.zeros(1, np.int32))[0].literals == ()
    assert find_rules(faces.codes, faces.counts, np.full(4, -1, np.int32), names(4)) == []


def test_a_longer_rule_needs_a_larger_f1_by_more_than_the_margin() -> None:
    """100 faces of the cluster have x; of 100 + n faces with x, n are others, and y excludes those."""

    def rule(others: int) -> Rule:
        rows = np.zeros((300, 2), np.uint8)
        rows[: 100 + others, 0] = 1
        rows[:100, 1] = 1
        rows[200:300, 1] = 1
        faces = faces_from_rows(rows)
        labels = np.array([0 if (row == (1, 1)).all() else -1 for row in codes.unpack(faces.codes, 2)], np.int32)
        return check(faces, labels)[0]

    assert rule(2).f1 == 200 / 202 and len(rule(2).literals) == 1  # 1 - 0.0099
    assert rule(3).f1 == 1 and len(rule(3).literals) == 2  # 1 - 0.0148


def test_sums_of_faces_are_exact_up_to_the_limit() -> None:
    """The F1 of two rules differ by less than a double can tell: a0 misses one face of the cluster, and a1 selects one
    other face. 2 (2^38 - 1) / (2^39 - 1) is less than 2 2^38 / (2^39 + 1) by 2^-77."""
    packed = np.array([[0b11], [0b10], [0b10], [0b00]], np.uint64)
    counts = np.array([2**38 - 1, 1, 1, 2**39], np.int64)
    labels = np.array([0, 0, 1, 1], np.int32)
    literals, matches, selected = _core.find_rules(packed, counts, labels, 2, 1, None)
    assert literals[0].tolist() == [[2, -1, -1], [0, 2, -1], [-1, -1, -1]]
    assert matches[0].tolist() == [2**38, 2**38 - 1, 0] and selected[0].tolist() == [2**38 + 1, 2**38 - 1, 0]
    assert literals[1, 0].tolist() == [1, -1, -1] and (matches[1, 0], selected[1, 0]) == (2**39 + 1, 2**39 + 2)
    rules = find_rules(packed, counts, labels, names(2))
    assert rules[0].literals == (Literal("a1", True),) and rules[0].all_faces == counts.sum()


def test_many_clusters_are_searched_in_groups() -> None:
    """4 500 clusters of 37 attributes need more than one group of tables."""
    faces = random_faces(9000, 37, 1, repeated_fraction=0)
    assert len(faces.counts) > 4500
    labels = (np.arange(len(faces.counts)) % 4500).astype(np.int32)
    literals, matches, selected = _core.find_rules(faces.codes, faces.counts, labels, 4500, 2, None)
    rows, row_labels = codes.unpack(faces.codes, 37), labels
    for cluster in (0, 3999, 4499):
        for length in (1, 2, 3):
            holds = np.ones(len(rows), bool)
            for literal in literals[cluster, length - 1, :length]:
                holds &= rows[:, literal // 2] != literal % 2
            assert selected[cluster, length - 1] == faces.counts[holds].sum()
            assert matches[cluster, length - 1] == faces.counts[holds & (row_labels == cluster)].sum() > 0


def test_rules_of_points_accept_labels_of_faces() -> None:
    rows = random_faces(200, 6, 5).rows
    clustered = points.from_bits(rows)
    face_labels = (rows[:, 0] + rows[:, 1]).astype(np.int32)
    expected = find_rules(
        clustered.packed_codes, clustered.counts, (clustered.rows[:, 0] + clustered.rows[:, 1]), names(6)
    )
    assert rules_of_points(clustered, face_labels, names(6)) == expected
    # Equal faces in different clusters, as from methods that cannot use counts.
    face_labels[::3] = 3
    for cluster, rule in enumerate(rules_of_points(clustered, face_labels, names(6))):
        assert (as_literals(rule), rule.matches, rule.selected) == search(rows, face_labels, cluster)
    with pytest.raises(ValueError, match=r"^points: "):
        rules_of_points(points.from_values(rows.astype(np.float32)), face_labels, names(6))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clusters": 3}, r"^labels: must occur for each cluster"),
        ({"clusters": 0}, r"^clusters: must be from 1"),
        ({"clusters": 5}, r"^clusters: must be from 1"),
        ({"clusters": 1}, r"^labels: must be from -1 to clusters - 1"),
        ({"labels": np.array([0, 1], np.int32)}, r"^labels: must have one element per code"),
        ({"labels": np.array([0, 1, -2, 0], np.int32)}, r"^labels: must be from -1"),
        ({"counts": np.array([1, 1, 0, 1])}, r"^counts: must be at least 1"),
        ({"counts": np.array([1, 1, 2**40, 1])}, r"^counts: the sum exceeds 2\^40"),
        ({"codes": np.zeros((4, 5), np.uint64)}, r"^codes: must have 1 to 4 words"),
    ],
)
def test_invalid_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "codes": np.arange(4, dtype=np.uint64)[:, None],
        "counts": np.ones(4, np.int64),
        "labels": np.array([0, 1, -1, 0], np.int32),
        "clusters": 2,
        "threads": 1,
        "report": None,
    }
    assert _core.find_rules(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        _core.find_rules(**(arguments | changes))  # type: ignore[arg-type]


def test_the_search_reports_progress_and_can_be_stopped() -> None:
    packed = np.random.default_rng(0).integers(0, 2**60, (200_000, 1), dtype=np.uint64)
    counts, labels = np.ones(len(packed), np.int64), (np.arange(len(packed)) % 8).astype(np.int32)

    class Stop(Exception):
        pass

    fractions: list[float] = []

    def stop(fraction: float) -> None:
        fractions.append(fraction)
        if len(fractions) == 2:
            raise Stop

    with pytest.raises(Stop):
        find_rules(packed, counts, labels, names(60), progress=stop)
    assert 0 < fractions[0] <= fractions[1] < 1


def test_rules_are_described_in_words() -> None:
    rule = Rule((Literal("Male", True), Literal("Gray_Hair", False), Literal("No_Beard", False)), 91, 94, 100, 1000)
    assert rule.text == "Male, Beard, not Gray Hair: 91% of the cluster, <1% of other faces"
    assert (
        Rule((Literal("No_Beard", True),), 1, 500, 1, 1000).text == "No Beard: 100% of the cluster, 50% of other faces"
    )
    assert rule.precision == 91 / 94 and rule.recall == 0.91 and rule.f1 == 182 / 194
