"""Latent class analysis: a mixture of independent 0/1 attributes, fitted by EM on distinct codes with counts.

A face belongs to class c with probability w_c, and has attribute a with probability p_ca, independently of its other
attributes (Lazarsfeld and Henry: Latent structure analysis, 1968; McLachlan and Peel: Finite mixture models, 2000). The
probability of a face with the attributes x is

    f(x) = sum over c of w_c f_c(x),  f_c(x) = product over a of p_ca if x_a else 1 - p_ca

and its posterior for class c is w_c f_c(x) / f(x). A missing attribute is left out of the product: the attributes are
missing at random. The cluster of a face is the class of its largest posterior, the first of several.

Each iteration of EM (Dempster, Laird and Rubin 1977) computes the posteriors, and then the weights and probabilities
that maximize the expected log-likelihood: the mean posteriors, and the shares of present among observed attributes. So
the log-likelihood, the sum of log f(x) over all faces, never decreases. Iterations stop when it grows by less than
MIN_GAIN. Of several starts, the one with the largest log-likelihood wins.

A start assigns the faces to the nearest of k codes that greedy k-means++ chooses (Arthur and Vassilvitskii 2007). It
then estimates weights and probabilities from these groups, with one face of average attributes added to each group, so
that no probability is 0 or 1.

Time: O(d k ceil(a / 8)) per iteration for d distinct codes with a attributes. Memory: see `memory_bytes`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from facetools.clustering import codes
from facetools.clustering.forecast import require_memory
from facetools.clustering.method import Components, Method, Parameters
from facetools.clustering.points import MAX_ATTRIBUTES, Points, renumber_by_size

#: Iterations stop when the log-likelihood of all faces grows by less than this. Differences of BIC matter from 2 on
#: (Raftery: Bayesian model selection in social research, 1995).
MIN_GAIN = 0.01
MAX_ITERATIONS = 2000

#: Probabilities, also of absence, below this count as this in logarithms, so that these are finite. Estimates are not
#: changed: they may be 0 and 1. The limit changes no log-likelihood by more than rounding errors, because no face has a
#: posterior for a class that is that improbable.
MIN_PROBABILITY = 1e-300

#: For forecasts: the iterations per start that attribute codes typically need.
TYPICAL_ITERATIONS = 300

#: Distinct codes whose posteriors are in memory at a time.
CHUNK = 65536


@dataclass(frozen=True)
class Model:
    """The parameters of k classes. `absent` is 1 - `present`, without its rounding error near 0."""

    weights: np.ndarray  # float64 (k,)
    present: np.ndarray  # float64 (k, a)
    absent: np.ndarray  # float64 (k, a)


@dataclass(frozen=True)
class Expectation:
    """The result of an E-step."""

    sizes: np.ndarray  # float64 (k,) expected number of faces
    present: np.ndarray  # float64 (k, a) expected number of faces with each attribute
    absent: np.ndarray  # float64 (k, a) expected number of faces without it; the others are missing
    log_likelihood: float  # of all faces


class BinaryData:
    """Distinct 0/1 rows with counts and perhaps missing values, as codes of literals.

    The first a bits of a code are the attributes that are present. If some values of an attribute are missing, another
    bit says that it is absent, and no bit is set where it is missing. Raises ValueError for more than MAX_ATTRIBUTES
    bits.
    """

    def __init__(self, points: Points, threads: int) -> None:
        self.attributes = points.rows.shape[1]
        self.counts, self.threads = points.counts, threads
        if points.packed_codes is not None:
            self.codes, self._partial = points.packed_codes, np.empty(0, np.intp)
        else:
            self._partial = np.flatnonzero(np.isnan(points.rows).any(axis=0))
            if self.attributes + len(self._partial) > MAX_ATTRIBUTES:
                raise ValueError(
                    f"the mixture is limited to {MAX_ATTRIBUTES} attributes, and those with missing values count "
                    "twice; choose some by --attributes"
                )
            literals = np.concatenate([points.rows == 1, points.rows[:, self._partial] == 0], axis=1)
            self.codes = codes.pack(literals, threads=threads)
        self.literals = self.attributes + len(self._partial)

    def expect(self, model: Model) -> Expectation:
        """The E-step. Its sums do not depend on the number of threads."""
        sizes, present, absent, log_likelihood = codes.mixture_expect(
            self.codes, self.counts, *self._logarithms(model), threads=self.threads
        )
        absent[:, self._partial] = present[:, self.attributes :]
        return Expectation(sizes, present[:, : self.attributes], absent[:, : self.attributes], log_likelihood)

    def posteriors(self, model: Model, rows: slice) -> np.ndarray:
        """The posteriors of the distinct rows `rows`, float64 (rows, k)."""
        return codes.mixture_posteriors(self.codes[rows], *self._logarithms(model), threads=self.threads)

    def _logarithms(self, model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The logarithms of the weights (k,), and of the factors of each literal that holds, or not (k, literals)."""
        present, absent = (np.log(np.maximum(p, MIN_PROBABILITY)) for p in (model.present, model.absent))
        with np.errstate(divide="ignore"):
            log_weights = np.log(model.weights)
        if not len(self._partial):
            return log_weights, present, absent
        if_true = np.concatenate([present, absent[:, self._partial]], axis=1)
        if_false = np.concatenate([absent, np.zeros((len(present), len(self._partial)))], axis=1)
        if_false[:, self._partial] = 0
        return log_weights, if_true, if_false

    def start(self, k: int, rng: np.random.Generator) -> Model:
        """Initial parameters (see the module's docstring)."""
        seeds = codes.kmeans_seed(
            self.codes, self.counts, k, int(rng.integers(2**63)), attributes=self.literals, threads=self.threads
        )
        centroids = codes.unpack(self.codes[seeds], self.literals).astype(np.float64)
        labels, _, _ = codes.kmeans_assign(self.codes, self.counts, centroids, threads=self.threads)
        held, sizes = codes.kmeans_update(
            self.codes, self.counts, labels, k, attributes=self.literals, threads=self.threads
        )
        present, absent = held[:, : self.attributes], sizes[:, None] - held[:, : self.attributes]
        absent[:, self._partial] = held[:, self.attributes :]
        observed = np.maximum((present + absent).sum(axis=0), 1)
        return _normalize(
            sizes,
            present + present.sum(axis=0) / observed,
            absent + absent.sum(axis=0) / observed,
        )


