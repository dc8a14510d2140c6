"""One task of clustering, done by one engine on so many faces in a process of its own:

    python benchmarks/tasks.py silhouette scikit-learn 20000 [--weighted] [--answer FILE.npy]

Every engine starts from the same 0/1 rows in memory and ends with an answer for every face. Printed, as JSON: seconds,
bytes of memory at the most, the rows (37 a face) included, and figures of the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mixture
import numpy as np

from facetools.clustering import Parameters, codes
from facetools.clustering.points import from_bits, inertia
from facetools.clustering.runs import cluster, compare

THREADS = len(os.sched_getaffinity(0))
GROUPS = 16
CUT = 20
CENTROIDS = 64
ITERATIONS = 25
MIN_SAMPLES = 5


@dataclass
class Faces:
    """uint8 0/1 rows (n, a); weights float64 (a,) that leave no two distances equal, or ones; the seed of what is
    random."""

    bits: np.ndarray
    weights: np.ndarray
    seed: int = 0

    @property
    def given_weights(self) -> np.ndarray | None:
        return None if (self.weights == 1).all() else self.weights

    @property
    def floats(self) -> np.ndarray:
        return self.bits * self.weights

    @property
    def labels(self) -> np.ndarray:
        """Groups to be scored: the nearest of some faces, int32 (n,)."""
        found = codes.distinct(codes.pack(self.bits))
        common = np.argsort(-found.counts, kind="stable")[:GROUPS]
        centroids = codes.unpack(found.codes[common], self.bits.shape[1]).astype(float)
        return codes.kmeans_assign(found.codes, found.counts, centroids)[0][found.inverse]


@dataclass
class Answer:
    """What is compared, a value for each face or so, and what is told of it; `later` finds more of that when the clock
    has stopped."""

    values: np.ndarray
    figures: dict[str, Any] = field(default_factory=dict)
    later: Callable[[], dict[str, Any]] = dict


#: What prepares a task, untimed, and gives what does it, timed.
Engine = Callable[[Faces], Callable[[], Answer]]
TASKS: dict[str, dict[str, Engine]] = {}


def does(task: str, engine: str) -> Callable[[Engine], Engine]:
    def known(prepare: Engine) -> Engine:
        TASKS.setdefault(task, {})[engine] = prepare
        return prepare

    return known


@does("distinct", "facetools")
def _(faces: Faces) -> Callable[[], Answer]:
    def run() -> Answer:
        found = codes.distinct(codes.pack(faces.bits))
        return Answer(np.sort(found.counts), {"distinct": len(found.counts)})

    return run


@does("distinct", "numpy")
def _(faces: Faces) -> Callable[[], Answer]:
    def run() -> Answer:
        packed = np.zeros((len(faces.bits), 8), np.uint8)
        packed[:, : (faces.bits.shape[1] + 7) // 8] = np.packbits(faces.bits, axis=1)
        found, _, counts = np.unique(packed.view(np.uint64)[:, 0], return_inverse=True, return_counts=True)
        return Answer(np.sort(counts), {"distinct": len(found)})

    return run


def _silhouette(metric: str) -> None:
    @does(f"silhouette {metric}", "facetools")
    def _(faces: Faces) -> Callable[[], Answer]:
        labels = faces.labels

        def run() -> Answer:
            found = codes.distinct(codes.pack(faces.bits))
            attributes = faces.bits.shape[1]
            scores = codes.silhouette(
                found.codes, found.counts, labels[found.first], attributes=attributes, metric=metric
            )
            return Answer(scores.samples[found.inverse], {"distinct": len(found.counts), "silhouette": scores.mean})

        return run

    @does(f"silhouette {metric}", "scikit-learn")
    def _(faces: Faces) -> Callable[[], Answer]:
        from sklearn.metrics import silhouette_samples

        labels, rows = faces.labels, faces.floats

        def run() -> Answer:
            samples = silhouette_samples(rows, labels, metric=metric, n_jobs=THREADS)
            return Answer(samples, {"silhouette": float(samples.mean())})

        return run


def _dbscan(radius: int) -> None:
    @does(f"DBSCAN radius {radius}", "facetools")
    def _(faces: Faces) -> Callable[[], Answer]:
        def run() -> Answer:
            found = codes.distinct(codes.pack(faces.bits))
            labels = codes.dbscan(found.codes, found.counts, radius, MIN_SAMPLES)
            return Answer(labels[found.inverse], {"distinct": len(found.counts), "clusters": int(labels.max()) + 1})

        return run

    @does(f"DBSCAN radius {radius}", "scikit-learn")
    def _(faces: Faces) -> Callable[[], Answer]:
        from sklearn.cluster import DBSCAN

        rows = faces.floats.astype(np.float32)
        # The euclidean distance of bits is the root of the number of those that differ; scikit-learn is at its fastest.
        method = DBSCAN(eps=np.sqrt(radius + 0.5), min_samples=MIN_SAMPLES, n_jobs=THREADS)
        return lambda: Answer(method.fit(rows).labels_)


def _linkage(linkage: str) -> None:
    metric = "euclidean" if linkage == "ward" else "manhattan"

    @does(linkage, "facetools")
    def _(faces: Faces) -> Callable[[], Answer]:
        def run() -> Answer:
            found = codes.distinct(codes.pack(faces.bits))
            attributes, weights = faces.bits.shape[1], faces.given_weights
            tree = codes.linkage(
                found.codes, found.counts, linkage, attributes=attributes, metric=metric, weights=weights
            )
            labels = codes.cut(tree, CUT)
            return Answer(labels[found.inverse], {"distinct": len(found.counts), "height": float(tree[-1, 2])})

        return run

    @does(linkage, "scikit-learn")
    def _(faces: Faces) -> Callable[[], Answer]:
        from sklearn.cluster import AgglomerativeClustering

        rows, method = faces.floats, AgglomerativeClustering(CUT, metric=metric, linkage=linkage)
        return lambda: Answer(method.fit(rows).labels_)


for _metric in ("euclidean", "manhattan"):
    _silhouette(_metric)
for _radius in (0, 1, 2):
    _dbscan(_radius)
for _name in ("complete", "ward", "average"):
    _linkage(_name)


def _seeds(faces: Faces) -> np.ndarray:
    found = codes.distinct(codes.pack(faces.bits))
    attributes = faces.bits.shape[1]
    chosen = codes.kmeans_seed(found.codes, found.counts, CENTROIDS, 0, attributes=attributes)
    return codes.unpack(found.codes[chosen], attributes).astype(float)


@does("K-Means iterations", "facetools")
def _(faces: Faces) -> Callable[[], Answer]:
    seeds = _seeds(faces)

    def run() -> Answer:
        found, centroids, inertias = codes.distinct(codes.pack(faces.bits)), seeds, []
        for _ in range(ITERATIONS):
            labels, _, total = codes.kmeans_assign(found.codes, found.counts, centroids)
            sums, sizes = codes.kmeans_update(
                found.codes, found.counts, labels, CENTROIDS, attributes=faces.bits.shape[1]
            )
            centroids = sums / sizes[:, None]
            inertias.append(total)
        return Answer(np.array(inertias), {"distinct": len(found.counts), "inertia": inertias[-1]})

    return run


def _faiss(gpu: bool) -> Engine:
    def prepare(faces: Faces) -> Callable[[], Answer]:
        import faiss

        faiss.omp_set_num_threads(THREADS)
        rows, seeds = faces.bits.astype(np.float32), _seeds(faces).astype(np.float32)
        everything = len(rows) // CENTROIDS + 1  # points a centroid: FAISS would take a sample
        method = faiss.Kmeans(
            rows.shape[1], CENTROIDS, niter=ITERATIONS, max_points_per_centroid=everything, gpu=gpu, verbose=False
        )

        def run() -> Answer:
            method.train(rows, init_centroids=seeds)
            return Answer(np.array(method.obj, float), {"inertia": float(method.obj[-1])})

        return run

    return prepare


does("K-Means iterations", "FAISS")(_faiss(gpu=False))
does("K-Means iterations", "FAISS on a GPU")(_faiss(gpu=True))


@does("K-Means", "facetools")
def _(faces: Faces) -> Callable[[], Answer]:
    def run() -> Answer:
        points = from_bits(faces.bits)
        found = cluster(points, "kmeans", CENTROIDS, Parameters(jobs=THREADS, seed=faces.seed), judge=False)
        return Answer(found.labels, {"distinct": len(points.counts), "inertia": found.figures["inertia"]})

    return run


@does("K-Means", "scikit-learn")
def _(faces: Faces) -> Callable[[], Answer]:
    from sklearn.cluster import KMeans

    rows = faces.floats.astype(np.float32)
    method = KMeans(CENTROIDS, random_state=faces.seed)

    def run() -> Answer:
        labels = method.fit(rows).labels_
        return Answer(labels, later=lambda: {"inertia": inertia(from_bits(faces.bits), labels)})

    return run


@does("comparison 2:50", "facetools")
def _(faces: Faces) -> Callable[[], Answer]:
    def run() -> Answer:
        points, failures = from_bits(faces.bits), []
        methods = ("kmeans", "agglomerative", "dbscan")
        parameters = Parameters(jobs=THREADS, eps=1.0)
        figures = list(
            compare(points, methods, range(2, 51), parameters, on_failure=lambda *failure: failures.append(failure))
        )
        assert not failures, failures
        return Answer(np.array([row["silhouette"] for row in figures], float), {"clusterings": len(figures)})

    return run


def measured(task: str, engine: str, rows: int, weighted: bool, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """What one run takes and what it finds."""
    empty = _status("VmRSS")
    bits = codes.unpack(mixture.draw(rows), 37)
    weights = np.sqrt(np.random.default_rng(7).uniform(0.5, 1.5, 37)) if weighted else np.ones(37)
    run = TASKS[task][engine](Faces(bits, weights, seed))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that of the run, not of what prepared it
    started = time.perf_counter()
    answer = run()
    seconds = time.perf_counter() - started
    taken = {"seconds": seconds, "memory": _status("VmHWM") - empty}
    return taken | answer.figures | answer.later(), answer.values


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("engine")
    parser.add_argument("rows", type=int)
    parser.add_argument("--weighted", action="store_true")
    parser.add_argument("--answer")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    figures, values = measured(asked.task, asked.engine, asked.rows, asked.weighted, asked.seed)
    if asked.answer:
        np.save(asked.answer, values)
    print(json.dumps(figures))
