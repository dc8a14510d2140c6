"""The one style of the figures, and their encoding in it: SVG and PNG files, elements of the page."""

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

from facetools.runtime import files

INK, MUTED, LINE, PAPER, BAR = "#1c2430", "#5b6674", "#dfe4ea", "#ffffff", "#a9b4c0"

#: Okabe and Ito's colours, which people with any colour vision tell apart, in the order in which series take them.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6a58")
PROMINENT, NOISY = SERIES[0], SERIES[1]
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: What each colour is called in the style sheet of the page, which knows a light and a dark value of it.
CSS_VARIABLES = {
    INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", BAR: "bar",
    **{colour: f"c{number}" for number, colour in enumerate(SERIES, start=1)},
}  # fmt: skip

#: matplotlib's parameters, the same for every figure.
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
    # Names come from files: a dollar sign in one is no formula.
    "text.parse_math": False,
    "xtick.color": LINE,
    "xtick.labelcolor": MUTED,
    "xtick.labelsize": 9.5,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9.5,
}

_CSS_COLOUR = re.compile("|".join(CSS_VARIABLES))
_SVG_TAG = re.compile(r"<svg\b[^>]*?viewBox=\"0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)\"[^>]*>")


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Has `draw` draw in the style, and lays its figure out."""

    @wraps(draw)
    def drawn(*args: Any, **keywords: Any) -> Figure:
        with _style():
            figure = draw(*args, **keywords)
            _settle(figure)
            return figure

    return drawn


@contextmanager
def _style(**changes: Any) -> Iterator[None]:
    with matplotlib.rc_context(STYLE | changes), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is no reason to warn.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def _settle(figure: Figure) -> None:
    """Lays the figure out, once and for all.

    The solver's last bits change from run to run, and identifiers in a SVG are hashes of positions: they are rounded.
    """
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(float(edge), 4) for edge in axes.get_position(original=True).bounds)
        axes.set_position((left, bottom, width, height))


def encode(figure: Figure, kind: Literal["svg", "png"], *, text_as_text: bool = False) -> bytes:
    """The figure as a SVG or PNG file without date or name of a program; PNG at 200 dots an inch.

    `text_as_text` leaves text of a SVG to the fonts of the reader instead of drawing its outlines.
    """
    stream = io.BytesIO()
    with _style(**{"svg.fonttype": "none" if text_as_text else "path"}):
        if kind == "svg":
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            FigureCanvasSVG(figure).print_figure(stream, format="svg", metadata=nothing)
        else:
            FigureCanvasAgg(figure).print_figure(stream, format="png", dpi=200, metadata={"Software": None})
    return stream.getvalue()


def save_figure(figure: Figure, path: str | Path) -> None:
    """The figure in the file `path`, as its suffix says: `.svg` or `.png`."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise ValueError(f"{path}: figures are written as .svg or .png")
    files.write_atomically(path, encode(figure, kind))  # type: ignore[arg-type]


def inline(figure: Figure, name: str, alt: str) -> str:
    """The figure as a `<svg>` element to stand in a page beside others.

    Its colours become the page's variables, so that they follow the light or dark scheme; its identifiers are
    prefixed with `name`, which is unique in the page; its text is text.
    """
    svg = encode(figure, "svg", text_as_text=True).decode("utf-8")
    svg = svg[svg.index("<svg") :]
    tag = _SVG_TAG.match(svg)
    assert tag is not None
    body = svg[tag.end() :]
    # The sheet that matplotlib puts in would hold for the whole page; the page has the same rule for figures.
    body = re.sub(r"<style\b.*?</style>", "", body, flags=re.DOTALL)

    def at_home(tag: re.Match[str]) -> str:
        text = tag[0].replace("xlink:href=", "href=").replace(' xml:space="preserve"', "")
        text = re.sub(r'(?<=\bid=")|(?<=\bhref="#)|(?<=url\(#)', f"{name}-", text)
        return _CSS_COLOUR.sub(lambda colour: f"var(--{CSS_VARIABLES[colour[0]]})", text)

    # Only within tags: a name that reads like one of these stays as it is.
    body = re.sub(r"<[^>]*>", at_home, body)
    size = f"{tag['width']} {tag['height']}"
    # The numbers are points; CSS pixels are 4/3 as many.
    width = f"{float(tag['width']) * 4 / 3:.0f}px"
    return (
        f'<svg class="plot" role="img" aria-label="{escape(alt)}" viewBox="0 0 {size}" style="max-width:{width}">{body}'
    )
