"""The report as an HTML page: one file that asks for no other."""

from __future__ import annotations

import jinja2
from markupsafe import Markup

from facetools.report import charts, figures, words
from facetools.report.contents import TABLE1, Report
from facetools.report.pictures import data_url
from facetools.report.style import inline


def as_html(report: Report) -> str:
    """The report as a page; the template beside this file has its words and its looks."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            plots=_plots(report),
            tiles=words.tiles(report),
            lede=words.lede(report),
            hidden=words.hidden(report),
            accuracy_rows=words.accuracy_rows(report.accuracy) if report.accuracy else [],
            accuracy_means=words.accuracy_means(report.accuracy) if report.accuracy else [],
            comparison_rows=words.comparison_rows(report.comparison),
            history_columns=words.history_rows(report),
            history_summary=words.history_summary(report),
            table1=list(TABLE1.values()),
        )
    )


def _plots(report: Report) -> dict[str, list[Markup]]:
    """The figures that the page shows as such, by section; other sections draw theirs as tables."""
    plots: dict[str, list[Markup]] = {}
    if report.accuracy:
        accuracy = figures.accuracy_figure(report.accuracy)
        mispredictions = figures.misprediction_figure(report.accuracy)
        plots["accuracy"] = [
            Markup(inline(accuracy, "accuracy", "Accuracy by attribute, beside published figures")),
            Markup(inline(mispredictions, "misprediction", "Misprediction ratios by attribute")),
        ]
    if report.series:
        alt = "Silhouette against the number of clusters, a line for each method"
        plots["comparison"] = [
            Markup(inline(charts.comparison(report.series, width), f"comparison-{name}", alt))
            for name, width in (("wide", 6.6), ("narrow", 3.9))
        ]
    if report.curves:
        plots["training"] = [
            Markup(
                inline(
                    charts.training(report.epochs, {panel: curves}), f"training-{panel}", f"Training curves: {panel}"
                )
            )
            for panel, curves in report.curves.items()
        ]
    return plots


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facetools.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "readable": words.readable,
        "count": words.count,
        "share": words.share,
        "points": words.points,
        "jpeg": data_url,
    }
    environment.globals |= {"misprediction_note": words.MISPREDICTION_NOTE, "table1_note": words.TABLE1_NOTE}
    return environment
