"""Report on a face table as an HTML page, as text, or as figures.

`build_report` computes the content once; `render_html`, `render_text` and `draw_figures` present it. The sections
follow the paper: attribute frequencies (figure 1), accuracies next to table 1, attributes and eigenface of each cluster
(figure 5), the comparison of clustering methods (figure 4), training curves. A section is left out if its input is
missing. The same input gives the same bytes.
"""

from facetools.report.builder import build_report
from facetools.report.figures import draw_figures
from facetools.report.model import EncodedEigenface, Report
from facetools.report.page import render_html
from facetools.report.style import save_figure
from facetools.report.text import render_text

__all__ = [
    "EncodedEigenface",
    "Report",
    "build_report",
    "draw_figures",
    "render_html",
    "render_text",
    "save_figure",
]
