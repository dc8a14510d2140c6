"""Render the report as one HTML file that loads nothing else.

The Jinja template `report.html` holds the layout and the style sheet, `report.js` the script. Names and paths may hold
anything, so the template escapes all text, and the page's content security policy allows no other script.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

import jinja2
from markupsafe import Markup

from facetools.report import captions, charts, figures, formatting, tables
from facetools.report.model import Report
from facetools.report.style import inline_svg
from facetools.report.thumbnails import jpeg_data_url


def render_html(report: Report) -> str:
    """The report as an HTML page."""
    template = _environment().get_template("report.html")
    script = (files("facetools.report") / "report.js").read_text("utf-8")
    history_titles, history_rows = tables.history_table(report)
    return template.render(
        report=report,
        script=Markup(script),
        script_hash=f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}",
        plots=_plots(report),
        accuracy_rows=tables.accuracy_rows(report.accuracy) if report.accuracy else [],
        accuracy_mean_rows=tables.accuracy_mean_rows(report.accuracy) if report.accuracy else [],
        comparison_rows=tables.comparison_rows(report.comparison),
        history_titles=history_titles,
        history_rows=history_rows,
    )


def _plots(report: Report) -> dict[str, list[Markup]]:
    """The SVG plots of the page by section. The sections without plots draw bars and maps as HTML tables."""
    plots: dict[str, list[Markup]] = {}
    if report.accuracy:
        accuracy = figures.accuracy_figure(report.accuracy)
        mispredictions = figures.misprediction_figure(report.accuracy)
        plots["accuracy"] = [
            Markup(inline_svg(accuracy, "accuracy", "Accuracy by attribute, with published accuracies")),
            Markup(inline_svg(mispredictions, "misprediction", "False negative and false positive rates by attribute")),
        ]
    if report.series:
        alt = "Silhouette against the number of clusters, one line per method"
        plots["comparison"] = [
            Markup(inline_svg(charts.comparison(report.series, width), f"comparison-{name}", alt))
            for name, width in (("wide", 6.6), ("narrow", 3.9))
        ]
    if report.training_curves:
        plots["training"] = [
            Markup(
                inline_svg(
                    charts.training(report.epochs, {panel: curves}), f"training-{panel}", f"Training curves: {panel}"
                )
            )
            for panel, curves in report.training_curves.items()
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
        "name": formatting.format_name,
        "count": formatting.format_count,
        "share": formatting.format_share,
        "lift": formatting.format_lift,
        "jpeg": jpeg_data_url,
    }
    environment.globals |= {"captions": captions, "tables": tables}
    return environment
