"""Images a second, ours against the plain loop that a user would write: python benchmarks/throughput.py

    python benchmarks/throughput.py                    all jobs, by turns, three times: a table, a picture and
                                                       results/throughput.json, or where there is a GPU
                                                       results/throughput-gpu.json
    python benchmarks/throughput.py --only predict     those whose names begin so
    python benchmarks/throughput.py --name NAME        stored under that name, beside another machine's
    python benchmarks/throughput.py --stored           the table and the picture of what was measured

engines.py says what the engines are. The faces are drawn (seed 0), 178 x 218 pixels as JPEGs in a zip. Answers are
compared before anything is timed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from engines import DEVICE, paths_of
from machine import machine
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter, NullLocator

from facetools.report import style
from facetools.runtime import files
from facetools.synthetic import write_celeba

RESULTS, ENGINES = Path(__file__).parent / "results", Path(__file__).parent / "engines.py"
#: Jobs and the engines beside facetools.
JOBS = {
    "predict 224x224": ("plain", "forward", "torch"),
    "predict 96x80": ("plain", "forward", "torch"),
    "predict 80x64": ("plain", "forward", "torch"),
    "train 224x224": ("plain", "step"),
    "train 80x64": ("plain", "step"),
    "augment 224x224": ("plain",),
    "augment 80x64": ("plain",),
    "eigenface 80x64": ("plain",),
}
#: What the picture calls engines.
SHOWN = {"facetools": ("facetools",), "a plain loop": ("plain",), "batches that lie ready": ("forward", "step")}
#: Faces of a job: so many that the plain loop hardly counts the time in which its processes start, few enough that it
#: ends.
FACES, FEWER = 2048, {"predict 224x224": 512, "train 224x224": 256, "augment 224x224": 512}


def cold(folder: Path) -> tuple[float, float]:
    """Seconds of `fa-predict one.jpg` from nothing, and of `import torch`, which a program with torch cannot save."""
    line = [sys.executable, "-m", "facetools.commands.predict", paths_of(folder)[0]]
    found = []
    for command in (line, [sys.executable, "-c", "import torch"]):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found.append(time.perf_counter() - started)
    return found[0], found[1]


def agree(job: str, ours: list[float], plain: list[float]) -> bool:
    """Scores are as near as bfloat16 and another antialiasing let them be; variances are equal; trained and augmented
    images are random, and are compared by their size alone."""
    if job.startswith("predict"):
        return bool(np.abs(np.subtract(ours, plain)).max() < 0.03)
    if job.startswith("eigenface"):
        return np.allclose(ours, plain, rtol=1e-6)
    return len(ours) == len(plain) and bool(np.isfinite(ours).all())


def rates(job: str, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Images a second of each engine, which take turns."""
    found: dict[str, list[float]] = {}
    for _ in range(repeats):
        answers = {}
        for engine in ("facetools", *JOBS[job]):
            line = [sys.executable, str(ENGINES), job, engine, str(folder)]
            done = subprocess.run(line, check=True, stdout=subprocess.PIPE)
            told = json.loads(done.stdout)
            found.setdefault(engine, []).append(told["rate"])
            answers[engine] = told["answer"]
        assert agree(job, answers["facetools"], answers["plain"]), f"{job}: the engines disagree"
    return found


def table(content: dict[str, Any]) -> Iterator[str]:
    """The lines that tell of a measurement."""
    results: dict[str, dict[str, list[float]]] = content["images_per_second"]
    yield "| job | facetools, images/s | plain loop | times as fast (least to most) | share of the ready batch |"
    yield "|---|--:|--:|--:|--:|"
    for job, found in results.items():
        ours, plain = found["facetools"], found["plain"]
        ratios = sorted(a / b for a, b in zip(ours, plain, strict=True))
        ready = next((found[engine] for engine in ("forward", "step") if engine in found), None)
        share = f"{statistics.median(a / b for a, b in zip(ours, ready, strict=True)):.0%}" if ready else ""
        yield (
            f"| {job} | {statistics.median(ours):,.0f} | {statistics.median(plain):,.0f} | "
            f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) | {share} |"
        )
    for job, found in results.items():
        if "torch" in found:
            gained = statistics.median(a / b for a, b in zip(found["forward"], found["torch"], strict=True))
            yield f"\nThe network alone, {job}: {gained:.2f} times torch in float32."
    for size in ("224x224", "80x64"):
        if not {f"train {size}", f"augment {size}"} <= set(results):
            continue
        trained, augmented = (statistics.median(results[f"{job} {size}"]["facetools"]) for job in ("train", "augment"))
        yield f"\nAugmentation is {trained / augmented:.1%} of a training step at {size}."
    if content["cold_seconds"]:
        whole, least = (statistics.median(content[f"{name}_seconds"]) for name in ("cold", "import_torch"))
        yield f"\n`fa-predict one.jpg`, cold: {whole:.1f} s; `import torch` alone takes {least:.1f} s."


@style.styled
def picture(results: dict[str, dict[str, list[float]]]) -> Figure:
    """A line a job: its engines' images a second on a logarithmic axis, the least and the most of the goes as a bar."""
    figure = Figure(figsize=(9, 0.8 + 0.4 * len(results)), layout="constrained")
    figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, color=style.PAPER, zorder=-1))
    axes = figure.subplots()
    for number, (label, engines) in enumerate(SHOWN.items()):
        lines = [
            (place, found[engine])
            for place, found in enumerate(results.values())
            for engine in engines
            if engine in found
        ]
        look = {"color": style.SERIES[number], "marker": style.MARKERS[number], "label": label}
        axes.plot([statistics.median(rates) for _, rates in lines], [place for place, _ in lines], ls="none", **look)
        for place, rates in lines:
            axes.plot([min(rates), max(rates)], [place, place], color=style.SERIES[number], lw=1)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("images a second")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def show(name: str, content: dict[str, Any]) -> None:
    """Prints the table of a measurement and writes its picture."""
    print(*table(content), sep="\n")
    drawn = picture(content["images_per_second"])
    files.write_atomically(RESULTS / f"{name}.svg", style.encode(drawn, "svg", text_as_text=True))


def measured(only: str, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        results = {}
        for job in (job for job in JOBS if job.startswith(only)):
            folder = Path(scratch) / str(FEWER.get(job, FACES))
            if not folder.exists():
                folder.mkdir()
                write_celeba(folder, FEWER.get(job, FACES), seed=0, size=(218, 178))
            results[job] = rates(job, folder, repeats)
            shown = {engine: [round(rate) for rate in found] for engine, found in results[job].items()}
            print(job, shown, file=sys.stderr)
        starts = [] if only else [cold(folder) for _ in range(repeats + 1)][1:]
    return {
        "machine": machine(),
        "images_per_second": results,
        "cold_seconds": [start[0] for start in starts],
        "import_torch_seconds": [start[1] for start in starts],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="jobs whose names begin so, and no cold start")
    parser.add_argument("--name", default="throughput" if DEVICE.type == "cpu" else "throughput-gpu")
    parser.add_argument("--stored", action="store_true")
    asked = parser.parse_args()
    if asked.stored:
        for path in sorted(RESULTS.glob("throughput*.json")):
            show(path.stem, json.loads(path.read_text()))
        return
    content = measured(asked.only, asked.repeats)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{asked.name}.json").write_text(json.dumps(content, indent=1) + "\n")
    show(asked.name, content)


if __name__ == "__main__":
    main()
