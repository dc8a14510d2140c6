"""The compiled core. Call it through facetools.clustering.codes, which documents and validates all arguments, and
facetools.runtime.signals.

`values`: float64 (attributes,), the contribution of each attribute to a distance if it differs; None for ones.
`report`: called now and then with the fraction of the work that is done.
`endings`: by the number of a signal, its exit status (0: end by the signal), the seconds until the watchdog acts, and
whether it then wakes wait_for_handover instead of ending the process.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint64]
Counts = NDArray[np.int64]
Report = Callable[[float], object] | None
Endings = dict[int, tuple[int, float, bool]]

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
def mixture_expect(
    codes: Codes,
    counts: Counts,
    log_weights: NDArray[np.float64],
    log_present: NDArray[np.float64],
    log_absent: NDArray[np.float64],
    threads: int,
    report: Report,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]: ...
def mixture_posteriors(
    codes: Codes,
    log_weights: NDArray[np.float64],
    log_present: NDArray[np.float64],
    log_absent: NDArray[np.float64],
    threads: int,
    report: Report,
) -> NDArray[np.float64]: ...
def find_rules(
    codes: Codes, counts: Counts, labels: NDArray[np.int32], clusters: int, threads: int, report: Report
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]: ...
def start_watchdog(descriptor: int, endings: Endings) -> None: ...
def set_endings(endings: Endings) -> None: ...
def wait_for_handover() -> int: ...
def add_temporary_file(path: bytes) -> None: ...
def remove_temporary_file(path: bytes) -> None: ...
