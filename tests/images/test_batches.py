"""Images decoded and processed by several threads: order, failures, exceptions, bounded work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facetools.images.batches import CHUNK_IMAGES, compute_batches, image_batches, map_images
from facetools.images.reading import ImageReader
from tests.images.cases import gray_png, write_files

SIZE = (6, 5)


def numbered_images(count: int, replacements: dict[int, bytes]) -> list[bytes]:
    """PNGs with gray level 0, 1, 2, ..., some replaced. Sizes differ, so that threads finish out of order."""
    return [replacements.get(n, gray_png(n, 200 if n % 7 == 0 else 4)) for n in range(count)]


@pytest.mark.parametrize("jobs", [1, 3, 8])
def test_batches_keep_the_order_and_leave_out_failures(jobs: int, tmp_path: Path) -> None:
    damaged = {0: b"", 9: b"text", 10: gray_png(10)[:50], 31: b"", 99: b"text"}
    paths = write_files(tmp_path, numbered_images(100, damaged))
    failures: list[tuple[str, str]] = []
    batches = list(
        image_batches(paths, SIZE, 16, jobs=jobs, on_failure=lambda path, reason: failures.append((path, reason)))
    )
    intact = [n for n in range(100) if n not in damaged]
    assert [len(batch) for batch, _ in batches] == [13, 15, 16, 16, 16, 16, 3]
    assert [path for batch, _ in batches for path in batch] == [paths[n] for n in intact]
    pixels = np.concatenate([pixels for _, pixels in batches])
    assert pixels.shape == (95, *SIZE, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == np.array(intact)[:, None, None, None]).all()
    assert [path for path, _ in failures] == [paths[n] for n in sorted(damaged)]
    assert [reason for _, reason in failures][:2] == ["the file is empty", "not an image, but text"]


@pytest.mark.parametrize("jobs", [1, 4])
def test_compute_batches_computes_the_batches_of_image_batches(jobs: int, tmp_path: Path) -> None:
    damaged = {3: b"text", 16: b"", **{n: b"" for n in range(32, 48)}}
    paths = write_files(tmp_path, numbered_images(60, damaged))
    failures: list[tuple[str, str]] = []
    expected_failures: list[tuple[str, str]] = []
    expected = list(
        image_batches(paths, SIZE, 16, jobs=1, on_failure=lambda *failure: expected_failures.append(failure))
    )
    threads: set[int] = set()

    def sum_pixels(pixels: np.ndarray) -> np.ndarray:
        threads.add(threading.get_ident())
        return pixels.sum((1, 2, 3))

    results = list(
        compute_batches(paths, SIZE, 16, sum_pixels, jobs=jobs, on_failure=lambda *failure: failures.append(failure))
    )
    assert [batch for batch, _ in results] == [batch for batch, _ in expected]
    assert [len(batch) for batch, _ in results] == [15, 15, 12]
    for (_, sums), (_, pixels) in zip(results, expected, strict=True):
        np.testing.assert_array_equal(sums, pixels.sum((1, 2, 3)))
    assert failures == expected_failures
    assert threading.get_ident() not in threads


def test_only_failures_give_no_batch(tmp_path: Path) -> None:
    failures: list[str] = []
    paths = write_files(tmp_path, [b""] * 3)
    assert list(image_batches(paths, SIZE, 2, jobs=2, on_failure=lambda path, _: failures.append(path))) == []
    assert failures == paths
    assert list(image_batches([], SIZE, 2, jobs=2, on_failure=lambda path, _: failures.append(path))) == []


def test_closing_the_iterator_stops_the_threads(tmp_path: Path) -> None:
    threads_before = threading.active_count()
    paths = write_files(tmp_path, [gray_png(1)]) * 5000
    calls = 0

    def slow(reader: ImageReader, index: int, path: str) -> int:
        nonlocal calls
        calls += 1
        time.sleep(0.002)
        return index

    results = map_images(paths, slow, jobs=4)
    assert next(results) == (paths[0], 0)
    assert threading.active_count() > threads_before
    results.close()
    assert threading.active_count() == threads_before
    assert calls < 500


def test_threads_work_ahead_by_a_bounded_number_of_images() -> None:
    requested = 0

    def endless_paths() -> Iterator[str]:
        nonlocal requested
        while True:
            requested += 1
            yield "x.png"

    results = map_images(endless_paths(), lambda reader, index, path: index, jobs=2)
    assert [next(results)[1] for _ in range(100)] == list(range(100))
    assert requested < 100 + 20 * CHUNK_IMAGES
    results.close()


def test_an_exception_of_the_function_reaches_the_caller() -> None:
    def fail_at_20(reader: ImageReader, index: int, path: str) -> int:
        if index == 20:
            raise RuntimeError("at 20")
        return index

    threads_before = threading.active_count()
    with pytest.raises(RuntimeError, match="at 20"):
        list(map_images(["x"] * 100, fail_at_20, jobs=3))
    assert threading.active_count() == threads_before
