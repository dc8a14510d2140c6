"""Names and symbolic links of archive members."""

from __future__ import annotations

import pytest

from facetools.images.archives import members
from facetools.images.archives.members import SymbolicLink, normal_name, resolve_links


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("./a.jpg", "a.jpg"),
        ("a/./b//c.jpg", "a/b/c.jpg"),
        ("/etc/a.jpg", "etc/a.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("a/../b.jpg", "b.jpg"),
        (".hidden/a.jpg", ".hidden/a.jpg"),
        ("a/..b/...", "a/..b/..."),
        ("..", ""),
        ("/", ""),
    ],
)
def test_names_never_leave_the_archive(name: str, expected: str) -> None:
    assert normal_name(name) == expected


def resolve(*files: str, **links: str) -> tuple[dict[str, str], dict[str, str]]:
    """The members of an archive with these files and links; the link a__b is called a/b. Files contain their name."""
    entries: dict[str, str | SymbolicLink] = {file: file for file in files}
    entries |= {name.replace("__", "/"): SymbolicLink(target) for name, target in links.items()}
    return resolve_links(entries)


def test_links_lead_to_the_content_of_files() -> None:
    found, failures = resolve("a/1.jpg", b__x="../a/1.jpg", b__y="x", c="./b//y", d="./a/../a/./1.jpg")
    assert found == {name: "a/1.jpg" for name in ("a/1.jpg", "b/x", "b/y", "c", "d")}
    assert not failures


def test_links_to_folders_give_their_files() -> None:
    found, failures = resolve("a/1.jpg", "a/b/2.jpg", link="a", a__b__three="../1.jpg", z="link/b")
    assert found == {
        "a/1.jpg": "a/1.jpg",
        "a/b/2.jpg": "a/b/2.jpg",
        "a/b/three": "a/1.jpg",
        "link/1.jpg": "a/1.jpg",
        "link/b/2.jpg": "a/b/2.jpg",
        "link/b/three": "a/1.jpg",
        "z/2.jpg": "a/b/2.jpg",
        "z/three": "a/1.jpg",
    }
    assert not failures


def test_broken_links_have_a_reason() -> None:
    found, failures = resolve(
        "a/1.jpg", gone="a/2.jpg", out="../x.jpg", absolute="/etc/passwd", loop="pool", pool="loop"
    )
    assert found == {"a/1.jpg": "a/1.jpg"}
    assert failures == {
        "gone": "the link leads to a/2.jpg, which is not in the archive",
        "out": "the link leads out of the archive",
        "absolute": "the link leads out of the archive, to /etc/passwd",
        "loop": "the link leads in a circle",
        "pool": "the link leads in a circle",
    }


def test_links_to_folders_above_are_not_followed() -> None:
    found, failures = resolve("a/1.jpg", a__up="..", a__here=".", b__a="../a", a__b="../b")
    assert found == {"a/1.jpg": "a/1.jpg", "b/a/1.jpg": "a/1.jpg", "a/b/a/1.jpg": "a/1.jpg"}
    assert not failures


def test_folders_of_links_do_not_grow_without_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_LINKED_MEMBERS", 1000)
    links = {f"d{level}__{side}": f"../d{level + 1}" for level in range(60) for side in "lr"}
    found, failures = resolve("d60/1.jpg", **links)
    assert "d60/1.jpg" in found
    assert "the links of this archive lead to too many files" in failures.values()


def test_very_deep_folders_are_no_error() -> None:
    deep = "x/" * 3000 + "1.jpg"
    found, failures = resolve(deep, link="x")
    assert found == {deep: deep}
    assert list(failures) == ["link"]
