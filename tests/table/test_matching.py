"""Names in a list are matched with image paths by whole components, and never by guessing."""

from __future__ import annotations

import time
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facetools.table.matching import MatchError, NameList


def match(names: list[str], paths: list[str]) -> list[str | None]:
    """The name of each path, or None."""
    rows = NameList("list", names).match(paths).rows
    return [names[row] if row >= 0 else None for row in rows]


@pytest.mark.parametrize(
    ("name", "path", "way"),
    [
        ("a/1.jpg", "a/1.jpg", ""),
        ("./a//1.jpg", "a/./1.jpg", ""),
        ("/data/a/1.jpg", "/data/a/1.jpg", ""),
        ("a/1.jpg", "faces/a/1.jpg", ", by path suffix (faces/a/1.jpg by a/1.jpg)"),
        ("/data/a/1.jpg", "../a/1.jpg", ", by path suffix (../a/1.jpg by /data/a/1.jpg)"),
        ("data/a/1.jpg", "a/1.jpg", ", by path suffix (a/1.jpg by data/a/1.jpg)"),
        ("/a/1.jpg", "a/1.jpg", ", by path suffix (a/1.jpg by /a/1.jpg)"),
        ("1.jpg", "faces.zip/a/1.jpg", ", by file name (faces.zip/a/1.jpg by 1.jpg)"),
        ("b/1.jpg", "a/1.jpg", ", by file name (a/1.jpg by b/1.jpg)"),
        (r"C:\faces\a\1.jpg", "faces/a/1.jpg", r", by path suffix (faces/a/1.jpg by C:\faces\a\1.jpg)"),
        ("a/1.jpg", r"faces.zip/a\1.jpg", r", by path suffix (faces.zip/a\1.jpg by a/1.jpg)"),
        (r"a\1.jpg", r"a\1.jpg", ""),
        ("a/Zoe\u0308.jpg", "faces/a/Zo\u00eb.jpg", ", by path suffix (faces/a/Zo\u00eb.jpg by a/Zoe\u0308.jpg)"),
        ("a/1.png", "a/1.jpg", ", by file name without suffix (a/1.jpg by a/1.png)"),
        ("1", "a/1.jpg", ", by file name without suffix (a/1.jpg by 1)"),
        ("1.jpg", "a/1", ", by file name without suffix (a/1 by 1.jpg)"),
        ("J.Doe", "a/J.Doe.jpg", ", by file name without suffix (a/J.Doe.jpg by J.Doe)"),
    ],
)
def test_name_matches_path(name: str, path: str, way: str) -> None:
    rows, summary = NameList("list.csv", ["other.jpg", name]).match([path])
    assert rows.tolist() == [1]
    assert summary == f"list.csv: 1 of 1 images matched{way}"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/11.jpg", "a/1.jpg"),
        ("xa/1.jpg.bak.txt", "a/1.jpg"),
        ("A/1.JPEG1", "a/2.JPEG1"),
        ("face1.5", "face1.6"),
        ("a", "a/1.jpg"),
        (".jpg", "1.jpg"),
    ],
)
def test_parts_of_components_do_not_match(name: str, path: str) -> None:
    with pytest.raises(MatchError, match=r"^list: no name fits any of the images, such as "):
        match([name], [path])


def test_the_longest_suffix_wins() -> None:
    names = ["1.jpg", "a/1.jpg", "x/a/1.jpg"]
    assert match(names, ["q/1.jpg", "q/a/1.jpg", "q/x/a/1.jpg"]) == names
    assert match(names, ["q/x/a/1.jpg"]) == ["x/a/1.jpg"]
    assert match(names[::-1], ["z/b/1.jpg"]) == ["1.jpg"]


def test_same_file_names_in_several_folders_are_told_apart() -> None:
    names = [f"n{person}/{number}.jpg" for person in (1, 2) for number in range(4)]
    assert match(names, [f"faces/{name}" for name in names]) == names
    assert match(names, names[::-1]) == names[::-1]


def test_the_image_with_the_longest_suffix_gets_the_name() -> None:
    assert match(["n2/1.jpg"], ["n1/1.jpg", "n2/1.jpg", "faces/n2/1.jpg"]) == [None, "n2/1.jpg", None]
    assert match(["x/n2/1.jpg"], ["n1/1.jpg", "n2/1.jpg", "x/n2/1.jpg"]) == [None, None, "x/n2/1.jpg"]


def test_images_of_a_folder_that_the_list_lacks_get_nothing() -> None:
    names = ["n1/1.jpg", "n1/2.jpg", "n2/1.jpg"]
    # n3/1.jpg shares as much with n1/1.jpg as with n2/1.jpg; n3/2.jpg shares its file name with n1/2.jpg alone.
    paths = ["n1/1.jpg", "n2/1.jpg", "n3/1.jpg", "n3/2.jpg"]
    assert match(names, paths) == ["n1/1.jpg", "n2/1.jpg", None, None]
    # The same without suffixes: n1/3.png is left, but its folder is another.
    assert match([*names, "n1/3.png"], [*paths, "n3/3.jpg"]) == ["n1/1.jpg", "n2/1.jpg", None, None, None]
    # A name whose file lies next to others of its folder does match.
    assert match([*names, "n1/3.png"], [*paths, "n1/3.jpg"])[-1] == "n1/3.png"


def test_a_second_image_does_not_take_what_the_first_left() -> None:
    # n2/1.png has the stem of n2/1.jpg, which has an image; n1/1.jpg fits it worse.
    assert match(["n1/1.jpg", "n2/1.jpg"], ["n2/1.jpg", "n2/1.png"]) == ["n2/1.jpg", None]


