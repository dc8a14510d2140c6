"""Eigenfaces: the mean face and the principal components of the images of each cluster, streamed.

Turk and Pentland 1991; the paper's section 4.1. Decoded images wait in a temporary file, ordered by cluster, and are
read from it in chunks, so memory grows neither with the faces nor with a cluster. The components come from block
Lanczos iterations (Golub and Underwood 1977) with the covariance matrix, which is never formed, until they are exact:
every residual |C v - l v| is at most 1e-7 of the largest eigenvalue.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

#: Images of a chunk, and the bytes of a cluster that is not read from the file again for each product.
CHUNK_IMAGES, RESIDENT_BYTES = 256, 2**27


_TOLERANCE = 1e-7


_OVERSAMPLING = 8


_MAX_BLOCKS = 40


@dataclass(frozen=True)
class Eigenface:
    """A cluster in pictures of shape (height, width, channels), in units of the pixels, 0 to 255.

    `mean` float64, that shape; `components` float64 (m, that shape), unit vectors, the largest value of each positive;
    `explained_variance` float64 (m,) variances along them (n - 1 in the denominator); `explained_variance_ratio` their
    shares of the total variance. m is smaller than asked for where a cluster has too few faces.
    """

    cluster: int
    faces: int
    mean: np.ndarray
    components: np.ndarray
    explained_variance: np.ndarray
    explained_variance_ratio: np.ndarray


class ImageSpool:
    """Images of the same shape in a temporary file, ordered by cluster."""

    def __init__(self, counts: np.ndarray, shape: tuple[int, int, int]) -> None:
        """Room for `counts[c]` images, uint8 of `shape` (height, width, channels), in cluster c."""
        self.shape = shape
        self._bytes = int(np.prod(shape))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._filled = np.zeros(len(counts), np.int64)
        needed, folder = int(self._starts[-1]) * self._bytes, tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ValueError(
                f"{needed / 1e9:.1f} GB are needed in {folder}, {free / 1e9:.1f} GB are free; "
                f"set TMPDIR to a larger disk, or take a smaller --size"
            )
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> ImageSpool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, cluster: int, image: np.ndarray) -> None:
        """Adds an image, uint8 of the spool's shape."""
        position = self._starts[cluster] + self._filled[cluster]
        os.pwrite(self._file.fileno(), np.ascontiguousarray(image).data, int(position) * self._bytes)
        self._filled[cluster] += 1

    def count(self, cluster: int) -> int:
        """The images of `cluster` so far."""
        return int(self._filled[cluster])

    def chunks(self, cluster: int) -> Iterator[np.ndarray]:
        """The flattened images of `cluster`, uint8 (n, d), chunk after chunk."""
        for first in range(0, self.count(cluster), CHUNK_IMAGES):
            rows = min(CHUNK_IMAGES, self.count(cluster) - first)
            buffer = np.empty((rows, self._bytes), np.uint8)
            os.preadv(self._file.fileno(), [buffer.data.cast("B")], int(self._starts[cluster] + first) * self._bytes)
            yield buffer


#: Multiplies a block, float64 (d, m), by the scatter matrix (d, d) of the rows of a cluster.
ScatterProduct = Callable[[np.ndarray], np.ndarray]


def compute_eigenfaces(
    spool: ImageSpool, clusters: Iterable[int], components: int, *, device: torch.device | None = None
) -> Iterator[Eigenface]:
    """The Eigenface of each of `clusters` that has images, with up to `components` components.

    NumPy multiplies by the covariance matrix, or torch on `device`, a GPU.
    """
    for cluster in clusters:
        count = spool.count(cluster)
        if not count:
            continue
        total = np.zeros(int(np.prod(spool.shape)), np.int64)
        squares = 0
        for chunk in spool.chunks(cluster):
            total += chunk.sum(0, dtype=np.int64)
            squares += int(np.square(chunk, dtype=np.int64).sum())
        mean = total / count
        # Integer sums, so a cluster of equal images has a variance of exactly zero.
        scatter = squares - sum(int(value) ** 2 for value in total) / count
        chunks, resident = partial(spool.chunks, cluster), count * mean.nbytes <= RESIDENT_BYTES
        if device is None:
            product = _numpy_product(chunks, mean, resident)
        else:
            product = _torch_product(chunks, mean, resident, device)
        vectors, eigenvalues = _leading_eigenvectors(product, len(mean), min(components, count - 1), count, scatter)
        yield Eigenface(
            cluster,
            count,
            mean.reshape(spool.shape),
            vectors.T.reshape(-1, *spool.shape),
            eigenvalues / max(count - 1, 1),
            eigenvalues / scatter if scatter else eigenvalues,
        )


