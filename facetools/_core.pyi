from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
Counts = NDArray[np.int64]
Report = Callable[[float], object] | None

def simd() -> str: ...
def pack(
    rows: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8], threshold: float, threads: int, report: Report
) -> Codes: ...
def unpack(codes: Codes, attributes: int, threads: int, report: Report) -> NDArray[np.uint8]: ...
def distinct(codes: Codes, report: Report) -> tuple[Codes, Counts, NDArray[np.int64], NDArray[np.int64]]: ...
def silhouette(
    codes: Codes,
    counts: Counts,
    labels: NDArray[np.int32],
    attributes: int,
    metric: str,
    weights: NDArray[np.float64] | None,
    threads: int,
    report: Report,
) -> tuple[float, NDArray[np.float64]]: ...
def dbscan(
    codes: Codes, counts: Counts, radius: int, min_samples: int, threads: int, report: Report
) -> NDArray[np.int32]: ...
def linkage(
    codes: Codes,
    counts: Counts,
    attributes: int,
    method: str,
    values: NDArray[np.float64] | None,
    threads: int,
    report: Report,
) -> NDArray[np.float64]: ...
def cut(tree: NDArray[np.float64], clusters: int) -> NDArray[np.int32]: ...
def kmeans_assign(
    codes: Codes,
    counts: Counts,
    centroids: NDArray[np.float64],
    values: NDArray[np.float64] | None,
    threads: int,
    report: Report,
) -> tuple[NDArray[np.int32], NDArray[np.float64], float]: ...
def kmeans_update(
    codes: Codes,
    counts: Counts,
    labels: NDArray[np.int32],
    clusters: int,
    attributes: int,
    threads: int,
    report: Report,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def kmeans_seed(
    codes: Codes,
    counts: Counts,
    attributes: int,
    clusters: int,
    seed: int,
    values: NDArray[np.float64] | None,
    threads: int,
    report: Report,
) -> NDArray[np.int64]: ...
def warp(images: NDArray[np.uint8], warps: NDArray[np.float64], out: NDArray[np.float32], threads: int) -> None: ...
def resize(image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None: ...
def moments(values: NDArray[np.float32], out: NDArray[np.float32], threads: int) -> None: ...
def take_moments(
    moments: NDArray[np.float32],
    places: int,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    mean: NDArray[np.float32],
    variance: NDArray[np.float32],
    epsilon: float,
    momentum: float,
    scale: NDArray[np.float32],
) -> None: ...
def normalise(
    values: NDArray[np.float32],
    scale: NDArray[np.float32],
    low: float,
    high: float,
    added: NDArray[np.float32] | None,
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def normalise_backward(
    values: NDArray[np.float32],
    scale: NDArray[np.float32],
    low: float,
    high: float,
    gradient: NDArray[np.float32],
    by_value: NDArray[np.float32],
    by_scale: NDArray[np.float32],
    threads: int,
) -> None: ...
def expand(
    images: NDArray[np.float32],
    weights: NDArray[np.float32],
    out: NDArray[np.float32],
    moments: NDArray[np.float32],
    threads: int,
) -> None: ...
def depthwise(
    maps: NDArray[np.float32],
    scale: NDArray[np.float32],
    filters: NDArray[np.float32],
    stride: int,
    out: NDArray[np.float32],
    moments: NDArray[np.float32],
    threads: int,
) -> None: ...
def kept_backward(
    images: NDArray[np.float32],
    weights: NDArray[np.float32],
    maps: NDArray[np.float32],
    scale: NDArray[np.float32],
    filters: NDArray[np.float32],
    stride: int,
    filtered: NDArray[np.float32],
    filtered_scale: NDArray[np.float32],
    projection: NDArray[np.float32],
    gradient: NDArray[np.float32],
    by_images: NDArray[np.float32] | None,
    by_weights: NDArray[np.float32],
    by_filters: NDArray[np.float32],
    by_projection: NDArray[np.float32],
    by_scale: NDArray[np.float32],
    by_filtered_scale: NDArray[np.float32],
    threads: int,
) -> None: ...
def expanded_moments(
    images: NDArray[np.float32],
    weights: NDArray[np.float32],
    expand_stride: int,
    inputs: NDArray[np.float64],
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def expanded_depthwise(
    images: NDArray[np.float32],
    weights: NDArray[np.float32],
    expand_stride: int,
    scale: NDArray[np.float32],
    filters: NDArray[np.float32],
    stride: int,
    out: NDArray[np.float32],
    moments: NDArray[np.float32],
    threads: int,
) -> None: ...
def normalise_project(
    values: NDArray[np.float32],
    scale: NDArray[np.float32],
    projection: NDArray[np.float32],
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def anew_backward(
    images: NDArray[np.float32],
    weights: NDArray[np.float32],
    expand_stride: int,
    inputs: NDArray[np.float64],
    scale: NDArray[np.float32],
    filters: NDArray[np.float32],
    stride: int,
    filtered: NDArray[np.float32],
    filtered_scale: NDArray[np.float32],
    projection: NDArray[np.float32],
    gradient: NDArray[np.float32],
    by_images: NDArray[np.float32] | None,
    by_weights: NDArray[np.float32],
    by_filters: NDArray[np.float32],
    by_projection: NDArray[np.float32],
    by_scale: NDArray[np.float32],
    by_filtered_scale: NDArray[np.float32],
    threads: int,
) -> None: ...
def product(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    turned_a: bool,
    turned_b: bool,
    out: NDArray[np.float32],
    threads: int,
) -> None: ...
def adadelta(
    parameters: NDArray[np.float32],
    gradients: NDArray[np.float32],
    squares: NDArray[np.float32],
    steps: NDArray[np.float32],
    rate: float,
    decay: float,
    epsilon: float,
    weight_decay: float,
    threads: int,
) -> None: ...