def refusal(names: list[str], paths: list[str], lines: list[int] | None = None) -> str:
    with pytest.raises(MatchError) as refused:
        NameList("list.csv", names, lines).match(paths)
    return str(refused.value)


@pytest.mark.parametrize(
    ("names", "paths"),
    [
        (["a/1.jpg", "b/1.jpg"], ["x/1.jpg"]),
        (["a/1.jpg", "b/1.jpg"], ["1.jpg"]),
        (["a/1.jpg", "b/1.jpg"], ["a/1.jpg", "x/1.jpg"]),
        (["a/1.png", "a/1.webp"], ["a/1.jpg"]),
        ([r"a/1.jpg", r"a\1.jpg"], ["x/a/1.jpg"]),
    ],
)
def test_an_image_that_two_names_fit_is_refused(names: list[str], paths: list[str]) -> None:
    message = refusal(names, paths, [7, 9])
    assert message.startswith(f"list.csv: {paths[-1]} fits both ")
    assert f"{names[0]} (line 7)" in message and f"{names[1]} (line 9)" in message


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("1.jpg", ["a/1.jpg", "b/1.jpg"]),
        ("n/1.jpg", ["a/n/1.jpg", "b/n/1.jpg", "1.jpg"]),
        ("1", ["a/1.jpg", "a/1.png"]),
        ("a/1.bmp", ["a/1.jpg", "a/1.png"]),
    ],
)
def test_a_name_that_two_images_fit_is_refused(name: str, paths: list[str]) -> None:
    message = refusal(["other.jpg", name], paths)
    assert message.startswith(f"list.csv: {name} (row 2) fits both {paths[0]} and {paths[1]}; ")


def test_the_same_path_twice_is_one_image() -> None:
    assert match(["1.jpg", "2.jpg"], ["a/1.jpg", "./a/1.jpg", "a//1.jpg"]) == ["1.jpg"] * 3


def test_no_match_is_one_sentence_with_both_sides() -> None:
    assert refusal(["a/1.jpg", "a/2.jpg"], ["x/3.jpg", "x/4.jpg"], [2, 3]) == (
        "list.csv: no name fits any of the images, such as x/3.jpg; the first name is a/1.jpg (line 2)"
    )
    assert refusal([], ["x/3.jpg"]) == "list.csv: it has no rows"
    assert NameList("list.csv", ["1.jpg"]).match([]).rows.tolist() == []


def test_summary_counts_the_weakest_matches() -> None:
    _, summary = NameList("list.csv", ["1.jpg", "a/2.jpg", "3"]).match(["1.jpg", "b/2.jpg", "4.jpg", "3.jpg"])
    assert summary == "list.csv: 3 of 4 images matched, 1 of them by file name without suffix (3.jpg by 3)"


@pytest.mark.parametrize("lines", [None, [2, 3, 25]])
def test_different_values_of_a_name_are_refused(lines: list[int] | None) -> None:
    names = NameList("list.csv", ["1.jpg", "2.jpg", "./1.jpg"], lines)
    names.check_repetitions(np.array([[0, 1], [0, 0], [0, 1]]), "labels")
    where = "lines 2 and 25" if lines else "rows 1 and 3"
    with pytest.raises(MatchError, match=rf"^list\.csv: {where} give \./1\.jpg different labels$"):
        names.check_repetitions(np.array([[0, 1], [0, 0], [0, 0]]), "labels")
    assert names.match(["1.jpg"]).rows.tolist() == [0]


COMPONENTS = st.sampled_from(["a", "b", "1.jpg", "2.jpg", "1.png"])
PATHS = st.lists(st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=6)


def common_components(first: str, second: str) -> int:
    pairs = zip(first.split("/")[::-1], second.split("/")[::-1], strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))


@settings(max_examples=500, deadline=None)
@given(PATHS, PATHS, st.randoms(use_true_random=False))
def test_matches_are_unique_longest_and_independent_of_order(
    names: list[str], paths: list[str], random: object
) -> None:
    names = [f"{name}/end.jpg" for name in dict.fromkeys(names)]
    paths = [f"{path}/end.jpg" for path in paths]

    def outcome(names: list[str], paths: list[str]) -> dict[str, str | None] | None:
        try:
            return dict(zip(paths, match(names, paths), strict=True))
        except MatchError:
            return None

    matched = outcome(names, paths)
    random.shuffle(names)  # type: ignore[attr-defined]
    random.shuffle(paths)  # type: ignore[attr-defined]
    assert outcome(names, paths) == matched
    for path, name in (matched or {}).items():
        if name is not None:
            depth = common_components(path, name)
            assert depth and all(common_components(path, other) <= depth for other in names)
            assert all(common_components(other, name) <= depth for other in paths)


@pytest.mark.parametrize("folder", ["", "/data/faces.zip/"])
def test_two_hundred_thousand_names_match_quickly(folder: str) -> None:
    names = [f"n{number // 100:06d}/{number % 100:04d}_01.jpg" for number in range(200_000)]
    paths = [folder + name for name in names]
    start = time.process_time()
    rows = NameList("list", names).match(paths).rows
    assert time.process_time() - start < 8
    np.testing.assert_array_equal(rows, np.arange(len(names)))


def test_long_paths_match_quickly() -> None:
    name = "/".join(["a"] * 100_000)
    start = time.process_time()
    assert match([f"b/{name}"], [f"c/{name}"]) == [f"b/{name}"]
    assert time.process_time() - start < 5