def _numpy_product(chunks: Callable[[], Iterator[np.ndarray]], mean: np.ndarray, resident: bool) -> ScatterProduct:
    def centred() -> Iterator[np.ndarray]:
        return (chunk - mean for chunk in chunks())

    rows_in_memory = list(centred()) if resident else None

    def product(block: np.ndarray) -> np.ndarray:
        result = np.zeros_like(block)
        for rows in rows_in_memory or centred():
            result += rows.T @ (rows @ block)
        return result

    return product


def _torch_product(
    chunks: Callable[[], Iterator[np.ndarray]], mean: np.ndarray, resident: bool, device: torch.device
) -> ScatterProduct:
    import torch

    centre = torch.from_numpy(mean).to(device)

    def centred() -> Iterator[torch.Tensor]:
        return (torch.from_numpy(chunk).to(device, torch.float64).sub_(centre) for chunk in chunks())

    rows_in_memory = list(centred()) if resident else None

    def product(block: np.ndarray) -> np.ndarray:
        factor = torch.from_numpy(np.ascontiguousarray(block)).to(device)
        result = torch.zeros_like(factor)
        for rows in rows_in_memory or centred():
            result.addmm_(rows.T, rows @ factor)
        return result.cpu().numpy()

    return product


def _leading_eigenvectors(
    product: ScatterProduct, dimensions: int, wanted: int, count: int, scatter: float
) -> tuple[np.ndarray, np.ndarray]:
    """The `wanted` leading eigenvectors (d, m) and eigenvalues (m,) of the scatter matrix sum (x - mean)(x - mean)' of
    `count` rows x, whose trace is `scatter`."""
    if wanted < 1 or scatter <= 0:
        return np.empty((dimensions, 0)), np.empty(0)
    width = min(wanted + _OVERSAMPLING, count - 1, dimensions)
    start = np.random.default_rng(0).standard_normal((dimensions, width))
    # A first product moves the start into the space that the images span.
    block = np.linalg.qr(product(start))[0]
    basis, images = block[:, :0], block[:, :0]
    for _ in range(_MAX_BLOCKS):
        image = product(block)
        basis, images = np.hstack([basis, block]), np.hstack([images, image])
        values, rotation = np.linalg.eigh(basis.T @ images)
        values, rotation = values[::-1][:wanted], rotation[:, ::-1][:, :wanted]
        residuals = np.linalg.norm(images @ rotation - basis @ rotation * values, axis=0)
        if residuals.max() <= _TOLERANCE * values[0]:
            break
        rest = image
        for _ in range(2):  # once leaves rounding errors
            rest = rest - basis @ (basis.T @ rest)
        directions, sizes, _ = np.linalg.svd(rest, full_matrices=False)
        block = directions[:, sizes > 1e-10 * values[0]]
        if not block.shape[1]:
            break
    present = values > 1e-10 * scatter
    vectors = (basis @ rotation)[:, present]
    signs = np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0))
    return vectors * signs, values[present]


def eigenface_picture(component: np.ndarray) -> np.ndarray:
    """A component (height, width, channels) as uint8 of that shape: grey where it is 0, full at its largest values."""
    largest = np.abs(component).max() or 1.0
    return np.rint(127.5 + 127.5 * component / largest).astype(np.uint8)
