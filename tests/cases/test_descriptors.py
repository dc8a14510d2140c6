"""Outputs called /dev/stdout, /dev/stderr, /dev/fd/N or >(...), named pipes, and closed standard descriptors."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Run, command

COMMANDS = ("augment", "train", "predict", "cluster", "eigenface", "report")
SCORES = ({"Smiling": 0.9, "Male": 0.2}, {"Smiling": 0.6, "Male": 0.5}, {"Smiling": 0.3, "Male": 0.8})
ROWS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with three images, and a face table of them with clusters."""
    rng = np.random.default_rng(0)
    with (tmp_path / "t.jsonl").open("w") as table:
        for number, scores in enumerate(SCORES):
            Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8)).save(tmp_path / f"{number}.jpg")
            table.write(json.dumps({"path": f"{number}.jpg", "scores": scores, "cluster": 0}) + "\n")
    return tmp_path


def shell(folder: Path, script: str, check: int | None = 0) -> subprocess.CompletedProcess[bytes]:
    """Run a script of bash in `folder`, in which `fa NAME ...` runs a command."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    prefix = shlex.join(command("NAME")).replace("facetools.commands.NAME", 'facetools.commands."$name"')
    function = f'fa() {{ local name=$1; shift; {prefix} "$@"; }}\n'
    done = subprocess.run(["bash", "-c", function + script], cwd=folder, capture_output=True, timeout=120)
    assert check is None or done.returncode == check, done.stderr.decode()
    assert b"Traceback" not in done.stderr and b"defect" not in done.stderr
    return done


def count_rows(table: bytes) -> int:
    return len([json.loads(line)["cluster"] for line in table.splitlines()])


STDOUT_NAMES = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/./fd/../fd/1", "link")


@pytest.mark.parametrize("name", STDOUT_NAMES)
def test_names_of_stdout_mean_stdout(name: str, folder: Path) -> None:
    (folder / "link").symlink_to("/dev/stdout")
    (folder / "log").write_text("an earlier line\n")
    done = shell(folder, f"fa cluster t.jsonl -k 2 -o {name} > out 2>> log")
    assert done.stdout == b""
    assert count_rows((folder / "out").read_bytes()) == ROWS
    first, *others = (folder / "log").read_text().splitlines()
    assert first == "an earlier line"
    assert others[-1].startswith("fa-cluster: 3 faces")
    assert count_rows(shell(folder, f"fa cluster t.jsonl -k 2 -q -o {name} | cat").stdout) == ROWS


def test_a_summary_on_stderr_is_appended_to_the_log(folder: Path) -> None:
    (folder / "log").write_text("an earlier line\n")
    shell(folder, "fa cluster t.jsonl -k 2 --summary /dev/stderr 2>> log > table")
    log = (folder / "log").read_text()
    assert log.startswith("an earlier line\n{\n") and "3 faces in 2 clusters" in log
    piped = shell(folder, "{ fa cluster t.jsonl -k 2 -q --summary /dev/stderr > table; } 2>&1 | cat")
    assert json.loads(piped.stdout)["clusters"] == 2
    only = shell(folder, "fa cluster t.jsonl -k 2 -q -o table --summary - && fa cluster table -k 2 -q -o /dev/null")
    assert json.loads(only.stdout)["clusters"] == 2


def test_process_substitutions_other_descriptors_and_named_pipes(folder: Path) -> None:
    done = shell(
        folder,
        """fa cluster t.jsonl -k 2 -q -o >(cat > a; touch written); until [ -e written ]; do sleep 0.1; done
        fa cluster t.jsonl -k 2 -q -o /dev/fd/3 3>&1 > b | cat > c
        mkfifo p; cat p > d & fa cluster t.jsonl -k 2 -q -o p; wait
        fa cluster t.jsonl -k 2 -q --summary /dev/fd/9 9> e > /dev/null
        fa cluster t.jsonl -k 2 -q -o /dev/null
        fa cluster t.jsonl --compare 2 --methods kmeans -q -o /dev/fd/5 5> f""",
    )
    assert done.stderr == b""
    for name in "acd":
        assert count_rows((folder / name).read_bytes()) == ROWS
    assert (folder / "b").read_bytes() == b""
    assert json.loads((folder / "e").read_bytes())["faces"] == ROWS
    assert json.loads((folder / "f").read_bytes())["k"] == 2


def test_a_file_behind_a_descriptor_keeps_its_inode_and_offset(folder: Path) -> None:
    (folder / "out").write_text("0123456789\n")
    inode = (folder / "out").stat().st_ino
    shell(folder, "exec 3>> out; fa cluster t.jsonl -k 2 -q -o /dev/fd/3; echo after >&3")
    first, *rows, last = (folder / "out").read_text().splitlines()
    assert (first, last, len(rows)) == ("0123456789", "after", ROWS)
    assert (folder / "out").stat().st_ino == inode


def test_npy_makes_one_block_in_a_file_and_is_not_appended(folder: Path) -> None:
    shell(folder, "fa cluster t.jsonl -k 2 -q --format npy -o /dev/stdout > a; fa cluster t.jsonl -k 2 -q -o b.npy")
    assert (folder / "a").read_bytes() == (folder / "b.npy").read_bytes()
    for redirection in (">> a", "1<> a"):
        done = shell(folder, f"fa cluster t.jsonl -k 2 --format npy {redirection}", check=1)
        assert b"standard output: the file is not empty" in done.stderr
        assert (folder / "a").read_bytes() == (folder / "b.npy").read_bytes()
    assert len(np.load(folder / "a")) == ROWS


@pytest.mark.parametrize("name", ["/dev/fd/7", "/proc/self/fd/7", "/dev/stdin", "/dev/fd/12345"])
def test_descriptors_that_are_not_open_for_writing_are_refused(name: str, folder: Path) -> None:
    done = shell(folder, f"fa cluster t.jsonl -k 2 -o {name} < t.jsonl", check=1)
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == b""


def test_other_outputs_accept_descriptors(folder: Path) -> None:
    done = shell(
        folder,
        """fa report t.jsonl -q --format text -o /dev/fd/4 4> text
        fa augment 0.jpg -o aug -q --sheet >(cat > sheet) > records
        fa augment 0.jpg -o aug -q --sheet /dev/fd/4 4> sheet2 > records
        mkfifo p.zip; cat p.zip > piped.zip & fa augment [0-2].jpg -o p.zip -q > records; wait
        ln -s /dev/fd/4 d.zip; fa augment . -o d.zip -q 4> direct.zip > records""",
    )
    assert done.stderr == b""
    assert "3" in (folder / "text").read_text()
    assert (folder / "sheet2").read_bytes() == (folder / "sheet").read_bytes()
    with Image.open(io.BytesIO((folder / "sheet").read_bytes())) as sheet:
        assert sheet.format == "PNG"
    for name in ("piped.zip", "direct.zip"):
        with zipfile.ZipFile(folder / name) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["0-1.jpg", "1-1.jpg", "2-1.jpg"]


@pytest.mark.parametrize(
    "line",
    [
        "augment 0.jpg -o /dev/stdout",
        "augment 0.jpg -o -",
        "augment 0.jpg -o >(cat)",
        "augment 0.jpg -o t.jsonl",
        "augment 0.jpg -o aug --sheet /dev/stdout",
        "augment 0.jpg -o aug --sheet -",
        "augment 0.jpg -o aug --sheet sheet",
        "augment 0.jpg -o aug --sheet sheet.gif",
        "eigenface t.jsonl -o /dev/stdout",
        "eigenface t.jsonl -o t.jsonl",
        "report t.jsonl --figures /dev/fd/1 -o r.html",
        "train . --labels t.jsonl -o /dev/stdout",
        "train . --labels t.jsonl -o t.jsonl",
        "predict 0.jpg --resume -o /dev/stdout",
        "predict 0.jpg --parts -o >(cat)",
        "predict 0.jpg --resume -o pipe",
        "cluster t.jsonl -k 2 --summary /dev/stdout",
        "cluster t.jsonl -k 2 -o /dev/fd/3 --summary /dev/fd/3 3> o",
        "cluster t.jsonl -k 2 -o out.jsonl.gz",
        "cluster t.jsonl -k 2 -o out.npy.zst",
        "cluster t.jsonl -k 2 --summary out.json.xz",
        "report t.jsonl -o report.html.bz2",
    ],
)
def test_what_cannot_be_written_there_is_refused_before_any_work(line: str, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    before = {path.name for path in folder.iterdir()}
    done = shell(folder, f"fa {line}", check=2)
    assert b"Error: Invalid value" in done.stderr
    assert done.stdout == b""
    assert {path.name for path in folder.iterdir()} - {"o"} == before


# Closed descriptors

CLOSED = (">&-", "<&-", "2>&-", ">&- 2>&-", ">&- <&-", "<&- 2>&-", ">&- <&- 2>&-")


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_descriptors_do_no_harm_to_a_file(closed: str, folder: Path) -> None:
    done = shell(folder, f"fa cluster t.jsonl -k 2 -o x.jsonl --summary s.json {closed}")
    assert count_rows((folder / "x.jsonl").read_bytes()) == ROWS
    assert json.loads((folder / "s.json").read_text())["faces"] == ROWS
    assert done.stdout == b""
    assert (b"3 faces" in done.stderr) == ("2>" not in closed)


@pytest.mark.parametrize("closed", CLOSED)
def test_closed_descriptors_that_are_needed_are_reported(closed: str, folder: Path) -> None:
    without_stdout, without_stderr = ">&-" in closed.split(), "2>&-" in closed
    done = shell(folder, f"fa cluster t.jsonl -k 2 {closed}", check=int(without_stdout))
    if without_stdout:
        assert done.stdout == b""
        assert done.stderr == (b"" if without_stderr else b"fa-cluster: cannot write: standard output is closed\n")
    else:
        assert count_rows(done.stdout) == ROWS
    if "<&-" in closed:
        done = shell(folder, f"fa cluster -k 2 -o y.jsonl {closed}", check=1)
        assert done.stderr == (b"" if without_stderr else b"fa-cluster: standard input: it is closed\n")
        assert not (folder / "y.jsonl").exists()
        done = shell(folder, f"fa augment - -o aug {closed}", check=1)
        assert done.stdout == b""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_version_without_stdout_fail_in_one_line(name: str, folder: Path) -> None:
    for option in ("--help", "--version"):
        done = shell(folder, f"fa {name} {option} >&-", check=1)
        assert done.stderr == f"fa-{name}: cannot write: standard output is closed\n".encode()
        full = shell(folder, f"fa {name} {option} > /dev/full", check=1)
        assert full.stderr == f"fa-{name}: cannot write: No space left on device\n".encode()
    assert shell(folder, f"fa {name} --no-such-option >&- 2>&- <&-", check=2).stdout == b""


@pytest.mark.parametrize("line", ["augment 0.jpg -o aug", "eigenface t.jsonl -o eig"])
@pytest.mark.parametrize(
    ("redirection", "message"), [(">&-", b"standard output is closed"), ("> /dev/full", b"No space left on device")]
)
def test_records_that_cannot_be_written_fail(line: str, redirection: str, message: bytes, folder: Path) -> None:
    done = shell(folder, f"fa {line} {redirection}", check=1)
    assert done.stderr.endswith(b"cannot write: " + message + b"\n")
    assert (redirection == "> /dev/full") == (folder / line.split()[-1]).exists()


def test_lost_messages_do_not_fail_a_command(folder: Path) -> None:
    assert count_rows(shell(folder, "fa cluster t.jsonl -k 2 2> /dev/full").stdout) == ROWS


def test_no_data_file_takes_the_number_of_a_standard_stream(folder: Path) -> None:
    done = shell(folder, "fa augment 0.jpg -o aug.zip --sheet sheet.png -v <&- 2>&-")
    assert json.loads(done.stdout)["source"] == "0.jpg"
    with zipfile.ZipFile(folder / "aug.zip") as archive:
        assert archive.testzip() is None
    with Image.open(folder / "sheet.png") as sheet:
        sheet.load()


def test_predict_writes_to_a_process_substitution(run: Run, folder: Path) -> None:
    done = shell(
        folder, "fa predict 0.jpg 1.jpg -q -o >(cat) | cat; fa predict 0.jpg -q --format npy -o >(cat > n) | cat"
    )
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == ["0.jpg", "1.jpg"]
