"""The compiled core against its peers, side by side: python benchmarks/core.py [--quick] [--stored]

Each run is a process of its own (tasks.py) on faces drawn from the mixture (mixture.py). The engines of a task must
agree before a time is reported. They alternate, and ratios compare consecutive runs. The table goes to stdout; all
figures, hardware and versions go to results/core.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine
from sklearn.metrics import adjusted_rand_score

from facetools.clustering.rows import choose_faiss_gpu

HERE = Path(__file__).parent
RESULTS = HERE / "results/core.json"
OURS = "facetools"
CHECKED_ROWS = 3_000

Same = Callable[[np.ndarray, np.ndarray], bool]


def equal(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return np.array_equal(ours, theirs)


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return np.allclose(ours, theirs, rtol=0, atol=1e-9)


def same_partition(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return adjusted_rand_score(ours, theirs) == 1


def same_objective(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """FAISS computes in float32, so a face between two centroids may differ. It stops early when nothing changes."""
    return 0 < len(theirs) <= len(ours) and np.allclose(ours[: len(theirs)], theirs, rtol=1e-3)


def same_log_likelihood(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """StepMix computes 1 - p, which rounds probabilities near 1; the iterations amplify the difference."""
    return np.allclose(ours, theirs, rtol=1e-9, atol=0)


@dataclass(frozen=True)
class Case:
    """A row of the table: facetools on `rows` faces, the peer on as many, or on fewer where it cannot finish those."""

    task: str
    rows: int
    peer: str | None = None
    same: Same = equal
    peer_rows: int | None = None
    repeats: int = 3
    #: Compare answers on weighted attributes: without weights, equal distances leave agglomerative clustering a choice.
    weighted_check: bool = False


def cases(quick: bool) -> Iterator[Case]:
    learn, small = "scikit-learn", 1 / 10 if quick else 1

    def rows(full: float) -> int:
        return int(full * small)

    yield Case("distinct", rows(1e7), "numpy")
    yield Case("silhouette euclidean", rows(2e4) * (4 if quick else 1), learn, close)
    yield Case("silhouette manhattan", rows(5e3) * (4 if quick else 1), learn, close)
    for radius in (0, 1, 2):
        yield Case(f"DBSCAN radius {radius}", rows(2e5), learn, repeats=3 if quick else 2)
    for linkage in ("complete", "ward", "average"):
        yield Case(linkage, rows(2e4) * (3 if quick else 1), learn, same_partition, weighted_check=True)
    yield Case("K-Means iterations", rows(1e6), "FAISS", same_objective)
    yield Case("EM iterations", rows(1e6), "StepMix", same_log_likelihood)
    if choose_faiss_gpu("auto") is not None:
        yield Case("K-Means iterations", rows(1e6), "FAISS on a GPU", same_objective)
    yield Case("comparison 2:50", rows(1.8e4))
    if quick:
        return
    yield Case("silhouette euclidean", 1_000_000, learn, close, peer_rows=50_000)
    yield Case("silhouette euclidean", 10_000_000, repeats=1)
    yield Case("silhouette manhattan", 10_000_000)
    yield Case("DBSCAN radius 1", 10_000_000)
    yield Case("complete", 190_000)  # about 100 000 distinct codes
    for linkage in ("ward", "average"):
        yield Case(linkage, 1_000_000, repeats=1)


def run(
    task: str, engine: str, rows: int, *, weighted: bool = False, seed: int = 0
) -> tuple[dict[str, Any], np.ndarray]:
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.npy"
        line = [sys.executable, HERE / "tasks.py", task, engine, str(rows), "--answer", answer, "--seed", str(seed)]
        result = subprocess.run(
            [*line, "--weighted"] if weighted else line, stdout=subprocess.PIPE, check=True, text=True
        )
        return json.loads(result.stdout), np.load(answer)


def measure(case: Case) -> dict[str, Any]:
    """Alternating runs of a case, whose answers are compared."""
    ours, theirs = [], []
    both = case.peer is not None
    peer_rows = case.peer_rows or case.rows
    if case.peer is not None and case.weighted_check:
        answers = [run(case.task, engine, CHECKED_ROWS, weighted=True)[1] for engine in (OURS, case.peer)]
        assert case.same(*answers), f"{case.task}: the engines disagree"
    for _ in range(case.repeats):
        figures, found = run(case.task, OURS, case.rows)
        ours.append(figures)
        if case.peer is not None:
            figures, expected = run(case.task, case.peer, peer_rows)
            theirs.append(figures)
            if not case.weighted_check:
                if peer_rows != case.rows:
                    found = run(case.task, OURS, peer_rows)[1]
                assert case.same(found, expected), f"{case.task}: the engines disagree"
    return {
        "task": case.task,
        "rows": case.rows,
        "ours": ours,
        "peer": case.peer,
        "peer_rows": peer_rows if both else None,
        "theirs": theirs,
    }


def best_of_three(rows: int) -> dict[str, Any]:
    """K-Means until it converges: one start of facetools per seed against single starts of scikit-learn."""
    theirs = [run("K-Means", "scikit-learn", rows, seed=seed)[0] for seed in range(3)]
    ours = [run("K-Means", OURS, rows, seed=seed)[0] for seed in range(3)]
    return {"task": "K-Means", "rows": rows, "ours": ours, "peer": "scikit-learn", "peer_rows": rows, "theirs": theirs}


def table(results: list[dict[str, Any]], about: dict[str, Any]) -> Iterator[str]:
    """The lines of the table as Markdown."""
    yield "| task | faces | distinct codes | facetools | peer | ratio (min to max) |"
    yield "|---|--:|--:|--:|---|--:|"
    for case in results:
        yield line(case)
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    hardware = (
        f"{about['processor']}, {about['threads']} threads, {about['simd']}, {', '.join(about['gpus']) or 'no GPU'}"
    )
    yield f"\n{hardware}; {versions}"


def line(case: dict[str, Any]) -> str:
    """A row of the table: medians; median, minimum and maximum of the ratio."""

    def summary(runs: list[dict[str, Any]]) -> str:
        seconds, peak = (statistics.median(run[name] for run in runs) for name in ("seconds", "memory"))
        return f"{_digits(seconds)} s, {_digits(peak / 1e6)} MB"

    ours, theirs = case["ours"], case["theirs"]
    distinct = f"{ours[0]['distinct']:,}" if "distinct" in ours[0] else ""
    peer, ratio = "", ""
    if theirs:
        peer = f"{case['peer']}: {summary(theirs)}"
        if case["peer_rows"] != case["rows"]:
            peer += f" for {case['peer_rows']:,} faces"
        else:
            ratios = sorted(b["seconds"] / a["seconds"] for a, b in zip(ours, theirs, strict=True))
            ratio = f"{_digits(statistics.median(ratios))} ({_digits(ratios[0])} to {_digits(ratios[-1])})"
    if case["task"] == "K-Means":
        objectives = [min(run["inertia"] for run in runs) for runs in (ours, theirs)]
        worst = max(run["inertia"] for run in ours)
        peer += f"; best objective of {len(theirs)} {objectives[1]:,.0f}, worst of facetools {worst:,.0f}"
    return f"| {case['task']} | {case['rows']:,} | {distinct} | {summary(ours)} | {peer} | {ratio} |"


def _digits(value: float) -> str:
    """Three significant digits, more for large numbers."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a tenth of the faces, in two minutes")
    parser.add_argument("--stored", action="store_true", help="print the table of results/core.json")
    arguments = parser.parse_args()
    if arguments.stored:
        stored = json.loads(RESULTS.read_text())
        print(*table(stored["cases"], stored["machine"]), sep="\n")
        return
    results, about = [], machine()
    for case in cases(arguments.quick):
        results.append(measure(case))
        print(line(results[-1]), file=sys.stderr, flush=True)
    results.append(best_of_three(100_000 if arguments.quick else 1_000_000))
    print(*table(results, about), sep="\n", flush=True)
    if not arguments.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"machine": about, "cases": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
