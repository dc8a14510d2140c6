"""The rule and the distinctive attributes of each cluster in the page and in the text."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from facetools.clustering import points
from facetools.clustering.rules import rules_of_points
from facetools.report import build_report, captions, render_html, render_text
from facetools.report.formatting import format_interval, format_lift, format_residual
from facetools.table.columns import AttributeColumns, Table
from tests.conftest import Run
from tests.report.test_report import Page, face_table


def labeled_table(bits: np.ndarray, cluster: np.ndarray, names: tuple[str, ...]) -> Table:
    return Table(labels=AttributeColumns(names, bits.astype(np.uint8)), cluster=cluster.astype(np.int32))


def two_clusters(per_cluster: int) -> Table:
    """Cluster 0 has `common` in 9 of 10 faces, and cluster 1 in 1 of 10; cluster 1 has `rare` in 1 of 10 faces; both
    have `even` in half of the faces and `never` in none. One more face is noise."""
    position = np.arange(per_cluster)
    first, second = (np.zeros((per_cluster, 4)) for _ in range(2))
    first[:, 0], second[:, 0] = position % 10 != 0, position % 10 == 0
    second[:, 1] = position % 10 == 5
    first[:, 2] = second[:, 2] = position % 2
    bits = np.concatenate([first, second, first[:1] * 0])
    cluster = np.repeat([0, 1, -1], [per_cluster, per_cluster, 1])
    return labeled_table(bits, cluster, ("common", "rare", "even", "never"))


def test_distinctive_attributes_are_significant_and_large_differences() -> None:
    report = build_report(two_clusters(200))
    first, second = report.clusters
    chosen = [[report.attributes[index] for index in report.distinctive_attributes(c)] for c in (first, second)]
    assert chosen == [["common"], ["common", "rare"]]  # rare differs by 5 points only, but its lift is 2
    assert report.noise is not None and report.distinctive_attributes(report.noise) == []
    # Of 20 faces, a difference of 2 faces may be due to chance.
    small = build_report(two_clusters(20))
    assert [small.attributes[index] for index in small.distinctive_attributes(small.clusters[1])] == ["common"]
    assert len(report.distinctive_attributes(second, limit=1)) == 1


def test_only_wide_confidence_intervals_are_shown() -> None:
    small, large = build_report(two_clusters(40)), build_report(two_clusters(400))
    assert captions.distinctive_attributes(small, small.clusters[0]) == [("common", "90% (77–96%) ×1.8")]
    assert captions.distinctive_attributes(large, large.clusters[0]) == [("common", "90% ×1.8")]
    assert "Compared with all faces: common 90% (77–96%) ×1.8" in render_text(small)
    assert "<span>common 90% (77–96%) ×1.8</span>" in render_html(small)
    assert 'title="residual +7.2, 95% interval 77–96%"' in render_html(small)


def test_each_cluster_shows_the_rule_that_fa_cluster_finds() -> None:
    table = face_table(2000, clusters=6)
    assert table.scores is not None and table.cluster is not None
    report = build_report(table, max_clusters=4)
    expected = rules_of_points(
        points.from_bits((table.scores.values >= 0.5).astype(np.uint8)), table.cluster, table.scores.names
    )
    assert len(report.clusters) == 4 and len({rule.conditions for rule in expected}) > 4
    html, text = render_html(report), render_text(report)
    for cluster in report.clusters:
        rule = expected[cluster.number]
        assert cluster.rule is not None
        assert (cluster.rule.text, cluster.rule.f1) == (rule.text, rule.f1)
        shares = f"(precision {rule.precision:.0%}, recall {rule.recall:.0%})"
        assert re.search(f"<b>{rule.conditions}</b> holds for .* {re.escape(shares)}", html)
        assert f"{rule.conditions} holds for" in text.replace("\n", " ")
    assert report.noise is not None and report.noise.rule is None
    assert captions.RULE_NOTE in html


def test_rules_are_left_out_for_too_many_attributes_or_without_attributes() -> None:
    names = tuple(f"name{index}" for index in range(65))
    table = face_table(200, names, clusters=2)
    report = build_report(table)
    assert not report.has_rules and report.distinctive_attributes(report.clusters[0])
    assert "is its rule" not in render_html(report) and "is its rule" not in render_text(report)
    # An attribute that all faces share does not count.
    assert table.labels is not None and table.cluster is not None
    bits = table.labels.values.copy()
    bits[:, 0] = 1
    report = build_report(labeled_table(bits, table.cluster, names))
    assert report.has_rules
    without = build_report(Table(cluster=table.cluster))
    assert not without.has_rules and Page(render_html(without))
    same = build_report(labeled_table(np.ones((4, 2)), np.array([0, 0, 1, -1]), ("a", "b")))
    assert [cluster.rule.conditions for cluster in same.clusters if cluster.rule] == ["every face", "every face"]


def test_names_in_rules_are_escaped() -> None:
    hostile = "<script>alert('1')</script>\x1b"
    bits = np.repeat([[1, 0], [0, 1]], 20, axis=0)
    report = build_report(labeled_table(bits, np.repeat([0, 1], 20), (hostile, "b")))
    assert report.clusters[0].rule is not None and report.clusters[0].rule.literals[0].attribute == hostile
    html = render_html(report)
    assert "<script>alert" not in html and "&lt;script&gt;alert" in html and "\x1b" not in html
    assert "\x1b" not in render_text(report)


@pytest.mark.parametrize(
    ("lift", "text"),
    [(0, "×0"), (0.001, "×<0.01"), (0.042, "×0.04"), (0.996, "×1.0"), (2.34, "×2.3"), (9.96, "×10"), (123.4, "×123")],
)
def test_lifts_are_factors(lift: float, text: str) -> None:
    assert format_lift(lift) == text


def test_undefined_lifts_and_negative_residuals() -> None:
    assert format_lift(float("nan")) == "–"
    assert format_residual(-3.14159) == "−3.1" and format_residual(12) == "+12.0"
    assert format_interval(0.284, 0.631) == "28–63%"


def test_the_command_keeps_its_limits_of_prominent_and_noisy(run: Run, tmp_path: Path) -> None:
    table = two_clusters(40)
    np.save(tmp_path / "bits.npy", table.labels.values)  # type: ignore[union-attr]
    run("cluster", tmp_path / "bits.npy", "-k", "2", "-o", tmp_path / "c.npy", "-q")
    marks = []
    for limits in ((), ("--prominent", "0.95", "--noisy", "0.05")):
        text = run("report", tmp_path / "c.npy", "--format", "text", *limits).stdout.decode()
        marks.append((text.count("  prominent\n"), text.count("  noisy\n")))
    assert marks[0] > marks[1]
