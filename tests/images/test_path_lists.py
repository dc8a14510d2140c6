"""Lists of paths: ends of lines, byte-order marks, and lines of any length."""

from __future__ import annotations

import io
import tracemalloc

import pytest

from facetools.images.path_lists import MAX_LINE_BYTES, read_path_list


def paths_in(data: bytes, *, null: bool = False) -> list[str]:
    return [line.path for line in read_path_list(io.BytesIO(data), null=null)]


@pytest.mark.parametrize(
    "data",
    [
        b"a b.jpg\nd/\xc3\xa4.jpg\n",
        b"a b.jpg\nd/\xc3\xa4.jpg",
        b"a b.jpg\r\n\r\nd/\xc3\xa4.jpg\r\n",
        b"a b.jpg\rd/\xc3\xa4.jpg\r",
        b"\xef\xbb\xbfa b.jpg\nd/\xc3\xa4.jpg\n",
        "a b.jpg\r\nd/ä.jpg\r\n".encode("utf-16"),
        b"\xfe\xff" + "a b.jpg\nd/ä.jpg".encode("utf-16-be"),
    ],
)
def test_lists_of_all_systems_are_read(data: bytes) -> None:
    assert paths_in(data) == ["a b.jpg", "d/ä.jpg"]


def test_only_ends_of_lines_separate_paths() -> None:
    names = ["a\x0bb.jpg", "a\x85b.jpg", "a\u2028b.jpg", " blanks .jpg", 'quoted".jpg']
    assert paths_in("\n".join(names).encode()) == names
    names = [*names, "a\nb.jpg", "a.jpg\r"]
    assert paths_in("\0".join(names).encode(), null=True) == names


def test_names_that_are_not_utf_8_are_preserved() -> None:
    assert paths_in(b"\xff.jpg\n") == ["\udcff.jpg"]


def test_a_line_of_any_length_takes_little_memory() -> None:
    data = b"a.jpg\n" + b"x" * 50_000_000 + b"\nb.jpg"
    tracemalloc.start()
    lines = list(read_path_list(io.BytesIO(data)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [line.path for line in lines if not line.problem] == ["a.jpg", "b.jpg"]
    assert len(lines[1].path) == MAX_LINE_BYTES + 1
    assert lines[1].problem == "it is longer than 131,072 bytes"
    assert peak < 5_000_000
