"""Time and memory of clustering against the number of faces, facetools and peers.

    python benchmarks/growth.py             measures and writes results/growth.json and results/growth.svg
    python benchmarks/growth.py --stored    draws the chart of the stored results

An engine continues with more faces while its last two runs predict that the next one fits time limit and memory; its
line ends there.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from core import OURS, run
from machine import machine
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, NullLocator

from facetools.report import style
from facetools.runtime import files, memory

RESULTS = Path(__file__).parent / "results"
ROWS = [lead * 10**power for power in range(3, 7) for lead in (1, 3)] + [10**7]
#: Longest predicted run, in seconds.
LIMIT, PEER_LIMIT = 400, 150
TASKS = {
    "silhouette euclidean": ("exact silhouette", "scikit-learn"),
    "DBSCAN radius 1": ("DBSCAN, radius 1", "scikit-learn"),
    "ward": ("ward linkage", "scikit-learn"),
    "complete": ("complete linkage", "scikit-learn"),
    "K-Means": ("K-Means, k = 64", "scikit-learn"),
}


def measure_growth(task: str, engine: str) -> list[dict[str, Any]]:
    """The runs of one engine, from the fewest faces to the most that it can take."""
    runs: list[dict[str, Any]] = []
    for rows in ROWS:
        if not _fits(runs, rows, LIMIT if engine == OURS else PEER_LIMIT):
            break
        runs.append({"rows": rows, **run(task, engine, rows)[0]})
        print(json.dumps({"task": task, "engine": engine, **runs[-1]}), flush=True)
    return runs


def _fits(runs: list[dict[str, Any]], rows: int, limit: float) -> bool:
    """Whether a run with `rows` faces is predicted to fit, from the growth between the last two runs."""
    if len(runs) < 2:
        return True
    before, last = runs[-2:]

    def predicted(name: str) -> float:
        steepness = math.log(last[name] / before[name]) / math.log(last["rows"] / before["rows"])
        return last[name] * (rows / last["rows"]) ** min(max(steepness, 1), 2)

    return predicted("seconds") < limit and predicted("memory") < 0.8 * memory.available()


@style.styled
def chart(results: dict[str, dict[str, list[dict[str, Any]]]]) -> Figure:
    """One column per task: seconds above, memory below, all axes logarithmic."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, color=style.PAPER, zorder=-1))
    axes = figure.subplots(2, len(TASKS), sharex=True, sharey="row")
    for column, (task, (title, _)) in enumerate(TASKS.items()):
        for number, (engine, runs) in enumerate(results[task].items()):
            rows = [run["rows"] for run in runs]
            look = {"color": style.SERIES[number], "marker": style.MARKERS[number], "label": engine}
            axes[0, column].loglog(rows, [run["seconds"] for run in runs], **look)
            axes[1, column].loglog(rows, [run["memory"] / 1e9 for run in runs], **look)
        axes[0, column].set_title(title)
        axes[1, column].xaxis.set_major_formatter(EngFormatter(sep=""))
        axes[1, column].xaxis.set_minor_locator(NullLocator())
        axes[1, column].set_xlabel("faces")
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("peak memory, GB")
    for row in axes[:, 0]:
        row.yaxis.set_major_formatter("{x:g}")
        row.yaxis.set_minor_locator(NullLocator())
    axes[0, 0].legend()
    return figure


def main() -> None:
    if "--stored" in sys.argv:
        draw(json.loads((RESULTS / "growth.json").read_text())["runs"])
        return
    results = {
        task: {engine: measure_growth(task, engine) for engine in (OURS, peer)} for task, (_, peer) in TASKS.items()
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "growth.json").write_text(json.dumps({"machine": machine(), "runs": results}, indent=1) + "\n")
    draw(results)


def draw(results: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Writes the chart of the runs."""
    files.write_atomically(RESULTS / "growth.svg", style.encode_figure(chart(results), "svg", keep_text=True))


if __name__ == "__main__":
    main()
