"""Draw charts: each function plots arrays on a new matplotlib Figure and leaves pyplot's global state alone.

Arrays over attributes have shape (a,); pictures are uint8 (h, w, 3).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter, ScalarFormatter

from facetools.report.model import Series
from facetools.report.style import BAR, INK, MARKERS, MUTED, NOISY, PAPER, PROMINENT, SERIES, styled


@styled
def frequencies(names: Sequence[str], shares: np.ndarray, reference: np.ndarray | None) -> Figure:
    """Figure 1, attribute frequencies: `shares` float64 (a,) as bars, and those in CelebA, `reference` float64 (a,), as
    ticks, NaN where unknown."""
    figure = Figure((7, 1 + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    _draw_bars(axes, names, shares, [BAR] * len(names), reference)
    axes.set_xlabel("share of faces")
    if reference is not None:
        _add_legend(axes, [Patch(color=BAR, label="these faces"), _tick_handle("CelebA")])
    return figure


@styled
def cluster(
    title: str,
    names: Sequence[str],
    shares: np.ndarray | None,
    overall: np.ndarray | None,
    marks: Sequence[str],
    faces: Sequence[np.ndarray],
    eigenface: np.ndarray | None,
) -> Figure:
    """Figure 5, one cluster: sampled faces, attribute frequencies and eigenface, each left out if missing.

    `shares` and `overall` float64 (a,) are the frequencies in the cluster and among all faces; `marks` are `prominent`,
    `noisy` or empty for each attribute.
    """
    panel_widths = [(1.25, bool(faces)), (2.1, shares is not None), (1.0, eigenface is not None)]
    widths = [width for width, is_present in panel_widths if is_present] or [1.0]
    height = max(3.4, 1.2 + 0.19 * len(names)) if shares is not None else 3.4
    figure = Figure((2.5 * sum(widths), height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    panels = iter(figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0])
    if faces:
        _draw_picture(next(panels), _montage(faces))
    if shares is not None and overall is not None:
        colors = [{"prominent": PROMINENT, "noisy": NOISY}.get(mark, BAR) for mark in marks]
        axes = next(panels)
        _draw_bars(axes, names, shares, colors, overall)
        axes.set_xlabel("share of the cluster's faces")
        prominent, noisy = Patch(color=PROMINENT, label="prominent"), Patch(color=NOISY, label="noisy")
        axes.legend(
            handles=[prominent, noisy, _tick_handle("all faces")],
            loc="upper left", bbox_to_anchor=(0, 0), borderaxespad=4, ncols=3,
        )  # fmt: skip
    if eigenface is not None:
        _draw_picture(next(panels), eigenface)
    if not faces and shares is None and eigenface is None:
        next(panels).set_axis_off()
    return figure


@styled
def cluster_map(titles: Sequence[str], names: Sequence[str], shares: np.ndarray) -> Figure:
    """A heat map of the attribute frequencies of all clusters; `shares` float64 (clusters, a)."""
    figure = Figure((2 + 0.2 * len(names), 3 + 0.2 * len(titles)), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(False)
    color_map = LinearSegmentedColormap.from_list("share", [PAPER, PROMINENT])
    mesh = axes.pcolormesh(shares, cmap=color_map, vmin=0, vmax=1, edgecolor=PAPER, linewidth=1.2)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(names)) + 0.5, [_shorten(name) for name in names], rotation=90, color=INK)
    axes.set_yticks(np.arange(len(titles)) + 0.5, list(titles))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, orientation="horizontal", shrink=0.3, aspect=30, pad=0.02, anchor=(0, 0))
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1))
    bar.set_label("share of the cluster's faces")
    return figure


@styled
def accuracy(
    names: Sequence[str], predicted: np.ndarray, published: Mapping[str, np.ndarray], majority: np.ndarray
) -> Figure:
    """Table 1 as a dot plot: accuracy by attribute in percent, float64 (a,), NaN where a method has none.

    `predicted` is that of the predictions, `majority` that of the majority-class baseline.
    """
    figure = Figure((4.6, 1.2 + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    rows = np.arange(len(names))
    axes.hlines(rows, majority, predicted, color=BAR, linewidth=1)
    axes.plot(majority, rows, "|", color=MUTED, markersize=7, markeredgewidth=1.4, label="majority-class baseline")
    for (method, values), marker, color in zip(published.items(), "DsP", SERIES[1:], strict=False):
        if not np.isnan(values).all():
            axes.plot(values, rows, marker, mfc="none", color=color, markersize=4.5, markeredgewidth=1.2, label=method)
    axes.plot(predicted, rows, "o", color=SERIES[0], markersize=5.5, label="these predictions")
    _label_rows(axes, names)
    axes.set_xlabel("accuracy (percent)")
    handles, _ = axes.get_legend_handles_labels()
    _add_legend(axes, handles[::-1], columns=2, above=True)
    return figure


@styled
def mispredictions(names: Sequence[str], false_negative_rate: np.ndarray, false_positive_rate: np.ndarray) -> Figure:
    """The misprediction ratios by attribute, float64 (a,), 0 to 1."""
    figure = Figure((4.6, 1.2 + 0.2 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    rows = np.arange(len(names))
    axes.barh(rows - 0.19, false_negative_rate, 0.36, color=SERIES[1], label="false negative rate")
    axes.barh(rows + 0.19, false_positive_rate, 0.36, color=SERIES[0], label="false positive rate")
    _label_rows(axes, names)
    largest = max(float(false_negative_rate.max()), float(false_positive_rate.max()))
    axes.set_xlim(0, min(1, max(0.2, 1.05 * largest)))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.set_xlabel("misprediction ratio")
    _add_legend(axes, axes.get_legend_handles_labels()[0], columns=1, above=True)
    return figure


@styled
def comparison(series: Sequence[Series], width: float = 6.6) -> Figure:
    """Figure 4: silhouette against the number of clusters, one line per series; `width` in inches."""
    # A line of the legend holds about 12 characters per inch.
    labels = [textwrap.fill(_shorten(line.label, 160), int(12 * width) - 6) for line in series]
    figure = Figure((width, 3.3 + 0.19 * sum(1 + label.count("\n") for label in labels)), layout="constrained")
    axes = figure.add_subplot()
    handles = []
    for number, (line, label) in enumerate(zip(series, labels, strict=True)):
        color, marker = SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]
        style: Any = (0, (5, 3)) if line.automatic_k else "-"
        if line.automatic_k:
            axes.axhline(line.silhouette.max(), color=color, linestyle=style, linewidth=1.2)
        axes.plot(
            line.clusters, line.silhouette, marker, linestyle="none" if line.automatic_k else "-", color=color,
            zorder=3, markeredgecolor=PAPER, markeredgewidth=0.8, markersize=8 if line.automatic_k else 6.5,
        )  # fmt: skip
        handles.append(Line2D([], [], color=color, marker=marker, linestyle=style, linewidth=1.4, label=label))
    counts = np.concatenate([line.clusters for line in series])
    if counts.max() > 30 * counts.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.margins(x=0.06)
    axes.tick_params(axis="y", labelcolor=MUTED)
    axes.set_xlabel("number of clusters")
    axes.set_ylabel("silhouette")
    _add_legend(axes, handles, columns=1)
    return figure


@styled
def training(epochs: np.ndarray, panels: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Training curves: `panels` maps `loss` and `accuracy` to curves by name, float64 (epochs,), NaN where missing."""
    figure = Figure((4.6 * len(panels), 3.3), layout="constrained")
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (name, values), color, style in zip(curves.items(), SERIES, ("-", "--", ":"), strict=False):
            marker = "o" if len(epochs) <= 30 else ""
            axes.plot(epochs, values, style, marker=marker, markersize=4, color=color, label=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.tick_params(axis="y", labelcolor=MUTED)
        axes.set_xlabel("epoch")
        axes.set_ylabel(title)
        axes.legend(loc="best")
    return figure


# Parts of charts


def _draw_bars(
    axes: Axes, names: Sequence[str], shares: np.ndarray, colors: Sequence[str], ticks: np.ndarray | None
) -> None:
    rows = np.arange(len(names))
    axes.barh(rows, shares, 0.62, color=list(colors))
    if ticks is not None:
        axes.vlines(ticks, rows - 0.44, rows + 0.44, color=INK, linewidth=1.4)
    _label_rows(axes, names)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def _label_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(names)), [_shorten(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _shorten(name: str, limit: int = 26) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"


def _tick_handle(label: str) -> Line2D:
    return Line2D([], [], color=INK, marker="|", markersize=9, markeredgewidth=1.4, linestyle="none", label=label)


def _add_legend(axes: Axes, handles: Sequence[Any], columns: int = 3, *, above: bool = False) -> None:
    """Add a legend below or above the axes; the constrained layout makes room for it."""
    # matplotlib leaves out labels with a leading underscore, so the labels are set afterwards.
    labels = [str(handle.get_label()) for handle in handles]
    location: Any = f"outside {'upper' if above else 'lower'} left"
    numbers = [f"{number}" for number in range(len(handles))]
    legend = axes.figure.legend(list(handles), numbers, loc=location, ncols=columns)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)


def _draw_picture(axes: Axes, pixels: np.ndarray) -> None:
    axes.imshow(pixels, interpolation="none")
    axes.set_axis_off()
    axes.set_anchor("N")


def _montage(pictures: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """Arrange pictures of any size in a grid: uint8 RGBA (H, W, 4), transparent between them."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    columns = min(columns, len(pictures))
    gap = max(2, width // 20)
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4), np.uint8)
    for number, picture in enumerate(pictures):
        top = number // columns * (height + gap) + (height - picture.shape[0]) // 2
        left = number % columns * (width + gap) + (width - picture.shape[1]) // 2
        cell = sheet[top : top + picture.shape[0], left : left + picture.shape[1]]
        cell[..., :3], cell[..., 3] = picture, 255
    return sheet
