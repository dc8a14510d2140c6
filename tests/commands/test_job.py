"""Job: what it prints on stderr about inputs, and how it escapes names."""

from __future__ import annotations

import pytest

from facetools.commands.job import EXIT_INCOMPLETE, Job, escape_controls
from facetools.runtime.processes import ProcessInfo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain äöü 日本 \U0001f600.jpg", "plain äöü 日本 \U0001f600.jpg"),
        ("a\x1b]0;title\x07.jpg", r"a\x1b]0;title\x07.jpg"),
        ("a\nfa-predict: 9 faces\r.jpg", r"a\nfa-predict: 9 faces\r.jpg"),
        ("a\x7f\x9b2J\x85.jpg", r"a\x7f\x9b2J\x85.jpg"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("a\u2066\u2069\u200f\u2028", r"a\u2066\u2069\u200f\u2028"),
        ("a\udcff\udce4.jpg", r"a\xff\xe4.jpg"),
        ("a\ud800.jpg", r"a\ud800.jpg"),
        ("C:\\a.jpg", "C:\\a.jpg"),
    ],
)
def test_control_characters_are_escaped(text: str, expected: str) -> None:
    assert escape_controls(text) == expected
    assert escape_controls(text).encode("utf-8")


def test_names_of_failures_are_escaped_and_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("fa-predict")
    job.report_failure("a\x1b[31m.jpg", "damaged\n")
    job.report_failure("x" * 5000, "File name too long")
    first, second = capsys.readouterr().err.splitlines()
    assert first == r"fa-predict: left out a\x1b[31m.jpg: damaged\n"
    assert len(second) < 400
    assert second.endswith("x (5,000 characters): File name too long")


def test_files_passed_over_are_counted_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("fa-predict")
    kinds = [".txt"] * 3 + [".json"] * 2 + ["archive inside an archive"] * 2 + ["socket", "without a known suffix"]
    for number, kind in enumerate(kinds):
        job.pass_over(f"d/{number}", kind)
    job.end()
    assert job.exit_code == 0
    assert capsys.readouterr().err == (
        "fa-predict: passed over 9 files that are not images: 3 .txt, 2 .json, 2 archives inside an archive, "
        "1 socket, 1 without a known suffix\n"
    )


def test_many_kinds_are_summarized(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("fa-predict")
    for number in range(30):
        job.pass_over("x", f".{number}")
    job.end()
    assert capsys.readouterr().err.endswith(".7, 22 of other kinds\n")


def test_verbose_names_each_file_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("fa-predict", verbose=True)
    job.pass_over("d/notes.txt", ".txt")
    job.end()
    assert capsys.readouterr().err == (
        "fa-predict: passed over d/notes.txt (.txt)\nfa-predict: passed over 1 file that is not an image: 1 .txt\n"
    )


def test_failures_decide_the_exit_code_and_files_passed_over_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("fa-predict", quiet=True)
    job.pass_over("a.txt", ".txt")
    job.report_failure("b.jpg", "damaged")
    job.end()
    assert job.exit_code == EXIT_INCOMPLETE
    assert capsys.readouterr().err == "fa-predict: left out b.jpg: damaged\nfa-predict: 1 input was left out\n"


def test_only_the_first_process_counts(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("fa-predict", process=ProcessInfo(rank=1, world=2))
    job.pass_over("a.txt", ".txt")
    job.end()
    assert capsys.readouterr().err == ""
