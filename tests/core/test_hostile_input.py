"""The compiled core with mutated arguments: it computes or raises TypeError or ValueError, and never crashes.

`make sanitize` runs these tests under the sanitizers, which also find reads and writes outside of the arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from facetools import _core
from facetools.clustering import codes
from tests.core.cases import random_faces

Arguments = dict[str, Any]

#: Calls of every function, directly and through facetools.clustering.codes.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "pack": codes.pack,
    "unpack": codes.unpack,
    "distinct": codes.distinct,
    "silhouette": codes.silhouette,
    "dbscan": codes.dbscan,
    "linkage": codes.linkage,
    "cut_tree": codes.cut_tree,
    "kmeans_seed": codes.kmeans_seed,
    "kmeans_assign": codes.kmeans_assign,
    "kmeans_update": codes.kmeans_update,
    "mixture_expect": codes.mixture_expect,
    "mixture_posteriors": codes.mixture_posteriors,
    "_core.pack": _core.pack,
    "_core.unpack": _core.unpack,
    "_core.distinct": _core.distinct,
    "_core.silhouette": _core.silhouette,
    "_core.dbscan": _core.dbscan,
    "_core.linkage": _core.linkage,
    "_core.cut": _core.cut,
    "_core.kmeans_seed": _core.kmeans_seed,
    "_core.kmeans_assign": _core.kmeans_assign,
    "_core.kmeans_update": _core.kmeans_update,
    "_core.mixture_expect": _core.mixture_expect,
    "_core.mixture_posteriors": _core.mixture_posteriors,
    "_core.find_rules": _core.find_rules,
}
MUTATED_CALLS = 1000


def valid_arguments(name: str, rng: np.random.Generator) -> Arguments:
    """Valid arguments of a function, for random faces with 1 to 4 words per code."""
    attributes = int(rng.choice([1, 8, 37, 64, 65, 128, 130, 192, 200, 256]))
    faces = random_faces(int(rng.integers(2, 80)), attributes, int(rng.integers(1000)))
    d = len(faces.counts)
    clusters = int(rng.integers(1, d + 1))
    weights = rng.random(attributes) if rng.random() < 0.5 else None
    labels = rng.integers(-1, clusters, d).astype(np.int32)
    method = str(rng.choice(list(codes.LINKAGE_METRICS)))
    # A merge of node m - 1 with the next code: a chain.
    tree = np.array([[d + m - 1 if m else 0, m + 1, m, m + 2] for m in range(d - 1)], np.float64).reshape(-1, 4)
    mixture = {
        "log_weights": -rng.random(clusters),
        "log_present": -rng.random((clusters, attributes)),
        "log_absent": -rng.random((clusters, attributes)),
    }
    general = {"codes": faces.codes, "counts": faces.counts, "attributes": attributes, "threads": 2}
    arguments: dict[str, Arguments] = {
        "pack": {"rows": faces.rows, "threshold": 0.5, "threads": 2},
        "unpack": {key: general[key] for key in ("codes", "attributes", "threads")},
        "distinct": {"codes": faces.codes[faces.inverse]},
        "silhouette": general | {"labels": labels, "metric": str(rng.choice(codes.METRICS)), "weights": weights},
        "dbscan": {key: general[key] for key in ("codes", "counts", "threads")} | {"radius": 1, "min_samples": 2},
        "linkage": general | {"method": method},
        "cut": {"tree": tree, "clusters": clusters},
        "kmeans_seed": general | {"clusters": clusters, "seed": 3},
        "kmeans_assign": {key: general[key] for key in ("codes", "counts", "threads")}
        | {"centroids": rng.random((clusters, attributes))},
        "kmeans_update": general | {"labels": labels, "clusters": clusters},
        "mixture_expect": {key: general[key] for key in ("codes", "counts", "threads")} | mixture,
        "mixture_posteriors": {key: general[key] for key in ("codes", "threads")} | mixture,
        # Labels without gaps, with some noise.
        "find_rules": {key: general[key] for key in ("codes", "counts", "threads")}
        | {"labels": (np.arange(d) % (clusters + 1) - (clusters < d)).astype(np.int32), "clusters": clusters},
    }
    arguments["cut_tree"] = arguments["cut"]
    chosen = arguments[name.removeprefix("_core.")]
    if name in ("_core.linkage", "_core.kmeans_seed", "_core.kmeans_assign"):
        chosen["values"] = weights
    elif name in ("linkage", "kmeans_seed", "kmeans_assign"):
        chosen["weights"] = weights
    if name.startswith("_core.") and name != "_core.cut":
        chosen["report"] = None
    return chosen


def mutate(value: Any, rng: np.random.Generator) -> Any:
    """Another value of the same kind, or of another kind."""
    if isinstance(value, np.ndarray):
        return mutate_array(value, rng)
    if isinstance(value, int):
        choices = [-1, 0, 1, 2, 3, 64, 257, 2**31, 2**63, -(2**70), value + 1, value - 1]
        return choices[rng.integers(len(choices))]
    return [None, "", "euclidean", 0.5, np.nan, 1j, b"ward", (), np.zeros(3)][rng.integers(9)]


def mutate_array(array: np.ndarray, rng: np.random.Generator) -> Any:
    extremes = {
        "i": [-(2**31), -2, -1, 0, 1, 2**30],
        "u": [0, 1, 255],
        "f": [np.nan, np.inf, -np.inf, -1.0, 0.0, 0.5, 1e300, 2.0**63],
    }
    match int(rng.integers(12)):
        case 0:
            return array[: len(array) // 2]
        case 1:
            return np.concatenate([array, array[:1]])
        case 2:
            return array[::-1]
        case 3:
            return np.repeat(array, 2, axis=0)[::2]
        case 4:
            return np.asfortranarray(array)
        case 5:
            return array.astype(rng.choice(["u1", "i4", "i8", "u8", "f4", "f8", ">u8", "?", "O", "U3"]))
        case 6:
            return array.reshape(-1) if array.ndim == 2 else array[:, None]
        case 7:
            return array[:0]
        case 8:
            return array[..., None]
        case 9:
            return array.tolist()
        case 10 if array.dtype.kind == "u" and array.itemsize == 8:
            return array | np.uint64(1 << int(rng.integers(63)))
        case _:
            changed = array.copy()
            if changed.size:
                changed.flat[rng.integers(changed.size)] = rng.choice(extremes[array.dtype.kind])
            return changed


@pytest.mark.parametrize("name", FUNCTIONS)
def test_mutated_arguments_are_used_or_rejected(name: str) -> None:
    function, outcomes = FUNCTIONS[name], Counter[str]()
    for seed in range(MUTATED_CALLS):
        rng = np.random.default_rng(seed)
        arguments = valid_arguments(name, rng)
        for key in rng.choice(list(arguments), int(rng.integers(min(2, len(arguments)) + 1)), replace=False).tolist():
            with np.errstate(invalid="ignore"):
                arguments[key] = mutate(arguments[key], rng)
        try:
            result = function(**arguments)
        except (TypeError, ValueError) as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["result"] += 1
            check_result(name.removeprefix("_core."), arguments, result)
    assert outcomes["result"] > MUTATED_CALLS // 10
    assert outcomes["ValueError"] + outcomes["TypeError"] > MUTATED_CALLS // 10


def check_result(name: str, arguments: Arguments, result: Any) -> None:
    """Assert that labels and indices are in range, and that figures are numbers."""
    size = len(arguments.get("codes", arguments.get("tree", ())))
    if name in ("dbscan", "cut", "cut_tree"):
        labels, limit = result, arguments.get("clusters", size)
        assert labels.min(initial=0) >= -1 and labels.max(initial=-1) < limit
    elif name == "kmeans_assign":
        labels, distances, inertia = result
        assert labels.min(initial=0) >= 0 and labels.max(initial=-1) < len(arguments["centroids"])
        assert np.isfinite(distances).all() and np.isfinite(inertia)
    elif name == "find_rules":
        literals, matches, selected = result
        assert literals.min(initial=-1) >= -1 and literals.max(initial=-1) < 2 * 64 * np.shape(arguments["codes"])[1]
        assert (matches <= selected).all() and selected.max(initial=0) <= np.sum(arguments["counts"])
    elif name == "kmeans_update":
        assert result[1].sum() <= np.sum(arguments["counts"])
    elif name == "kmeans_seed":
        assert len(set(result.tolist())) == len(result) == arguments["clusters"]
        assert result.min() >= 0 and result.max() < size
    elif name == "linkage":
        assert result.shape == (size - 1, 4) and np.isfinite(result).all()
    elif name == "silhouette":
        mean = result.mean if isinstance(result, codes.Silhouette) else result[0]
        assert -1 <= mean <= 1


@pytest.mark.parametrize("function", ["pack", "distinct"])
def test_arrays_of_any_layout_give_the_same_result(function: str) -> None:
    faces = random_faces(300, 130, 1)
    array = faces.rows if function == "pack" else codes.pack(faces.rows)
    compute = getattr(codes, function)
    expected = compute(array)
    for view in (np.asfortranarray(array), np.repeat(array, 2, axis=0)[::2], array[::-1][::-1]):
        actual = compute(view)
        if function == "pack":
            np.testing.assert_array_equal(actual, expected)
        else:
            np.testing.assert_array_equal(actual.codes, expected.codes)
            np.testing.assert_array_equal(actual.counts, expected.counts)


def test_the_core_requires_two_clusters_for_a_silhouette() -> None:
    two = np.array([[1], [2]], np.uint64)
    counts = np.ones(2, np.int64)
    for labels in ([-1, -1], [0, 0], [-1, 0], [1, 1]):
        for metric in codes.METRICS:
            with pytest.raises(ValueError, match=r"^labels: must have at least 2 clusters"):
                _core.silhouette(two, counts, np.array(labels, np.int32), 2, metric, None, 1, None)


def test_a_tree_merges_each_cluster_once() -> None:
    for children in ([2, 0.5], [2, 4], [2, -1], [2, np.nan]):
        with pytest.raises(ValueError, match="does not exist yet"):
            codes.cut_tree(np.array([[0, 1, 1, 2], [*children, 2, 3]], np.float64), 1)
    with pytest.raises(ValueError, match="merged twice"):
        codes.cut_tree(np.array([[0, 1, 1, 2], [0, 2, 2, 3]], np.float64), 1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.str_, np.bool_])
def test_labels_that_are_not_integers_are_rejected(dtype: type) -> None:
    two, counts, labels = np.array([1, 2], np.uint64), np.ones(2, np.int64), np.array([0, 1]).astype(dtype)
    with pytest.raises(ValueError, match=r"^labels: must be 2 integers"):
        codes.kmeans_update(two, counts, labels, 2, attributes=2)
    with pytest.raises(ValueError, match=r"^labels: must be 2 integers"):
        codes.silhouette(two, counts, labels, attributes=2)
