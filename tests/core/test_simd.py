"""Every SIMD level gives the same answers, bit for bit, as the portable one."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from facetools import _core
from facetools.clustering import codes
from tests.core.cases import ATTRIBUTES, drawn_faces, labels_for


def answers() -> str:
    """A digest of what every kernel says of many shapes: tails of blocks, few and many planes, large counts."""
    digest = hashlib.sha256()
    for attributes in ATTRIBUTES:
        for n in (3, 64, 65, 700):
            faces = drawn_faces(n, attributes, seed=n + attributes, repeat=0.2)
            counts = faces.counts * np.random.default_rng(n).integers(1, 300, len(faces.counts))
            if len(counts) < 3:
                continue
            weights = np.linspace(0.5, 1.5, attributes)
            for clusters in (2, 9, 60):
                labels = labels_for(faces, clusters)
                for given in (None, weights):
                    scores = codes.silhouette(faces.codes, counts, labels, attributes=attributes, weights=given)
                    digest.update(scores.samples)
            for radius in (0, 2, attributes // 4):
                digest.update(codes.dbscan(faces.codes, counts, radius, 200))
            for method in codes.LINKAGE_METRICS:
                digest.update(codes.linkage(faces.codes, counts, method, attributes=attributes))
            seeds = codes.kmeans_seed(faces.codes, counts, 3, 0, attributes=attributes, weights=weights)
            digest.update(seeds)
            centroids = np.random.default_rng(n).random((11, attributes))
            for part in codes.kmeans_assign(faces.codes, counts, centroids, weights=weights)[:2]:
                digest.update(part)
    return digest.hexdigest()


def run(level: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *(arguments or ("-m", "tests.core.test_simd"))],
        env=os.environ | {"FACETOOLS_SIMD": level},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def portable() -> str:
    done = run("portable")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("level", ["avx512", "avx2", "neon"])
def test_level_equals_portable(level: str, portable: str) -> None:
    done = run(level)
    if "is not to be had here" in done.stderr:
        pytest.skip(f"no {level} here")
    assert done.stdout.split()[0] == level
    assert done.stdout.split()[1] == portable.split()[1]


def test_a_level_that_is_unknown_is_refused() -> None:
    done = run("sse1")
    assert done.returncode != 0
    assert "ValueError: FACETOOLS_SIMD: sse1 is not to be had here" in done.stderr
    assert "portable" in done.stderr


def test_the_level_in_use_is_named() -> None:
    assert _core.simd() in ("avx512", "avx2", "neon", "portable")


if __name__ == "__main__":
    print(_core.simd(), answers())
