"""A bad line of a list costs only itself, and what is no list is said to be none (meson #3169, xonsh #1771)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cases.faces import draw_face
from tests.conftest import Run, command

NOTHING_OF_2 = "none of its 2 lines names a file or folder"

CAPABILITIES = "-dac_override,-dac_read_search"


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of two faces in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("one.png", "two.png"):
        draw_face().save(name)
    return ["one.png", "two.png"]


def predict(run: Run, *arguments: str, check: int = 0, **options: object) -> tuple[list[str], list[str]]:
    """The paths of the faces, and the lines on stderr."""
    completed = run("predict", *arguments, "-q", check=check, **options)
    rows = [json.loads(line)["path"] for line in completed.stdout.splitlines()]
    assert not any(byte < 32 and byte != 10 for byte in completed.stderr)
    return rows, completed.stderr.decode().splitlines()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"x\0y.jpg", r"left out x\x00y.jpg: it contains a NUL"),
        (b"a" * 5000, f"left out {'a' * 100}...{'a' * 100} (5,000 characters): File name too long"),
        (b"gone.jpg", "left out gone.jpg: no such file or folder"),
        (b"-", "left out -: a list cannot contain - (standard input)"),
        (b"d\x1b]0;title\x07.jpg", r"left out d\x1b]0;title\x07.jpg: no such file or folder"),
        (b"\xff.jpg", r"left out \xff.jpg: no such file or folder"),
        (b"\xe2\x80\xaegpj.exe", r"left out \u202egpj.exe: no such file or folder"),
    ],
)
def test_a_bad_line_costs_only_itself(line: bytes, message: str, faces: list[str], run: Run) -> None:
    data = b"one.png\n" + line + b"\ntwo.png\n"
    Path("list.txt").write_bytes(data)
    for arguments, options in ((["-"], {"input": data}), (["list.txt"], {})):
        rows, messages = predict(run, *arguments, check=3, **options)
        assert rows == faces
        assert messages == [f"fa-predict: {message}", "fa-predict: 1 input was left out"]


def test_a_list_that_names_itself_ends(faces: list[str], run: Run) -> None:
    Path("list.txt").write_text("one.png\nlist.txt\ntwo.png\n")
    rows, messages = predict(run, "list.txt", check=3)
    assert rows == faces
    assert messages[0] == "fa-predict: left out list.txt: the list names itself, or a list that names it"


@pytest.mark.parametrize("bytes_before", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_of_other_systems_are_read(end: str, bytes_before: bytes, faces: list[str], run: Run) -> None:
    assert predict(run, "-", input=bytes_before + end.join(faces).encode()) == (faces, [])


def test_lists_of_powershell_are_read(faces: list[str], run: Run) -> None:
    Path("list.txt").write_bytes("\r\n".join(faces).encode("utf-16"))
    assert predict(run, "list.txt") == (faces, [])


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (b"one.png\0two.png\0", [], "its paths end with NUL, as find -print0 writes them; add -0"),
        (b"one.png\ntwo.png\n", ["-0"], "its paths end with newlines, not with NUL; leave out -0"),
        (b"1\nSmiling Male Young\n", [], f"{NOTHING_OF_2}; it looks like a list of attributes, as --labels reads it"),
        (b"a 0\nb 1\nc 2\n", [], "none of its 3 lines names a file or folder; the first is a 0"),
    ],
)
def test_what_is_no_list_of_paths_is_told_in_one_line(
    data: bytes, options: list[str], reason: str, faces: list[str], run: Run
) -> None:
    rows, messages = predict(run, "-", *options, check=1, input=data)
    assert rows == []
    assert messages == [f"fa-predict: standard input: {reason}"]


def test_a_face_table_under_the_name_of_a_list_is_told(faces: list[str], run: Run) -> None:
    Path("list.txt").write_text('{"path": "one.png"}\n{"path": "two.png"}\n')
    reason = f"{NOTHING_OF_2}; it looks like a face table, whose name must end with .jsonl"
    assert predict(run, "list.txt", check=1)[1] == [f"fa-predict: list.txt: {reason}"]


def test_an_image_is_no_list(faces: list[str], run: Run) -> None:
    shutil.copy("one.png", "list.txt")
    reason = "it is a PNG image, not a list of paths; name the file itself"
    assert predict(run, "list.txt", check=1)[1] == [f"fa-predict: list.txt: {reason}"]
    data = Path("one.png").read_bytes()
    assert predict(run, "-", check=1, input=data)[1] == [f"fa-predict: standard input: {reason}"]
    # Beside another source, the list costs only itself.
    rows, messages = predict(run, "one.png", "list.txt", check=3)
    assert rows == ["one.png"]
    assert messages == [f"fa-predict: left out list.txt: {reason}", "fa-predict: 1 input was left out"]


def test_an_empty_list_is_named(faces: list[str], run: Run) -> None:
    messages = predict(run, "-", check=1, input=b"")[1]
    assert messages == ["fa-predict: there are no images in - (passed over 1 file that is not an image: 1 empty list)"]


def test_a_missing_argument_is_an_error_at_once(faces: list[str], run: Run) -> None:
    assert predict(run, "one.png", "gone.png", check=1) == ([], ["fa-predict: gone.png: no such file or folder"])


def test_names_on_the_terminal_are_escaped(faces: list[str], run: Run) -> None:
    Path("e").mkdir()
    (Path("e") / "a\x1b]0;title\x07\nfa-predict: 9 faces.jpg").write_text("x")
    _, messages = predict(run, "e", check=1)
    assert messages[0].startswith(r"fa-predict: left out e/a\x1b]0;title\x07\nfa-predict: 9 faces.jpg: not an image")
    assert len(messages) == 2
    assert predict(run, "gone\x1b[2J", check=1)[1] == [r"fa-predict: gone\x1b[2J: no such file or folder"]


def test_a_folder_that_may_not_be_opened_costs_only_itself(faces: list[str]) -> None:
    prefix: list[str] = []
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("root may open everything, and setpriv is not installed")
        prefix = ["setpriv", "--bounding-set", CAPABILITIES, "--inh-caps", CAPABILITIES]
    for name, face in (("a", "one.png"), ("b", "two.png")):
        (Path("p") / name).mkdir(parents=True)
        shutil.copy(face, Path("p") / name)
    (Path("p") / "b").chmod(0)
    try:
        if subprocess.run([*prefix, "ls", "p/b"], capture_output=True).returncode == 0:
            pytest.skip("setpriv does not take the rights of root here")
        results = [
            subprocess.run([*prefix, *command("predict", source, "-q")], input=data, capture_output=True)
            for source, data in (("p", None), ("-", b"p/a/one.png\np/b/two.png\n"), ("p/b", None))
        ]
    finally:
        (Path("p") / "b").chmod(0o755)
    tree, listed, alone = results
    assert [result.returncode for result in results] == [3, 3, 1]
    for result in (tree, listed):
        assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == ["p/a/one.png"]
    assert tree.stderr == b"fa-predict: left out p/b: Permission denied\nfa-predict: 1 input was left out\n"
    assert listed.stderr == b"fa-predict: left out p/b/two.png: Permission denied\nfa-predict: 1 input was left out\n"
    assert alone.stderr == b"fa-predict: p/b: Permission denied\n"
