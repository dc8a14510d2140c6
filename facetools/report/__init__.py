"""What a face table says, gathered once by `build` and told as one HTML file, as text, or as figures.

The sections follow the paper: attribute frequencies (figure 1), accuracy beside table 1, each cluster as faces,
attribute occurrences and eigenface (figure 5), the comparison of clustering methods (figure 4), training curves.
A section is there when what it needs is. The same input gives the same bytes.
"""

from facetools.report.contents import Eigenface, Report
from facetools.report.figures import as_figures
from facetools.report.gathering import build_report
from facetools.report.page import as_html
from facetools.report.style import save_figure
from facetools.report.text import as_text

__all__ = ["Eigenface", "Report", "as_figures", "as_html", "as_text", "build_report", "save_figure"]
