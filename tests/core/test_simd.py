"""Every SIMD level gives the same results as the portable one, bit for bit."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from facetools import _core
from facetools.clustering import codes
from tests.core.cases import ATTRIBUTES, random_faces, random_labels


def compute_digest() -> str:
    """A digest of the results of all kernels: for partly filled blocks, few and many attributes, and large counts."""
    digest = hashlib.sha256()
    for attributes in ATTRIBUTES:
        for n in (3, 64, 65, 700):
            faces = random_faces(n, attributes, seed=n + attributes, repeated_fraction=0.2)
            counts = faces.counts * np.random.default_rng(n).integers(1, 300, len(faces.counts))
            if len(counts) < 3:
                continue
            weights = np.linspace(0.5, 1.5, attributes)
            for clusters in (2, 9, 60):
                labels = random_labels(faces, clusters)
                for silhouette_weights in (None, weights):
                    scores = codes.silhouette(
                        faces.codes, counts, labels, attributes=attributes, weights=silhouette_weights
                    )
                    digest.update(scores.samples)
            for radius in (0, 2, attributes // 4):
                digest.update(codes.dbscan(faces.codes, counts, radius, 200))
            for method in codes.LINKAGE_METRICS:
                digest.update(codes.linkage(faces.codes, counts, method, attributes=attributes))
            digest.update(codes.kmeans_seed(faces.codes, counts, 3, 0, attributes=attributes, weights=weights))
            centroids = np.random.default_rng(n).random((11, attributes))
            labels, distances, _ = codes.kmeans_assign(faces.codes, counts, centroids, weights=weights)
            digest.update(labels)
            digest.update(distances)
            logarithms = -np.random.default_rng(n).exponential(3, (2, 11, attributes))
            for array in codes.mixture_expect(faces.codes, counts, -np.arange(11.0), *logarithms):
                digest.update(np.float64(array))
    return digest.hexdigest()


def run_at_level(level: str) -> subprocess.CompletedProcess[str]:
    """Print the level in use and the digest, in a process that uses the SIMD level `level`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.core.test_simd"],
        env=os.environ | {"FACETOOLS_SIMD": level},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def portable_digest() -> str:
    process = run_at_level("portable")
    assert process.returncode == 0, process.stderr
    level, digest = process.stdout.split()
    assert level == "portable"
    return digest


@pytest.mark.parametrize("level", ["avx512", "avx2", "neon"])
def test_results_equal_those_of_the_portable_level(level: str, portable_digest: str) -> None:
    process = run_at_level(level)
    if f"FACETOOLS_SIMD: {level} is not" in process.stderr:
        pytest.skip(f"this CPU does not support {level}")
    assert process.stdout.split() == [level, portable_digest]


def test_unknown_levels_are_rejected() -> None:
    process = run_at_level("sse1")
    assert process.returncode != 0
    assert "ValueError: FACETOOLS_SIMD: sse1 is not" in process.stderr
    assert "portable" in process.stderr


def test_simd_names_the_level_in_use() -> None:
    assert codes.simd() == _core.simd()
    assert codes.simd() in ("avx512", "avx2", "neon", "portable")


if __name__ == "__main__":
    print(_core.simd(), compute_digest())
