"""Long work on distinct codes: foretold from a sample of them, refused where memory will not do, watched as it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from typing import TypeVar

from facetools.clustering.codes import Progress
from facetools.runtime import memory

T = TypeVar("T")


#: The seconds from which a run is foretold.
FORECAST_SECONDS = 3.0


class MemoryLimitError(ValueError):
    """A method would need more memory than there is; the message names a cheaper one."""


def _no_stage(what: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda share: None)


@dataclass(frozen=True)
class Monitor:
    """Who is told of long work, by default nobody.

    `foretold` hears of what is to come: what it is, seconds, bytes. `stage` is entered, with what it is, for as long as
    the work runs and gives what is to be told the share done, 0 to 1.
    """

    foretold: Callable[[str, float, int], object] = lambda what, seconds, needed: None
    stage: Callable[[str], AbstractContextManager[Progress]] = _no_stage

    def foretell(self, what: str, seconds: float, needed: int) -> None:
        """Tells of work that will take that long, if it is long."""
        if seconds >= FORECAST_SECONDS:
            self.foretold(what, seconds, needed)

    def run(
        self,
        what: str,
        work: Callable[[slice, Progress | None], T],
        size: int,
        *,
        sample: int,
        power: float,
        needed: int,
        instead: str,
    ) -> T:
        """What `work` makes of all of `size` codes: it takes a slice of them and a progress callback.

        Its time is foretold by that of about `sample` codes, from which it grows with their number to `power`; `needed`
        are the bytes of the whole run, and `instead` is the cheaper way that a refusal names.
        """
        require_memory(needed, what, instead)
        if size >= 2 * sample:
            step = size // sample
            started = time.perf_counter()
            with suppress(ValueError):  # a sample can be too poor, of one cluster for example
                work(slice(None, None, step), None)
                self.foretell(what, (time.perf_counter() - started) * step**power, needed)
        with self.stage(what) as progress:
            return work(slice(None), progress)


def require_memory(needed: int, what: str, instead: str) -> None:
    """Raises a MemoryError, that says what would need how much and what to do instead, where memory will not do."""
    free = memory.available()
    if needed > free:
        raise MemoryLimitError(f"{what} needs {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; {instead}")
