"""Precision at 20 of rankings by a description: python benchmarks/search.py CELEBA > search.jsonl

CELEBA is a folder in CelebA's layout, by default FACETOOLS_CELEBA. The starter model scores its test partition. The
queries are all combinations of one, two and three attributes, each present or absent, that at least 20 faces satisfy.
The first output line describes the machine. Each other line has, for one ranking and number of terms, the mean
precision over queries, and the mean difference from the product of raw scores with its standard error: both from the
same bootstrap samples of the faces, on SAMPLE random queries.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from machine import machine

from facetools.network.calibration import Calibration
from facetools.network.checkpoint import STARTER_MODEL, read_entries
from facetools.search import Literal, Ranking
from facetools.table import streams

TOP, SAMPLE, RESAMPLES = 20, 1000, 200

#: Attributes, by number, and whether each is present.
Query = tuple[list[int], np.ndarray]


def predict(celeba: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Attribute names, scores (n, a) and labels (n, a) of the test faces."""
    with tempfile.TemporaryDirectory() as folder:
        table = str(Path(folder) / "test.npy")
        line = [sys.executable, "-m", "facetools.commands.predict", celeba, "--partition", "test", "--labels", celeba]
        subprocess.run([*line, "-o", table], check=True)
        faces, _ = streams.read_table(table)
    assert faces.scores is not None and faces.labels is not None
    return faces.scores.names, faces.scores.values, faces.labels.select(faces.scores.names)


def find_queries(labels: np.ndarray, terms: int) -> list[tuple[Query, np.ndarray]]:
    """The queries that at least TOP faces satisfy, and whether each face does, bool (n,)."""
    found = []
    for columns in itertools.combinations(range(labels.shape[1]), terms):
        for present in itertools.product((True, False), repeat=terms):
            truth = (labels[:, columns] == np.array(present)).all(axis=1)
            if truth.sum() >= TOP:
                found.append(((list(columns), np.array(present)), truth))
    return found


def rankings(
    names: tuple[str, ...], scores: np.ndarray, calibration: Calibration
) -> dict[str, Callable[[Query], np.ndarray]]:
    """The key to sort by, largest first, of each ranking."""

    def ranked(ranking: str) -> Callable[[Query], np.ndarray]:
        def key(query: Query) -> np.ndarray:
            literals = [Literal(names[c], bool(p)) for c, p in zip(*query, strict=True)]
            return Ranking(literals, calibration.select(query[0]), ranking).rank(scores[:, query[0]])[1]

        return key

    def agreement(query: Query) -> np.ndarray:
        columns, present = query
        return np.where(present, scores[:, columns], 1 - scores[:, columns]).astype(np.float64)

    return {
        "product of raw scores": lambda query: agreement(query).prod(axis=1),
        "Hamming distance": lambda query: (agreement(query) > 0.5).sum(axis=1),
        "log-odds": ranked("log-odds"),
        "mixture": ranked("mixture"),
    }


def resampled_precision(truth: np.ndarray, order: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Precision at TOP in each bootstrap sample (samples,), which has counts[s, face] copies of a face."""
    copies = counts[:, order]
    before = np.cumsum(copies, axis=1) - copies
    used = np.clip(TOP - before, 0, copies)
    return (used @ truth[order]) / TOP


def main(celeba: str) -> None:
    print(json.dumps(machine()), flush=True)
    names, scores, labels = predict(celeba)
    calibration = Calibration.from_entry(read_entries(STARTER_MODEL)["calibration"], len(names))
    keys = rankings(names, scores, calibration)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)), RESAMPLES)
    for terms in (1, 2, 3):
        queries = find_queries(labels, terms)
        sample = set(rng.permutation(len(queries))[:SAMPLE].tolist())
        baseline = np.zeros(0)
        for name, key in keys.items():
            precisions, resampled = [], np.zeros(RESAMPLES)
            for number, (query, truth) in enumerate(queries):
                order = np.argsort(-key(query), kind="stable")
                precisions.append(truth[order[:TOP]].mean())
                if number in sample:
                    resampled += resampled_precision(truth, order, counts) / len(sample)
            baseline = baseline if len(baseline) else resampled
            record = {
                "terms": terms,
                "queries": len(queries),
                "ranking": name,
                "precision": round(float(np.mean(precisions)), 4),
                "standard_error": round(float(resampled.std()), 4),
                "difference": round(float((resampled - baseline).mean()), 4),
                "difference_error": round(float((resampled - baseline).std()), 4),
            }
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else os.environ["FACETOOLS_CELEBA"])
