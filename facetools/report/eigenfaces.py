"""Compute eigenfaces: the mean and the principal components of the images of each cluster.

Turk and Pentland, Eigenfaces for Recognition (1991); section 4.1 of the paper. `ImageSpool` stores the images of all
clusters in a temporary file; `compute_eigenfaces` reads them back in chunks.

The components are the leading eigenvectors v of the scatter matrix S = sum (x - mean)(x - mean)^T over the n images x
of d values, and their variances are the eigenvalues l divided by n - 1. Block Lanczos iterations with full
reorthogonalization (Golub and Underwood 1977) compute them from products of S with blocks of b vectors, without forming
S. They stop when every residual |S v - l v| is at most 1e-7 of the largest eigenvalue. With i iterations, at most 40,
the time is O(i n d b) for the products and O(i^2 d b^2) for the basis, and the memory is O(i d b), independent of n.
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

from facetools.runtime.descriptors import named_errors

if TYPE_CHECKING:
    import torch

#: The number of images that are read at a time.
CHUNK_IMAGES = 256

#: Clusters whose centered images take at most this many bytes stay in memory; others are read again for each product.
RESIDENT_BYTES = 2**27

#: The largest residual of an eigenvector, relative to the largest eigenvalue.
_TOLERANCE = 1e-7

#: Vectors of a Lanczos block in addition to the requested components; they speed up convergence.
_OVERSAMPLING = 8

_MAX_ITERATIONS = 40

#: Directions with at most this share of the scatter are rounding errors.
_ROUNDING = 1e-10

#: Multiplies a block of vectors, float64 (d, b), by the scatter matrix (d, d).
ScatterProduct = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Eigenface:
    """The mean and the principal components of the images of a cluster, in units of pixel values, 0 to 255.

    `mean` float64 (height, width, channels); `components` float64 (m, height, width, channels), unit vectors with a
    positive value of largest magnitude; `explained_variance` float64 (m,), the variance along each component, with
    denominator n - 1; `explained_variance_ratio` float64 (m,), its share of the total variance. m is smaller than
    requested if the images of the cluster span fewer dimensions.
    """

    cluster: int
    faces: int
    mean: np.ndarray
    components: np.ndarray
    explained_variance: np.ndarray
    explained_variance_ratio: np.ndarray


class ImageSpool:
    """Images of the same shape in a temporary file, grouped by cluster. A context manager that deletes the file."""

    def __init__(self, counts: np.ndarray, shape: tuple[int, int, int]) -> None:
        """Reserve space for `counts[c]` images, uint8 of `shape` (height, width, channels), in each cluster c.

        Raises ValueError if the disk is too small.
        """
        self.shape = shape
        self._image_bytes = int(np.prod(shape))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._counts = np.zeros(len(counts), np.int64)
        needed, folder = int(self._starts[-1]) * self._image_bytes, tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ValueError(
                f"eigenfaces need {needed / 1e9:.1f} GB in {folder}, but only {free / 1e9:.1f} GB are free; "
                f"set TMPDIR to a folder on a larger disk, or choose a smaller --size"
            )
        self._folder = folder
        self._file = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> ImageSpool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, cluster: int, image: np.ndarray) -> None:
        """Add an image, uint8 of the shape of the spool."""
        position = self._starts[cluster] + self._counts[cluster]
        data, offset = np.ascontiguousarray(image).data.cast("B"), int(position) * self._image_bytes
        with named_errors(self._folder):
            while data:  # a disk that is nearly full takes a part
                count = os.pwrite(self._file.fileno(), data, offset)
                data, offset = data[count:], offset + count
        self._counts[cluster] += 1

    def count(self, cluster: int) -> int:
        """The number of images added to `cluster`."""
        return int(self._counts[cluster])

    def chunks(self, cluster: int) -> Iterator[np.ndarray]:
        """Yield the flattened images of `cluster` in chunks, uint8 (n, d), n at most CHUNK_IMAGES."""
        for first in range(0, self.count(cluster), CHUNK_IMAGES):
            rows = min(CHUNK_IMAGES, self.count(cluster) - first)
            buffer = np.empty((rows, self._image_bytes), np.uint8)
            with named_errors(self._folder):
                os.preadv(
                    self._file.fileno(), [buffer.data.cast("B")], int(self._starts[cluster] + first) * self._image_bytes
                )
            yield buffer


def compute_eigenfaces(
    spool: ImageSpool, clusters: Iterable[int], components: int, *, device: torch.device | None = None
) -> Iterator[Eigenface]:
    """Yield the Eigenface, with up to `components` components, of each of `clusters` that has images.

    The products with the scatter matrix use NumPy, or PyTorch on `device` if that is given.
    """
    for cluster in clusters:
        count = spool.count(cluster)
        if not count:
            continue
        chunks = partial(spool.chunks, cluster)
        mean, scatter = _mean_and_scatter(chunks(), count, int(np.prod(spool.shape)))
        is_resident = count * mean.nbytes <= RESIDENT_BYTES
        if device is None:
            product = _numpy_product(chunks, mean, is_resident)
        else:
            product = _torch_product(chunks, mean, is_resident, device)
        vectors, eigenvalues = _leading_eigenvectors(product, len(mean), min(components, count - 1), count, scatter)
        yield Eigenface(
            cluster,
            count,
            mean.reshape(spool.shape),
            vectors.T.reshape(-1, *spool.shape),
            eigenvalues / max(count - 1, 1),
            eigenvalues / scatter if scatter else eigenvalues,
        )


def _mean_and_scatter(chunks: Iterator[np.ndarray], count: int, dimensions: int) -> tuple[np.ndarray, float]:
    """The mean of `count` images, float64 (d,), and their total scatter: the sum of squared distances to the mean."""
    # Integer sums, so that equal images have a scatter of exactly zero.
    total = np.zeros(dimensions, np.int64)
    squares = 0
    for chunk in chunks:
        total += chunk.sum(0, dtype=np.int64)
        squares += int(np.square(chunk, dtype=np.int64).sum())
    return total / count, squares - sum(int(value) ** 2 for value in total) / count


def _numpy_product(chunks: Callable[[], Iterator[np.ndarray]], mean: np.ndarray, is_resident: bool) -> ScatterProduct:
    """The product with the scatter matrix of the images in `chunks`, kept in memory if `is_resident`."""

    def centered_chunks() -> Iterator[np.ndarray]:
        return (chunk - mean for chunk in chunks())

    resident = list(centered_chunks()) if is_resident else None

    def product(block: np.ndarray) -> np.ndarray:
        result = np.zeros_like(block)
        for rows in resident or centered_chunks():
            result += rows.T @ (rows @ block)
        return result

    return product


def _torch_product(
    chunks: Callable[[], Iterator[np.ndarray]], mean: np.ndarray, is_resident: bool, device: torch.device
) -> ScatterProduct:
    """As `_numpy_product`, computed in float64 on `device`."""
    import torch

    center = torch.from_numpy(mean).to(device)

    def centered_chunks() -> Iterator[torch.Tensor]:
        return (torch.from_numpy(chunk).to(device, torch.float64).sub_(center) for chunk in chunks())

    resident = list(centered_chunks()) if is_resident else None

    def product(block: np.ndarray) -> np.ndarray:
        factor = torch.from_numpy(np.ascontiguousarray(block)).to(device)
        result = torch.zeros_like(factor)
        for rows in resident or centered_chunks():
            result.addmm_(rows.T, rows @ factor)
        return result.cpu().numpy()

    return product


def _leading_eigenvectors(
    product: ScatterProduct, dimensions: int, components: int, count: int, scatter: float
) -> tuple[np.ndarray, np.ndarray]:
    """Up to `components` leading eigenvectors (d, m) and eigenvalues (m,) of the scatter matrix of `count` images, with
    trace `scatter`; fewer if its rank is lower."""
    if components < 1 or scatter <= 0:
        return np.empty((dimensions, 0)), np.empty(0)
    width = min(components + _OVERSAMPLING, count - 1, dimensions)
    start = np.random.default_rng(0).standard_normal((dimensions, width))
    # The first product moves the random start into the range of the scatter matrix.
    block = np.linalg.qr(product(start))[0]
    basis, basis_product = block[:, :0], block[:, :0]
    for _ in range(_MAX_ITERATIONS):
        block_product = product(block)
        basis, basis_product = np.hstack([basis, block]), np.hstack([basis_product, block_product])
        # Rayleigh-Ritz: the eigenpairs of the matrix restricted to the basis, largest first.
        eigenvalues, rotation = np.linalg.eigh(basis.T @ basis_product)
        eigenvalues, rotation = eigenvalues[::-1][:components], rotation[:, ::-1][:, :components]
        residuals = np.linalg.norm(basis_product @ rotation - basis @ rotation * eigenvalues, axis=0)
        if residuals.max() <= _TOLERANCE * eigenvalues[0]:
            break
        # The next block: the part of the product that is orthogonal to the basis.
        remainder = block_product
        for _ in range(2):  # a single Gram-Schmidt pass leaves rounding errors
            remainder = remainder - basis @ (basis.T @ remainder)
        directions, sizes, _ = np.linalg.svd(remainder, full_matrices=False)
        block = directions[:, sizes > _ROUNDING * eigenvalues[0]]
        if not block.shape[1]:
            break
    is_significant = eigenvalues > _ROUNDING * scatter
    vectors = (basis @ rotation)[:, is_significant]
    signs = np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0))
    return vectors * signs, eigenvalues[is_significant]


def eigenface_picture(component: np.ndarray) -> np.ndarray:
    """Render a component (height, width, channels) as uint8: gray for 0, black or white for the largest magnitude."""
    largest = np.abs(component).max() or 1.0
    return np.rint(127.5 + 127.5 * component / largest).astype(np.uint8)
