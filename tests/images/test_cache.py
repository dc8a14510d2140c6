"""Decoded images that are kept are those that would be decoded, wherever they are kept."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from facetools.images import cache, decoding, writing
from facetools.images.cache import CachedImages, CacheError, open_image_caches

SIZE = (9, 7)
ROWS = (np.array([4, 0]), np.array([1, 2, 3, 4]), np.array([0, 1, 2, 3, 4]))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Five pictures, of which the third cannot be read."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(5):
        writing.write_image(tmp_path / f"{number}.png", rng.integers(0, 256, (12, 10, 3), dtype=np.uint8))
        made.append(str(tmp_path / f"{number}.png"))
    Path(made[2]).write_bytes(b"not an image")
    return made


def pixels_of(paths: list[str], kept: str | None, told: list[str] | None = None) -> CachedImages:
    failures = [] if told is None else told
    return open_image_caches([paths], SIZE, jobs=2, on_failure=lambda path, reason: failures.append(path), cache=kept)[0]


def assert_right(pixels: CachedImages, paths: list[str]) -> None:
    for rows in ROWS:
        kept, found = pixels.batch(rows)
        assert kept.tolist() == [row for row in rows if row != 2]
        expected = [decoding.decode_image(Path(paths[row]).read_bytes(), SIZE) for row in kept]
        np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize("kept", [None, "ram", "off", "folder"])
def test_what_is_kept_is_what_would_be_decoded(kept: str | None, paths: list[str], tmp_path: Path) -> None:
    told: list[str] = []
    pixels = pixels_of(paths, str(tmp_path / "cache" / "deep") if kept == "folder" else kept, told)
    for _ in range(2):
        assert_right(pixels, paths)
    assert told == [paths[2]] * 4


@pytest.mark.parametrize(("kept", "decoded"), [("ram", 4), ("off", 12)])
def test_an_image_is_decoded_once_where_it_is_kept(
    kept: str, decoded: int, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count: list[str] = []
    load = decoding.load_image
    monkeypatch.setattr(
        decoding, "load_image", lambda reader, path, size: count.append(path) or load(reader, path, size)
    )
    pixels = pixels_of(paths, kept)
    for _ in range(3):
        pixels.batch(np.array([0, 1, 3, 4]))
    assert len(count) == decoded


def test_a_folder_serves_the_next_run(paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_right(pixels_of(paths, str(tmp_path / "cache")), paths)
    expected = pixels_of(paths, "off").batch(np.array([3, 0]))
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "load_image", lambda *_: pytest.fail("nothing is to be decoded"))
        found = pixels_of(paths, str(tmp_path / "cache")).batch(np.array([3, 0]))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("change", ["content", "time", "size"])
def test_a_folder_does_not_serve_other_images(change: str, paths: list[str], tmp_path: Path) -> None:
    assert_right(pixels_of(paths, str(tmp_path / "cache")), paths)
    if change == "content":
        writing.write_image(Path(paths[0]), np.zeros((40, 40, 3), np.uint8))
    elif change == "time":
        os.utime(paths[0], ns=(0, 0))
    else:
        Path(paths[0]).write_bytes(Path(paths[0]).read_bytes() + b"\0")
    assert_right(pixels_of(paths, str(tmp_path / "cache")), paths)
    assert len(list((tmp_path / "cache").glob("*.pixels"))) == 2


def test_members_go_by_their_archive(paths: list[str], tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in paths:
            archive.write(path, Path(path).name)
    members = [f"{tmp_path}/faces.zip/{Path(path).name}" for path in paths]
    assert_right(pixels_of(members, str(tmp_path / "cache")), paths)
    os.utime(tmp_path / "faces.zip", ns=(0, 0))
    assert_right(pixels_of(members, str(tmp_path / "cache")), paths)
    assert len(list((tmp_path / "cache").glob("*.pixels"))) == 2


def test_what_was_not_written_whole_is_decoded_anew(paths: list[str], tmp_path: Path) -> None:
    """A flag may have come to the disk before a machine lost its power, and pixels not."""
    assert_right(pixels_of(paths, str(tmp_path / "cache")), paths)
    (file,) = (tmp_path / "cache").glob("*.pixels")
    content = np.memmap(file, np.uint8, "r+")
    content[-20:] = 0
    content.flush()
    for _ in range(2):
        assert_right(pixels_of(paths, str(tmp_path / "cache")), paths)


@pytest.mark.parametrize(("parts", "processes"), [(1, 1), (2, 1), (1, 2)])
def test_no_room_in_memory_is_said(
    parts: int, processes: int, paths: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = len(paths) * SIZE[0] * SIZE[1] * 3

    def make(kept: str | None) -> list[CachedImages]:
        settings = {"jobs": 1, "failed": lambda path, reason: None, "cache": kept, "processes": processes}
        return open_image_caches([paths] * parts, SIZE, **settings)

    monkeypatch.setattr(cache.memory, "available", lambda: needed * parts * processes)
    assert_right(make("ram")[-1], paths)
    monkeypatch.setattr(cache.memory, "available", lambda: needed * parts * processes - processes)
    with pytest.raises(CacheError, match=r"do not fit into 0\.0 GB of free memory"):
        make("ram")
    assert_right(make(None)[-1], paths)


def test_no_room_in_a_folder_is_said(paths: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CacheError, match=r"do not fit into .* free in "):
        pixels_of(paths, str(tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())
