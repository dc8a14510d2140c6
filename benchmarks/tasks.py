"""One clustering task, run by one engine on a number of faces in a process of its own:

    python benchmarks/tasks.py silhouette scikit-learn 20000 [--weighted] [--answer FILE.npy]

Every engine starts from the same 0/1 rows in memory and ends with an answer for every face. Prints JSON: seconds, peak
memory in bytes including the rows (37 bytes per face), and figures of the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import mixture
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from facetools.clustering import Parameters, Points, codes
from facetools.clustering.mixture import BinaryData, Model, iterate
from facetools.clustering.points import from_bits, inertia
from facetools.clustering.runs import cluster, compare

THREADS = len(os.sched_getaffinity(0))
GROUPS = 16
CUT = 20
CENTROIDS = 64
ITERATIONS = 25
EM_ITERATIONS = 10
MIN_SAMPLES = 5


@dataclass
class Faces:
    """uint8 0/1 rows (n, a); weights float64 (a,), ones or such that no two distances are equal; the random seed."""

    bits: np.ndarray
    weights: np.ndarray
    seed: int = 0

    @property
    def weights_or_none(self) -> np.ndarray | None:
        return None if (self.weights == 1).all() else self.weights

    @property
    def floats(self) -> np.ndarray:
        return self.bits * self.weights

    @property
    def labels(self) -> np.ndarray:
        """Clusters for the silhouette: the nearest of the most frequent codes, int32 (n,)."""
        found = codes.distinct(codes.pack(self.bits))
        common = np.argsort(-found.counts, kind="stable")[:GROUPS]
        centroids = codes.unpack(found.codes[common], self.bits.shape[1]).astype(float)
        return codes.kmeans_assign(found.codes, found.counts, centroids)[0][found.inverse]


@dataclass
class Answer:
    """The values to compare, usually one per face, and figures to report; `later` computes more figures, untimed."""

    values: np.ndarray
    figures: dict[str, Any] = field(default_factory=dict)
    later: Callable[[], dict[str, Any]] = dict


#: Prepares a task, untimed, and returns the function that is timed.
Engine = Callable[[Faces], Callable[[], Answer]]
TASKS: dict[str, dict[str, Engine]] = {}


def engine(task: str, name: str) -> Callable[[Engine], Engine]:
    """Registers a function as an engine of `task`."""

    def register(prepare: Engine) -> Engine:
        TASKS.setdefault(task, {})[name] = prepare
        return prepare

    return register


@engine("distinct", "facetools")
def _(faces: Faces) -> Callable[[], Answer]:
    def run() -> Answer:
        found = codes.distinct(codes.pack(faces.bits))
        return Answer(np.sort(found.counts), {"distinct": len(found.counts)})

    return run


@engine("distinct", "numpy")
def _(faces: Faces) -> Callable[[], Answer]:
    def run() -> Answer:
        packed = np.zeros((len(faces.bits), 8), np.uint8)
        packed[:, : (faces.bits.shape[1] + 7) // 8] = np.packbits(faces.bits, axis=1)
        found, _, counts = np.unique(packed.view(np.uint64)[:, 0], return_inverse=True, return_counts=True)
        return Answer(np.sort(counts), {"distinct": len(found)})

    return run


def _silhouette(metric: str) -> None:
    @engine(f"silhouette {metric}", "facetools")
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

    @engine(f"silhouette {metric}", "scikit-learn")
    def _(faces: Faces) -> Callable[[], Answer]:
        from sklearn.metrics import silhouette_samples

        labels, rows = faces.labels, faces.floats

        def run() -> Answer:
            samples = silhouette_samples(rows, labels, metric=metric, n_jobs=THREADS)
            return Answer(samples, {"silhouette": float(samples.mean())})

        return run


def _dbscan(radius: int) -> None:
    @engine(f"DBSCAN radius {radius}", "facetools")
    def _(faces: Faces) -> Callable[[], Answer]:
        def run() -> Answer:
            found = codes.distinct(codes.pack(faces.bits))
            labels = codes.dbscan(found.codes, found.counts, radius, MIN_SAMPLES)
            return Answer(labels[found.inverse], {"distinct": len(found.counts), "clusters": int(labels.max()) + 1})

        return run

    @engine(f"DBSCAN radius {radius}", "scikit-learn")
    def _(faces: Faces) -> Callable[[], Answer]:
        from sklearn.cluster import DBSCAN

        rows = faces.floats.astype(np.float32)
        # The euclidean distance of bits is the square root of the Hamming distance; scikit-learn is fastest with it.
        method = DBSCAN(eps=np.sqrt(radius + 0.5), min_samples=MIN_SAMPLES, n_jobs=THREADS)
        return lambda: Answer(method.fit(rows).labels_)


def _linkage(linkage: str) -> None:
    metric = "euclidean" if linkage == "ward" else "manhattan"

    @engine(linkage, "facetools")
    def _(faces: Faces) -> Callable[[], Answer]:
        def run() -> Answer:
            found = codes.distinct(codes.pack(faces.bits))
            attributes, weights = faces.bits.shape[1], faces.weights_or_none
            tree = codes.linkage(
                found.codes, found.counts, linkage, attributes=attributes, metric=metric, weights=weights
            )
            labels = codes.cut_tree(tree, CUT)
            return Answer(labels[found.inverse], {"distinct": len(found.counts), "height": float(tree[-1, 2])})

        return run

    @engine(linkage, "scikit-learn")
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


@engine("K-Means iterations", "facetools")
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
        all_rows = len(rows) // CENTROIDS + 1  # by default FAISS trains on 256 rows per centroid
        method = faiss.Kmeans(
            rows.shape[1], CENTROIDS, niter=ITERATIONS, max_points_per_centroid=all_rows, gpu=gpu, verbose=False
        )

        def run() -> Answer:
            method.train(rows, init_centroids=seeds)
            return Answer(np.array(method.obj, float), {"inertia": float(method.obj[-1])})

        return run

    return prepare


engine("K-Means iterations", "FAISS")(_faiss(gpu=False))
engine("K-Means iterations", "FAISS on a GPU")(_faiss(gpu=True))


def _start(faces: Faces) -> tuple[Points, Model]:
    points = from_bits(faces.bits)
    return points, BinaryData(points, THREADS).start(GROUPS, np.random.default_rng(0))


@engine("EM iterations", "facetools")
def _(faces: Faces) -> Callable[[], Answer]:
    _, model = _start(faces)

    def run() -> Answer:
        points = from_bits(faces.bits)
        *_, (_, expectation) = islice(iterate(BinaryData(points, THREADS), model), EM_ITERATIONS + 1)
        figures = {"distinct": len(points.counts), "log_likelihood": expectation.log_likelihood}
        return Answer(np.array([expectation.log_likelihood]), figures)

    return run


@engine("EM iterations", "StepMix")
def _(faces: Faces) -> Callable[[], Answer]:
    from stepmix.stepmix import StepMix

    _, model = _start(faces)
    rows = faces.bits.astype(float)

    class Started(StepMix):
        """StepMix from the parameters of `model`."""

        def _initialize_parameters(self, X: np.ndarray, random_state: Any) -> None:
            super()._initialize_parameters(X, random_state)
            self.weights_ = model.weights
            self._mm.parameters["pis"] = model.present

    method = Started(GROUPS, measurement="binary", max_iter=EM_ITERATIONS, abs_tol=0, rel_tol=0, progress_bar=0)

    def run() -> Answer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # all iterations run
            method.fit(rows)
        assert method.n_iter_ == EM_ITERATIONS
        # StepMix computes the log-likelihood after the last iteration too.
        log_likelihood = method.lower_bound_buffer_[-1] * len(rows)
        return Answer(np.array([log_likelihood]), {"log_likelihood": log_likelihood})

    return run


@engine("K-Means", "facetools")
def _(faces: Faces) -> Callable[[], Answer]:
    def run() -> Answer:
        points = from_bits(faces.bits)
        found = cluster(points, "kmeans", CENTROIDS, Parameters(jobs=THREADS, seed=faces.seed), with_silhouette=False)
        return Answer(found.labels, {"distinct": len(points.counts), "inertia": found.figures["inertia"]})

    return run


@engine("K-Means", "scikit-learn")
def _(faces: Faces) -> Callable[[], Answer]:
    from sklearn.cluster import KMeans

    rows = faces.floats.astype(np.float32)
    method = KMeans(CENTROIDS, random_state=faces.seed)

    def run() -> Answer:
        labels = method.fit(rows).labels_
        return Answer(labels, later=lambda: {"inertia": inertia(from_bits(faces.bits), labels)})

    return run


@engine("comparison 2:50", "facetools")
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


def measure(task: str, engine: str, rows: int, weighted: bool, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Time, memory and figures of one run, and its answer."""
    empty = _status("VmRSS")
    bits = codes.unpack(mixture.draw(rows), 37)
    weights = np.sqrt(np.random.default_rng(7).uniform(0.5, 1.5, 37)) if weighted else np.ones(37)
    run = TASKS[task][engine](Faces(bits, weights, seed))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of the run, without its preparation
    started = time.perf_counter()
    answer = run()
    seconds = time.perf_counter() - started
    usage = {"seconds": seconds, "memory": _status("VmHWM") - empty}
    return usage | answer.figures | answer.later(), answer.values


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
    arguments = parser.parse_args()
    figures, values = measure(arguments.task, arguments.engine, arguments.rows, arguments.weighted, arguments.seed)
    if arguments.answer:
        np.save(arguments.answer, values)
    print(json.dumps(figures))
