"""The shortest rule that distinguishes each cluster, such as "Male, not Young".

A rule is a conjunction of literals, each of them an attribute that is present or absent. Of the S faces that it
selects, M are in the cluster of P faces. Its precision is M / S and its recall is M / P. F1, their harmonic mean (van
Rijsbergen 1979), is 2 M / (P + S). Noise and the faces of other clusters are all other faces.

`find_rules` searches all rules of at most MAX_LITERALS literals, from the empty rule, which selects every face: 64 899
rules of 37 attributes. The rule of a cluster is the shortest whose F1 is at most MARGIN below the best F1 of all. So a
literal is added only if it makes a difference. Of rules of the same length, the one of largest F1 wins; of those, the
first in the order of the attributes, with the first literals present rather than absent. All comparisons are exact.

The core counts conjunctions over distinct codes: O(d m^3 + clusters v^3), where v attributes differ between the faces,
and m is the mean number of attributes in which a face differs from the majority.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from facetools import _core
from facetools.clustering.codes import Progress
from facetools.clustering.points import Points, count_row_label_pairs

#: The largest numbers of literals in a rule, and of attributes that may differ between the faces.
MAX_LITERALS, MAX_VARYING = 3, 64

#: How much F1 a shorter rule may have less than the best rule of any length.
MARGIN = Fraction(1, 100)


@dataclass(frozen=True)
class Literal:
    """An attribute that is present or absent."""

    attribute: str
    is_present: bool

    def __str__(self) -> str:
        """The literal in words: `Male`, `not Gray Hair`, `Beard` for the absence of No_Beard, `not column 3`."""
        name = f"column {self.attribute}" if self.attribute.isdecimal() else self.attribute.replace("_", " ")
        if self.is_present:
            return name
        return name.removeprefix("No ") if name.startswith("No ") else f"not {name}"


@dataclass(frozen=True)
class Rule:
    """A rule for a cluster.

    `literals` all hold; without any, the rule selects every face. The other fields are numbers of faces: `matches` that
    are selected and in the cluster, `selected`, `faces` in the cluster, `all_faces` in clusters and noise.
    """

    literals: tuple[Literal, ...]
    matches: int
    selected: int
    faces: int
    all_faces: int

    @property
    def precision(self) -> float:
        """The share of the selected faces that are in the cluster."""
        return self.matches / self.selected

    @property
    def recall(self) -> float:
        """The share of the cluster that is selected (its coverage)."""
        return self.matches / self.faces

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.matches / (self.faces + self.selected)

    @property
    def other_share(self) -> float | None:
        """The share of the faces outside of the cluster that are selected; None if there are none."""
        others = self.all_faces - self.faces
        return (self.selected - self.matches) / others if others else None

    @property
    def conditions(self) -> str:
        """The literals in words, the negated ones last: `Male, not Bald, not Young`."""
        words = sorted(map(str, self.literals), key=lambda literal: literal.startswith("not "))
        return ", ".join(words) or "every face"

    @property
    def text(self) -> str:
        """The rule in words: `Male, not Young: 91% of the cluster, 3% of other faces`."""
        shares = f"{self.conditions}: {format_share(self.recall)} of the cluster"
        return shares if self.other_share is None else f"{shares}, {format_share(self.other_share)} of other faces"


def format_share(share: float) -> str:
    """A share from 0 to 1 in whole percent; 0% and 100% only if exactly none or all."""
    if 0 < share < 0.005:
        return "<1%"
    if 0.995 <= share < 1:
        return ">99%"
    return f"{100 * share:.0f}%"


def find_rules(
    packed_codes: np.ndarray,
    counts: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Rule]:
    """The rule of each cluster, by cluster number.

    `packed_codes`: uint64 (d, words), bit j of word w is the attribute `names[64 w + j]`. `counts`: int64 (d,), at
    least 1. `labels`: int (d,), clusters from 0 to the largest label, or -1 for noise. A code may occur several times,
    with different labels. `jobs`: the number of threads; the rules do not depend on it.

    Raises ValueError if an argument is out of range, if a cluster has no face, or if more than MAX_VARYING attributes
    differ between the faces.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    clusters = int(labels.max(initial=-1)) + 1
    if not clusters:
        return []
    literals, matches, selected = _core.find_rules(
        np.ascontiguousarray(packed_codes), np.ascontiguousarray(counts, np.int64), labels, clusters, jobs, progress
    )
    is_clustered = labels >= 0
    sizes = np.zeros(clusters, np.int64)
    np.add.at(sizes, labels[is_clustered], counts[is_clustered])
    all_faces = int(counts.sum())
    rules = []
    for cluster, size in enumerate(sizes.tolist()):
        candidates = [Rule((), size, all_faces, size, all_faces)]
        for length in range(MAX_LITERALS):
            chosen = literals[cluster, length, : length + 1].tolist()
            if -1 not in chosen:
                candidates.append(
                    Rule(
                        tuple(Literal(names[literal // 2], literal % 2 == 0) for literal in chosen),
                        int(matches[cluster, length]),
                        int(selected[cluster, length]),
                        size,
                        all_faces,
                    )
                )
        rules.append(_shortest(candidates))
    return rules


def rules_of_points(
    points: Points, labels: np.ndarray, names: Sequence[str], *, jobs: int = 1, progress: Progress | None = None
) -> list[Rule]:
    """`find_rules` for 0/1 `points` and `labels` int32 (n,) of the faces."""
    if points.packed_codes is None:
        raise ValueError("points: must be 0/1 attributes")
    row_labels = np.empty(len(points.counts), np.int32)
    row_labels[points.inverse] = labels
    if (row_labels[points.inverse] == labels).all():
        return find_rules(points.packed_codes, points.counts, row_labels, names, jobs=jobs, progress=progress)
    # Methods that cannot use counts may put equal faces into different clusters.
    rows, counts, pair_labels = count_row_label_pairs(points, labels)
    return find_rules(points.packed_codes[rows], counts, pair_labels, names, jobs=jobs, progress=progress)


def _shortest(candidates: Sequence[Rule]) -> Rule:
    """The first of the best rules of each length, shortest first, whose F1 is at most MARGIN below the best."""

    def f1(rule: Rule) -> Fraction:
        return Fraction(2 * rule.matches, rule.faces + rule.selected)

    best = max(map(f1, candidates))
    return next(rule for rule in candidates if f1(rule) >= best - MARGIN)