def maximize(expectation: Expectation, previous: Model) -> Model:
    """The M-step. A class without observations of an attribute keeps its previous probability."""
    is_observed = (expectation.present + expectation.absent) > 0
    return _normalize(
        expectation.sizes,
        np.where(is_observed, expectation.present, previous.present),
        np.where(is_observed, expectation.absent, previous.absent),
    )


def _normalize(sizes: np.ndarray, present: np.ndarray, absent: np.ndarray) -> Model:
    total = present + absent
    total[total == 0] = 1  # an attribute that is missing everywhere
    return Model(sizes / sizes.sum(), present / total, absent / total)


def iterate(data: BinaryData, model: Model) -> Iterator[tuple[Model, Expectation]]:
    """Yield `model` and the model of each iteration, with their E-steps. The log-likelihoods are not decreasing.

    It ends where rounding errors exceed the growth of the log-likelihood.
    """
    expectation = data.expect(model)
    while True:
        yield model, expectation
        model, previous = maximize(expectation, model), expectation
        expectation = data.expect(model)
        if expectation.log_likelihood <= previous.log_likelihood:
            return


class Mixture(Method):
    requires_k = True
    parameter_names = ("redo", "seed")
    default_redo = 10
    supports_missing = True

    def __init__(self, points: Points, parameters: Parameters) -> None:
        if points.packed_codes is None and not points.has_missing:
            raise ValueError("the mixture clusters 0/1 attributes; omit --soft, or use --method kmeans")
        if (points.weights != 1).any():
            raise ValueError("the mixture has no distances, so weights do not apply; omit --weights")
        self._data = BinaryData(points, parameters.jobs)
        self._parameters = parameters
        self._model: Model | None = None
        self._figures: dict[str, Any] = {}

    def compute_labels(self, k: int | None) -> np.ndarray:
        assert k is not None
        data, size = self._data, len(self._data.counts)
        if not 1 <= k <= size:
            raise ValueError(f"k is {k}; it must be from 1 to {size}, the number of distinct rows")
        task = f"mixture of {size:,} distinct rows, k = {k}"
        needed = memory_bytes(size, data.literals, k, data.threads)
        require_memory(needed, task, "use fewer clusters")
        with self._parameters.monitor.stage(task) as progress:
            model, expectation = self._fit(k, task, needed, progress)
        labels, entropy = self._classify(model)
        # The classes in the order of renumber_by_size, those without faces last.
        numbers = renumber_by_size(labels, data.counts)
        order = dict(zip(numbers.tolist(), labels.tolist(), strict=True))
        used = [order[number] for number in range(len(order))]
        permutation = used + sorted(set(range(k)) - set(used), key=lambda c: (-model.weights[c], c))
        self._model = Model(model.weights[permutation], model.present[permutation], model.absent[permutation])
        self._figures = _criteria(expectation.log_likelihood, entropy, k, data.attributes, int(data.counts.sum()))
        return numbers

    def _fit(self, k: int, task: str, needed: int, progress: codes.Progress) -> tuple[Model, Expectation]:
        """The best model of all starts."""
        starts, best = self._parameters.redo or self.default_redo, None
        for start in range(starts):
            rng = np.random.default_rng([self._parameters.seed, k, start])
            model = self._data.start(k, rng)
            began = time.perf_counter()
            previous = -math.inf
            for iteration, current in enumerate(iterate(self._data, model)):
                if start == iteration == 0:
                    seconds = (time.perf_counter() - began) * TYPICAL_ITERATIONS * starts
                    self._parameters.monitor.forecast(task, seconds, needed)
                log_likelihood = current[1].log_likelihood
                progress((start + 1 - 1 / (1 + iteration / TYPICAL_ITERATIONS)) / starts)
                if iteration == MAX_ITERATIONS or log_likelihood - previous < MIN_GAIN:
                    break
                previous = log_likelihood
            if best is None or log_likelihood > best[1].log_likelihood:
                best = current
        assert best is not None
        return best

    def _classify(self, model: Model) -> tuple[np.ndarray, float]:
        """The class of the largest posterior of each distinct row, int64 (d,), and the entropy of the posteriors of all
        faces."""
        from scipy.special import entr

        labels, entropy = [], 0.0
        for first in range(0, len(self._data.counts), CHUNK):
            rows = slice(first, first + CHUNK)
            posteriors = self._data.posteriors(model, rows)
            labels.append(posteriors.argmax(axis=1))
            entropy += float((self._data.counts[rows] * entr(posteriors).sum(axis=1)).sum())
        return np.concatenate(labels), entropy

    def figures(self) -> dict[str, Any]:
        return self._figures

    def components(self) -> Components:
        assert self._model is not None
        return Components(self._model.weights, self._model.present)

    def posteriors(self) -> np.ndarray:
        assert self._model is not None
        return self._data.posteriors(self._model, slice(None))


def _criteria(log_likelihood: float, entropy: float, k: int, attributes: int, faces: int) -> dict[str, Any]:
    """Criteria for the number of clusters; smaller is better.

    BIC = -2 log-likelihood + m log(n) for m free parameters and n faces (Schwarz 1978). ICL = BIC + 2 entropy, where
    the entropy of the posteriors measures how much the classes overlap (Biernacki, Celeux and Govaert: Assessing a
    mixture model for clustering with the integrated completed likelihood, 2000; McLachlan and Peel, section 6.10.3).
    """
    bic = -2 * log_likelihood + (k - 1 + k * attributes) * math.log(faces)
    return {"log_likelihood": log_likelihood, "bic": bic, "icl": bic + 2 * entropy, "entropy": entropy}


def memory_bytes(size: int, attributes: int, k: int, threads: int) -> int:
    """The estimated memory of a fit to `size` distinct codes: lookup tables, and sums per thread and per block."""
    tables = math.ceil(attributes / 8) * 256 * 8 * (k + 7)
    blocks = min(64, math.ceil(size / 8192))
    return (1 + min(threads, blocks)) * tables + 16 * blocks * k * attributes + 8 * min(size, CHUNK) * k + 16 * size
