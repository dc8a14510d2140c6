from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Codes = NDArray[np.uint64]
Counts = NDArray[np.int64]
Floats = NDArray[np.float32] | Tensor
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
def moments(values: Floats, out: Floats, threads: int) -> None: ...
def take_moments(
    moments: Floats,
    places: int,
    weight: Floats,
    bias: Floats,
    mean: Floats,
    variance: Floats,
    batches: Tensor,
    epsilon: float,
    momentum: float,
    scale: Floats,
) -> None: ...
def normalise(
    values: Floats,
    scale: Floats,
    low: float,
    high: float,
    added: Floats | None,
    out: Floats,
    threads: int,
) -> None: ...
def normalise_backward(
    values: Floats,
    scale: Floats,
    low: float,
    high: float,
    gradient: Floats,
    by_value: Floats,
    by_scale: Floats,
    threads: int,
) -> None: ...

class Bottlenecks:
    def back(
        self,
        images: Floats,
        weights: Sequence[Floats],
        steps: Sequence[tuple[int, int, bool]],
        gradient: Floats,
        by_images: Floats | None,
        found: Sequence[Floats],
        threads: int,
    ) -> None: ...

def bottlenecks(
    images: Floats,
    weights: Sequence[Floats],
    averages: Sequence[tuple[Floats, Floats]],
    batches: Sequence[Tensor],
    numbers: Sequence[tuple[float, float]],
    steps: Sequence[tuple[int, int, bool]],
    training: bool,
    rounded: bool,
    out: Floats,
    threads: int,
) -> Bottlenecks: ...
def product(
    a: Floats,
    b: Floats,
    turned_a: bool,
    turned_b: bool,
    rounded: bool,
    out: Floats,
    threads: int,
) -> None: ...
def adadelta(
    parameters: Sequence[Floats],
    gradients: Sequence[Floats],
    squares: Sequence[Floats],
    steps: Sequence[Floats],
    taken: Sequence[Floats],
    rate: float,
    decay: float,
    epsilon: float,
    weight_decay: float,
    threads: int,
) -> None: ...
