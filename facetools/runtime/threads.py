"""Background threads: `map_in_order` for many items, `prefetch` for the next item of an iterator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def map_in_order(items: Iterable[S], size: int, function: Callable[[list[S]], T], jobs: int) -> Generator[T]:
    """Yields function(chunk) for consecutive chunks of `size` items, in order. `jobs` threads compute ahead by at most
    4 * jobs chunks."""
    with ThreadPoolExecutor(jobs) as pool:
        rest = iter(items)
        pending: deque[Future[T]] = deque()
        try:
            while chunk := list(islice(rest, size)):
                pending.append(pool.submit(function, chunk))
                if len(pending) > 4 * jobs:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def prefetch(iterator: Iterator[T]) -> Iterator[T]:
    """Yields from `iterator` while a background thread computes the next item."""
    end = object()
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, iterator, end)
        while (item := following.result()) is not end:
            following = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]
