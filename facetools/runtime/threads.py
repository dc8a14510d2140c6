"""Background threads: `map_in_order` for many items, `prefetch` for the next item of an iterator."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def map_in_order(items: Iterable[S], size: int, function: Callable[[list[S]], T], jobs: int) -> Generator[T]:
    """Yields function(chunk) for consecutive chunks of `size` items, in order. `jobs` threads compute ahead by at most
    4 * jobs chunks."""
    with _thread_pool(jobs) as (pool, result_of):
        rest = iter(items)
        pending: deque[Future[T]] = deque()
        while chunk := list(islice(rest, size)):
            pending.append(pool.submit(function, chunk))
            if len(pending) > 4 * jobs:
                yield result_of(pending.popleft())
        while pending:
            yield result_of(pending.popleft())


def prefetch(iterator: Iterator[T]) -> Iterator[T]:
    """Yields from `iterator` while a background thread computes the next item."""
    end = object()
    with _thread_pool(1) as (pool, result_of):
        following = pool.submit(next, iterator, end)
        while (item := result_of(following)) is not end:
            following = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]


@contextmanager
def _thread_pool(threads: int) -> Iterator[tuple[ThreadPoolExecutor, Callable[[Future[T]], T]]]:
    """A pool, and a function that waits for a result of it.

    The function raises MemoryError if a thread of the pool has ended: memory was too short even for an exception.
    At the end of the block, the pool waits for the running calls and drops those that have not begun.
    """
    workers: list[threading.Thread] = []
    pool = ThreadPoolExecutor(threads, initializer=lambda: workers.append(threading.current_thread()))

    def result_of(future: Future[T]) -> T:
        while not wait([future], timeout=1).done:
            if not all(worker.is_alive() for worker in workers):
                raise MemoryError
        return future.result()

    try:
        yield pool, result_of
    finally:
        pool.shutdown(cancel_futures=True)
