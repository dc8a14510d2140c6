"""Every method on tables at the edge of what can be clustered: a clustering, or a ValueError that says why not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from facetools.clustering import METHODS, Parameters, Points, check_comparison, methods_using
from facetools.clustering.points import from_bits, from_values
from facetools.clustering.runs import cluster

RNG = np.random.default_rng(0)
BITS = (RNG.random((30, 6)) < 0.3).astype(np.uint8)
VALUES = RNG.normal(size=(30, 5)).astype(np.float32)

TABLES: dict[str, Points] = {
    "no faces": from_bits(BITS[:0]),
    "no rows": from_values(VALUES[:0]),
    "one face": from_bits(BITS[:1] | 1),
    "one row": from_values(VALUES[:1]),
    "two faces": from_bits(np.eye(2, 6, dtype=np.uint8)),
    "two rows": from_values(VALUES[:2]),
    "faces without attributes": from_bits(BITS * 0),
    "rows of zeros": from_values(VALUES * 0),
    "equal faces": from_bits(BITS | 1),
    "equal rows": from_values(VALUES * 0 + 3),
    "three distinct rows": from_values(VALUES[RNG.integers(3, size=30)]),
    "opposite rows": from_values(np.concatenate([VALUES, -VALUES])),
    "one column": from_values(VALUES[:, :1]),
    "more columns than rows": from_values(RNG.normal(size=(8, 300)).astype(np.float32)),
    "huge values": from_values(VALUES * np.float32(1e23)),
    "tiny values": from_values(VALUES * np.float32(1e-36)),
    "one huge row": from_values(np.concatenate([VALUES, VALUES[:1] * np.float32(1e22)])),
    "extreme weights": from_bits(BITS, np.array([1, 0.5, 1e-12, 0, 1, 1e12])),
}

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "kmeans": [{}, {"metric": "cosine"}, {"engine": "sklearn"}],
    "agglomerative": [
        {},
        *({"linkage": linkage, "metric": metric} for linkage in ("complete", "average") for metric in ("l1", "cosine")),
        {"linkage": "single"},
    ],
    "dbscan": [
        {"eps": eps, "min_samples": min_samples, "metric": metric}
        for eps in (1e-300, 0.5, 1e300)
        for min_samples in (1, 10**30)
        for metric in ("euclidean", "cosine")
    ],
    "birch": [{"threshold": threshold} for threshold in (1e-300, 0.5, 1e300)],
    "spectral": [{}],
    "optics": [{"min_samples": 2}, {"min_samples": 10**30}, {"metric": "cosine"}],
    "kmedians": [{}],
    "mixture": [{}],
}

#: K-Medians and mixtures refuse values and weights.
NOT_BINARY = ("K-Medians c", "the mixture c", "the mixture has no distances")
REASONS = (
    "there are no faces to cluster",
    "k is ",
    "the cosine metric is undefined",
    "BIRCH has only",
    "spectral clustering needs closer faces",
    *NOT_BINARY,
)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("method", METHODS)
def test_edge_tables_are_clustered_or_refused(method: str, table: str) -> None:
    points = TABLES[table]
    finds_k = method in ("dbscan", "optics")
    for variant in VARIANTS[method]:
        for k in [None] if finds_k else sorted({1, 2, max(points.distinct_rows, 1), points.faces + 1, 10**30}):
            try:
                result = cluster(points, method, k, Parameters(device="cpu", **variant))
            except ValueError as error:
                assert str(error).startswith(REASONS), error
                is_binary = not str(error).startswith(NOT_BINARY)
                assert k != 1 or variant.get("metric") == "cosine" or not points.faces or not is_binary
                continue
            figures = result.figures
            assert len(result.labels) == points.faces
            # BIRCH assigns faces to the nearest subcluster in float32, which may leave a cluster empty.
            # Classes of a mixture may be nobody's most probable.
            assert (
                k in (None, figures["clusters"])
                or (method == "birch" and table == "extreme weights")
                or (method == "mixture" and k is not None and figures["clusters"] < k)
            )
            assert figures["noise_share"] == round(figures["noise"] / points.faces, 6)
            assert np.isfinite(figures["inertia"])
            assert figures["silhouette"] is None or -1 <= figures["silhouette"] <= 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"eps": np.inf}, "eps is inf; it must be greater than 0 and finite"),
        ({"threshold": np.inf}, "the threshold of BIRCH is inf; it must be greater than 0 and finite"),
        ({"seed": -1}, "seed is -1; it must not be negative"),
        ({"device": "gpu"}, "device is 'gpu'; it must be auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:x"}, "device is 'cuda:x'; it must be"),
    ],
)
def test_parameters_are_validated(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Parameters(**parameters)


@pytest.mark.parametrize(
    ("method", "parameters", "message"),
    [
        ("optics", {"min_samples": 1}, "OPTICS needs min_samples of at least 2"),
        ("spectral", {"seed": 2**32}, "spectral clustering takes seeds below 2"),
    ],
)
def test_what_scikit_learn_does_not_support_is_refused(method: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cluster(from_bits(BITS), method, None if method == "optics" else 2, Parameters(**parameters))


def test_rows_that_differ_only_in_attributes_of_weight_0_are_equal() -> None:
    points = from_bits(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint8), np.array([1.0, 0.0]))
    for method in ("kmeans", "agglomerative"):
        assert len(set(cluster(points, method, 2, Parameters()).labels)) == 2
        with pytest.raises(ValueError, match="k is 3; it must be from 1 to 2, the number of distinct rows"):
            cluster(points, method, 3, Parameters())


def test_too_many_attributes_are_refused_with_an_alternative() -> None:
    with pytest.raises(ValueError, match="limited to 256; choose some by --attributes, or cluster all as numbers"):
        from_bits(np.zeros((2, 257), np.uint8))


@pytest.mark.parametrize(
    ("parameter", "methods"),
    [
        ("redo", ["kmeans", "kmedians", "mixture"]),
        ("linkage", ["agglomerative"]),
        ("metric", ["kmeans", "agglomerative", "dbscan", "optics"]),
        ("eps", ["dbscan"]),
        ("min_samples", ["dbscan", "optics"]),
        ("threshold", ["birch"]),
        ("device", ["kmeans"]),
    ],
)
def test_the_methods_that_use_a_parameter(parameter: str, methods: list[str]) -> None:
    assert methods_using(parameter) == methods


def test_a_comparison_needs_a_method_that_supports_the_metric() -> None:
    parameters = Parameters(metric="manhattan", linkage="complete")
    assert check_comparison(parameters, ["kmeans", "agglomerative", "birch"]) == ["kmeans"]
    with pytest.raises(ValueError, match="KMeans takes the metric"):
        check_comparison(parameters, ["kmeans", "birch"])
    with pytest.raises(ValueError, match="ward linkage takes the euclidean metric only"):
        check_comparison(Parameters(metric="cosine"), ["kmeans", "agglomerative"])
