"""Images per second, facetools against a plain loop: python benchmarks/throughput.py

    python benchmarks/throughput.py                    all jobs, three alternating runs: a table, a chart and
                                                       results/throughput.json (throughput-gpu.json on a GPU)
    python benchmarks/throughput.py --only predict     the jobs whose names start like this
    python benchmarks/throughput.py --stored           the tables and charts of the stored results

engines.py defines the engines. The faces are drawn (seed 0): JPEGs of 178 x 218 pixels in a zip. Answers are compared
before a time is reported.
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
#: The engines of each job, besides facetools.
JOBS = {
    "predict 224x224": ("plain", "in-memory", "torch"),
    "predict 96x80": ("plain", "in-memory", "torch"),
    "predict 80x64": ("plain", "in-memory", "torch"),
    "train 224x224": ("plain", "in-memory"),
    "train 80x64": ("plain", "in-memory"),
    "augment 218x178": ("plain",),
    "eigenface 80x64": ("plain",),
}
#: The series of the chart and the engine of each.
SERIES = {"facetools": "facetools", "plain loop": "plain", "batches in memory": "in-memory"}
#: Faces per job: enough that the start of the plain loop's processes hardly counts, few enough to end in time.
FACES, FACES_OF_JOB = 2048, {"predict 224x224": 512, "train 224x224": 256, "augment 218x178": 512}


def cold_start(folder: Path) -> tuple[float, float]:
    """Seconds of `fa-predict one.jpg` as a new process, and of `import torch`."""
    command = [sys.executable, "-m", "facetools.commands.predict", paths_of(folder)[0]]
    seconds = []
    for line in (command, [sys.executable, "-c", "import torch"]):
        started = time.perf_counter()
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return seconds[0], seconds[1]


def answers_agree(job: str, ours: list[float], plain: list[float]) -> bool:
    """Scores agree up to bfloat16 and different antialiasing, variances are equal; training and augmentation are random
    and compared by size only."""
    if job.startswith("predict"):
        return bool(np.abs(np.subtract(ours, plain)).max() < 0.03)
    if job.startswith("eigenface"):
        return np.allclose(ours, plain, rtol=1e-6)
    return len(ours) == len(plain) and bool(np.isfinite(ours).all())


def measure_job(job: str, folder: Path, repeats: int) -> dict[str, list[float]]:
    """Images per second of each engine in alternating runs."""
    rates: dict[str, list[float]] = {}
    for _ in range(repeats):
        answers = {}
        for engine in ("facetools", *JOBS[job]):
            line = [sys.executable, str(ENGINES), job, engine, str(folder)]
            result = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE).stdout)
            rates.setdefault(engine, []).append(result["rate"])
            answers[engine] = result["answer"]
        assert answers_agree(job, answers["facetools"], answers["plain"]), f"{job}: the engines disagree"
    return rates


def table(content: dict[str, Any]) -> Iterator[str]:
    """The lines of the table of a stored measurement, as Markdown."""
    results: dict[str, dict[str, list[float]]] = content["images_per_second"]
    yield (
        "| job | facetools, images/s | plain loop, images/s | ratio (min to max) | share of batches in memory | "
        "network alone against torch |"
    )
    yield "|---|--:|--:|--:|--:|--:|"
    for job, rates in results.items():
        ours, plain = rates["facetools"], rates["plain"]
        ratios = sorted(a / b for a, b in zip(ours, plain, strict=True))
        share = network = ""
        if "in-memory" in rates:
            share = f"{statistics.median(a / b for a, b in zip(ours, rates['in-memory'], strict=True)):.0%}"
        if "torch" in rates:
            network = f"{statistics.median(a / b for a, b in zip(rates['in-memory'], rates['torch'], strict=True)):.2f}"
        yield (
            f"| {job} | {statistics.median(ours):,.0f} | {statistics.median(plain):,.0f} | "
            f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) | {share} | "
            f"{network} |"
        )
    if content["cold_seconds"]:
        whole, torch = (statistics.median(content[f"{name}_seconds"]) for name in ("cold", "import_torch"))
        yield f"\nCold start of `fa-predict one.jpg`: {whole:.1f} s; `import torch` alone: {torch:.1f} s."
    machine = content["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    hardware = [*machine["gpus"], machine["processor"], f"{machine['threads']} threads"]
    yield f"\n{', '.join(hardware)}; {versions}."


@style.styled
def chart(results: dict[str, dict[str, list[float]]]) -> Figure:
    """One row per job: images per second of each engine on a logarithmic axis, with the range of the runs."""
    figure = Figure(figsize=(9, 0.8 + 0.4 * len(results)), layout="constrained")
    figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, color=style.PAPER, zorder=-1))
    axes = figure.subplots()
    for number, (label, engine) in enumerate(SERIES.items()):
        rows = [(row, rates[engine]) for row, rates in enumerate(results.values()) if engine in rates]
        look = {"color": style.SERIES[number], "marker": style.MARKERS[number], "label": label}
        axes.plot([statistics.median(rates) for _, rates in rows], [row for row, _ in rows], ls="none", **look)
        for row, rates in rows:
            axes.plot([min(rates), max(rates)], [row, row], color=style.SERIES[number], lw=1)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("images per second")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def show(name: str, content: dict[str, Any]) -> None:
    """Prints the table of a measurement and writes its chart."""
    print(*table(content), sep="\n")
    figure = chart(content["images_per_second"])
    files.write_atomically(RESULTS / f"{name}.svg", style.encode_figure(figure, "svg", keep_text=True))


def measure(only: str, repeats: int) -> dict[str, Any]:
    """All jobs whose names start with `only`."""
    with tempfile.TemporaryDirectory() as scratch:
        results = {}
        for job in (job for job in JOBS if job.startswith(only)):
            faces = FACES_OF_JOB.get(job, FACES)
            folder = Path(scratch) / str(faces)
            if not folder.exists():
                folder.mkdir()
                write_celeba(folder, faces, seed=0, size=(218, 178))
            results[job] = measure_job(job, folder, repeats)
            print(job, {name: [round(rate) for rate in rates] for name, rates in results[job].items()}, file=sys.stderr)
        starts = [] if only else [cold_start(folder) for _ in range(repeats + 1)][1:]
    return {
        "machine": machine(),
        "images_per_second": results,
        "cold_seconds": [start[0] for start in starts],
        "import_torch_seconds": [start[1] for start in starts],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="jobs whose names start like this, and no cold start")
    parser.add_argument("--name", default="throughput" if DEVICE.type == "cpu" else "throughput-gpu")
    parser.add_argument("--stored", action="store_true")
    arguments = parser.parse_args()
    if arguments.stored:
        for path in sorted(RESULTS.glob("throughput*.json")):
            show(path.stem, json.loads(path.read_text()))
        return
    content = measure(arguments.only, arguments.repeats)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{arguments.name}.json").write_text(json.dumps(content, indent=1) + "\n")
    show(arguments.name, content)


if __name__ == "__main__":
    main()
