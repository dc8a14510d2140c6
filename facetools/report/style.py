"""The common style of all figures, and their encoding as SVG and PNG files or as SVG elements of the page.

The same figure gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from facetools.images.marks import add_mark
from facetools.runtime import files

INK, MUTED, LINE, PAPER, BAR = "#1c2430", "#5b6674", "#dfe4ea", "#ffffff", "#a9b4c0"

#: The colors of series, in order: the palette of Okabe and Ito, which is safe for color-blind readers.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a58")
PROMINENT, NOISY = SERIES[0], SERIES[1]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: The CSS variable of each color. The style sheet of the page gives it a light and a dark value.
CSS_VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", BAR: "bar",
    **{color: f"c{number}" for number, color in enumerate(SERIES, start=1)},
}  # fmt: skip

#: matplotlib's parameters (rcParams).
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.borderpad": 0.2,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "savefig.facecolor": "none",
    "savefig.transparent": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "facetools",
    "text.color": INK,
    # Attribute names may contain dollar signs.
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 9.5,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
}

_CSS_COLOR = re.compile("|".join(CSS_VARIABLES))
_SVG_TAG = re.compile(r"<svg\b[^>]*?viewBox=\"0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)\"[^>]*>")


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function that returns a figure: draw it in the common style and fix its layout."""

    @wraps(draw)
    def draw_in_style(*args: Any, **keywords: Any) -> Figure:
        with _common_style():
            figure = draw(*args, **keywords)
            _fix_layout(figure)
            return figure

    return draw_in_style


@contextmanager
def _common_style(**changes: Any) -> Iterator[None]:
    with matplotlib.rc_context(STYLE | changes), warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _fix_layout(figure: Figure) -> None:
    """Compute the layout once and round it.

    The last bits of the constrained layout vary from run to run, and the identifiers in an SVG are hashes of positions.
    """
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(float(edge), 4) for edge in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))


def encode_figure(figure: Figure, format: Literal["svg", "png"], *, keep_text: bool = False) -> bytes:
    """Encode the figure as SVG, or as PNG at 200 dots per inch, without date or program name.

    `keep_text` stores the text of an SVG as text in the reader's fonts instead of as outlines.
    """
    stream = io.BytesIO()
    with _common_style(**{"svg.fonttype": "none" if keep_text else "path"}):
        if format == "svg":
            no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            FigureCanvasSVG(figure).print_figure(stream, format="svg", metadata=no_metadata)
        else:
            FigureCanvasAgg(figure).print_figure(stream, format="png", dpi=200, metadata={"Software": None})
    return stream.getvalue()


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write the figure to `path`, with a mark (images/marks.py), in the format of its suffix.

    Raises ValueError unless that is `.svg` or `.png`.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".svg", ".png"):
        raise ValueError(f"{path}: figures are written as .svg or .png")
    files.write_atomically(path, add_mark(encode_figure(figure, "svg" if suffix == ".svg" else "png")))


def inline_svg(figure: Figure, name: str, alt: str) -> str:
    """Encode the figure as an `<svg>` element for the page, with `alt` as its text alternative.

    Its colors become CSS variables, so that they follow the light or dark scheme. Its identifiers get the prefix
    `name`, which must be unique in the page. Its text remains text.
    """
    svg = encode_figure(figure, "svg", keep_text=True).decode("utf-8")
    svg = svg[svg.index("<svg") :]
    tag = _SVG_TAG.match(svg)
    assert tag is not None
    body = svg[tag.end() :]
    # matplotlib's style sheet would apply to the whole page, which has the same rules for `.plot`.
    body = re.sub(r"<style\b.*?</style>", "", body, flags=re.DOTALL)

    def adapt_tag(tag: re.Match[str]) -> str:
        text = tag[0].replace("xlink:href=", "href=").replace(' xml:space="preserve"', "")
        text = re.sub(r'(?<=\bid=")|(?<=\bhref="#)|(?<=url\(#)', f"{name}-", text)
        return _CSS_COLOR.sub(lambda color: f"var(--{CSS_VARIABLES[color[0]]})", text)

    # Only tags are changed: an attribute's name may look like a color or an identifier.
    body = re.sub(r"<[^>]*>", adapt_tag, body)
    size = f"{tag['width']} {tag['height']}"
    # The width is in points, of 4/3 CSS pixels.
    width = f"{float(tag['width']) * 4 / 3:.0f}px"
    return (
        f'<svg class="plot" role="img" aria-label="{escape(alt)}" viewBox="0 0 {size}" style="max-width:{width}">{body}'
    )
