"""Forecast the time and memory of long computations, refuse those that do not fit, and report their progress.

`Monitor.run` measures a computation on a sample, extrapolates to all distinct codes, and then runs it.
`require_memory` raises MemoryLimitError before memory runs out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

from facetools.clustering.codes import Progress
from facetools.runtime import memory

T = TypeVar("T")

#: Computations shorter than this are not announced.
MIN_FORECAST_SECONDS = 3.0


class MemoryLimitError(ValueError):
    """A computation needs more memory than is available. The message names a cheaper method."""


def _silent_stage(task: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda fraction: None)


@dataclass(frozen=True)
class Monitor:
    """Callbacks for forecasts and progress. By default, nothing is reported.

    `on_forecast(task, seconds, memory_bytes)` is called before a computation that is expected to take at least
    MIN_FORECAST_SECONDS. `stage(task)` is a context manager that stays open while the computation runs. It yields a
    function that receives the fraction of the work that is done, from 0 to 1.
    """

    on_forecast: Callable[[str, float, int], object] = lambda task, seconds, memory_bytes: None
    stage: Callable[[str], AbstractContextManager[Progress]] = _silent_stage

    def forecast(self, task: str, seconds: float, memory_bytes: int) -> None:
        """Call `on_forecast` if `seconds` is at least MIN_FORECAST_SECONDS."""
        if seconds >= MIN_FORECAST_SECONDS:
            self.on_forecast(task, seconds, memory_bytes)

    def run(
        self,
        task: str,
        compute: Callable[[slice, Progress | None], T],
        size: int,
        *,
        sample_size: int,
        exponent: float,
        memory_bytes: int,
        alternative: str,
    ) -> T:
        """Return `compute(slice(None), progress)`, after a memory check and a forecast.

        `compute` takes a slice of the `size` distinct codes and a progress callback. It is first timed on about
        `sample_size` of the codes; its time is assumed to grow with their number to the power `exponent`.
        `memory_bytes` is what the full run needs. Raises MemoryLimitError if that is more than is available;
        `alternative` tells the user what to do instead.
        """
        require_memory(memory_bytes, task, alternative)
        if size >= 2 * sample_size:
            step = size // sample_size
            started = time.perf_counter()
            with suppress(ValueError):  # the sample may be degenerate, for example all of one cluster
                compute(slice(None, None, step), None)
                self.forecast(task, (time.perf_counter() - started) * step**exponent, memory_bytes)
        with self.stage(task) as progress:
            return compute(slice(None), progress)


def require_memory(memory_bytes: int, task: str, alternative: str) -> None:
    """Raise MemoryLimitError if fewer than `memory_bytes` are available. The message ends with `alternative`."""
    available = memory.available()
    if memory_bytes > available:
        raise MemoryLimitError(
            f"{task} needs {memory_bytes / 1e9:.1f} GB of memory, but only {available / 1e9:.1f} GB are available; "
            f"{alternative}"
        )
