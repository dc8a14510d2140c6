"""CachedImages: cached pixels equal decoded ones, and each image is decoded once as long as its cache is valid."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from facetools.images import cache, decoding
from facetools.images.cache import CachedImages, CacheError, open_image_caches
from tests.images.cases import encode, make_zip

SIZE = (9, 7)
BATCHES = (np.array([4, 0]), np.array([1, 2, 3, 4]), np.array([0, 1, 2, 3, 4]))
UNREADABLE = 2


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Four readable images and one that is not readable."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for path in paths:
        path.write_bytes(encode(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)))
    paths[UNREADABLE].write_bytes(b"not an image")
    return [str(path) for path in paths]


def open_cache(paths: list[str], setting: str | None, failures: list[str] | None = None) -> CachedImages:
    failures = [] if failures is None else failures
    (images,) = open_image_caches(
        [paths], SIZE, jobs=2, on_failure=lambda path, reason: failures.append(path), cache=setting
    )
    return images


def assert_batches_are_correct(images: CachedImages, paths: list[str]) -> None:
    for batch in BATCHES:
        rows, pixels = images.load_batch(batch)
        assert rows.tolist() == [row for row in batch if row != UNREADABLE]
        expected = [decoding.decode_image(Path(paths[row]).read_bytes(), SIZE) for row in rows]
        np.testing.assert_array_equal(pixels, np.stack(expected))


@pytest.mark.parametrize("setting", [None, "ram", "off", "folder"])
def test_cached_images_equal_decoded_ones(setting: str | None, paths: list[str], tmp_path: Path) -> None:
    failures: list[str] = []
    images = open_cache(paths, str(tmp_path / "cache" / "deep") if setting == "folder" else setting, failures)
    for _ in range(2):
        assert_batches_are_correct(images, paths)
    assert failures == [paths[UNREADABLE]] * 4


@pytest.mark.parametrize("setting", ["ram", "off", "folder"])
def test_truncated_images_are_accepted_and_reported_by_every_run(
    setting: str, paths: list[str], tmp_path: Path
) -> None:
    content = Path(paths[0]).read_bytes()
    Path(paths[0]).write_bytes(content[: len(content) // 2])
    accepted: list[str] = []

    def open_accepting() -> CachedImages:
        (images,) = open_image_caches(
            [paths],
            SIZE,
            jobs=2,
            on_failure=lambda path, reason: None,
            on_truncated=accepted.append,
            cache=str(tmp_path / "cache") if setting == "folder" else setting,
        )
        return images

    refusing = open_cache(paths, str(tmp_path / "cache") if setting == "folder" else setting)
    assert refusing.load_batch(np.array([0, 1]))[0].tolist() == [1]
    for run in (1, 2):
        images = open_accepting()
        for epoch in (1, 2):
            rows, pixels = images.load_batch(np.array([0, 1]))
            assert rows.tolist() == [0, 1]
            expected = decoding.decode_image(Path(paths[0]).read_bytes(), SIZE, accept_truncated=True)
            np.testing.assert_array_equal(pixels[0], expected)
            assert accepted == [paths[0]] * (run if setting != "off" else 2 * run - 2 + epoch)


@pytest.mark.parametrize(("setting", "decoded"), [("ram", 4), ("off", 12)])
def test_a_cached_image_is_decoded_once(
    setting: str, decoded: int, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    load_image = decoding.load_image
    monkeypatch.setattr(
        decoding, "load_image", lambda reader, path, *options: calls.append(path) or load_image(reader, path, *options)
    )
    images = open_cache(paths, setting)
    for _ in range(3):
        images.load_batch(np.array([0, 1, 3, 4]))
    assert len(calls) == decoded


def test_a_cache_folder_serves_the_next_run(paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_batches_are_correct(open_cache(paths, str(tmp_path / "cache")), paths)
    expected = open_cache(paths, "off").load_batch(np.array([3, 0]))
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "load_image", lambda *_: pytest.fail("a cached image was decoded again"))
        cached = open_cache(paths, str(tmp_path / "cache")).load_batch(np.array([3, 0]))
    for actual, desired in zip(cached, expected, strict=True):
        np.testing.assert_array_equal(actual, desired)


@pytest.mark.parametrize("change", ["content", "time", "size"])
def test_a_changed_image_is_decoded_again(change: str, paths: list[str], tmp_path: Path) -> None:
    assert_batches_are_correct(open_cache(paths, str(tmp_path / "cache")), paths)
    if change == "content":
        Path(paths[0]).write_bytes(encode(np.zeros((40, 40, 3), np.uint8)))
    elif change == "time":
        os.utime(paths[0], ns=(0, 0))
    else:
        Path(paths[0]).write_bytes(Path(paths[0]).read_bytes() + b"\0")
    assert_batches_are_correct(open_cache(paths, str(tmp_path / "cache")), paths)
    assert len(list((tmp_path / "cache").glob("*.pixels"))) == 2


def test_archive_members_are_decoded_again_if_the_archive_changes(paths: list[str], tmp_path: Path) -> None:
    make_zip(tmp_path / "faces.zip", {Path(path).name: Path(path).read_bytes() for path in paths})
    members = [f"{tmp_path}/faces.zip/{Path(path).name}" for path in paths]
    assert_batches_are_correct(open_cache(members, str(tmp_path / "cache")), paths)
    os.utime(tmp_path / "faces.zip", ns=(0, 0))
    assert_batches_are_correct(open_cache(members, str(tmp_path / "cache")), paths)
    assert len(list((tmp_path / "cache").glob("*.pixels"))) == 2


def test_incomplete_pixels_in_a_cache_file_are_decoded_again(paths: list[str], tmp_path: Path) -> None:
    """At a power failure, checksums may already be on disk while pixels are not."""
    assert_batches_are_correct(open_cache(paths, str(tmp_path / "cache")), paths)
    (file,) = (tmp_path / "cache").glob("*.pixels")
    content = np.memmap(file, np.uint8, "r+")
    content[-20:] = 0
    content.flush()
    for _ in range(2):
        assert_batches_are_correct(open_cache(paths, str(tmp_path / "cache")), paths)


@pytest.mark.parametrize(("lists", "processes"), [(1, 1), (2, 1), (1, 2)])
def test_images_that_do_not_fit_into_memory_are_refused(
    lists: int, processes: int, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = len(paths) * SIZE[0] * SIZE[1] * 3 * lists * processes

    def open_caches(setting: str | None) -> list[CachedImages]:
        return open_image_caches(
            [paths] * lists, SIZE, jobs=1, on_failure=lambda path, reason: None, cache=setting, processes=processes
        )

    monkeypatch.setattr(cache.memory, "available", lambda: needed)
    assert_batches_are_correct(open_caches("ram")[-1], paths)
    monkeypatch.setattr(cache.memory, "available", lambda: needed - processes)
    with pytest.raises(CacheError, match=r"do not fit into 0\.0 GB of free memory"):
        open_caches("ram")
    assert_batches_are_correct(open_caches(None)[-1], paths)


def test_images_that_do_not_fit_into_the_cache_folder_are_refused(
    paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(CacheError, match=r"do not fit into .* free in "):
        open_cache(paths, str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())
