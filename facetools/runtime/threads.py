"""Background threads: `map_in_order` for many items, `prefetch` for the next item of an iterator.

If a signal stops the process, they do not wait for calls that are still running.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from facetools.runtime import signals

S = TypeVar("S")
T = TypeVar("T")


def map_in_order(items: Iterable[S], size: int, function: Callable[[list[S]], T], jobs: int) -> Generator[T]:
    """Yields function(chunk) for consecutive chunks of `size` items, in order. `jobs` threads compute ahead by at most
    4 * jobs chunks."""
    with _thread_pool(jobs) as pool:
        rest = iter(items)
        pending: deque[Future[T]] = deque()
        while chunk := list(islice(rest, size)):
            pending.append(pool.submit(function, chunk))
            if len(pending) > 4 * jobs:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def prefetch(iterator: Iterator[T]) -> Iterator[T]:
    """Yields from `iterator` while a background thread computes the next item."""
    end = object()
    with _thread_pool(1) as pool:
        following = pool.submit(next, iterator, end)
        while (item := following.result()) is not end:
            following = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]


@contextmanager
def _thread_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that, at the end of the block, waits for the running calls and drops those that have not begun."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=not signals.is_stopping(), cancel_futures=True)
