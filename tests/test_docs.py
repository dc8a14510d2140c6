"""Help texts, manual pages, completions, README and launchers agree with the commands."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from facetools import __version__

ROOT = Path(__file__).parent.parent
COMMANDS = ("fa-align", "fa-augment", "fa-train", "fa-predict", "fa-cluster", "fa-eigenface", "fa-find", "fa-report")


def module_name(command: str) -> str:
    return f"facetools.commands.{command.removeprefix('fa-')}"


def read_help(command: str) -> str:
    line = [sys.executable, "-m", module_name(command), "--help"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def parameters(command: str) -> list[Any]:
    """The options and arguments of a command."""
    return typer.main.get_command(importlib.import_module(module_name(command)).main.app).params


def option_names(command: str) -> set[str]:
    names = {name for parameter in parameters(command) for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} | {"-h", "--help"}


def read_page(command: str) -> str:
    """The manual page of a command without font changes and escaped dashes."""
    return re.sub(r"\\f.", "", (ROOT / "man" / f"{command}.1").read_text()).replace("\\-", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_manual_page_documents_every_option(command: str) -> None:
    documented = {
        option.partition("=")[0]
        for line in re.findall(r"^(-.*)$", read_page(command), re.MULTILINE)
        for option in re.findall(r"(?<![\w-])--?[\w-]+", line)
    }
    assert option_names(command) <= documented


@pytest.mark.parametrize("command", COMMANDS)
def test_manual_page_has_the_text_of_the_help(command: str) -> None:
    """Compares words, because help2man breaks lines differently. If this fails, run `make man`."""

    def words(text: str) -> str:
        return " ".join(re.sub(r"\\[(]aq|\\[&e,/]|[-'`‘’]", "", text).split())

    page, text = words(read_page(command)), read_help(command)
    for paragraph in text.partition("Arguments:")[0].partition("\n\n")[2].split("\n\n"):
        assert words(paragraph) in page
    for parameter in parameters(command):
        assert words(parameter.help) in page
    for example in text.partition("Examples:")[2].strip().splitlines():
        assert words(example) in page


@pytest.mark.parametrize("command", COMMANDS)
def test_manual_page_has_all_sections_in_order(command: str) -> None:
    required = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "OUTPUT", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
    sections = re.findall(r'^\.SH "?([A-Z ]+)"?$', read_page(command), re.MULTILINE)
    assert [section for section in sections if section in required] == required


@pytest.mark.parametrize("name", ["facetools.bash", "_facetools", "facetools.fish"])
def test_completions_are_up_to_date(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "man"))
    make = importlib.import_module("make")
    assert (ROOT / "bin" / "completions" / name).read_text() == make.COMPLETIONS[name]()


def test_bash_completes_options_and_their_values() -> None:
    script = f"""source {ROOT}/bin/completions/facetools.bash
        COMP_WORDS=(fa-cluster --method d) COMP_CWORD=2; _facetools fa-cluster; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(fa-cluster --li) COMP_CWORD=1; _facetools fa-cluster; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dbscan", "--linkage"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_parameter_has_a_help_text(command: str) -> None:
    assert [parameter.name for parameter in parameters(command) if not parameter.help] == []


def test_readme_mentions_every_command_and_make_target() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert f"`{command}`" in readme
    assert "make demo" in readme and "make test" in readme


def test_options_in_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", readme, re.DOTALL)
    checked = 0
    for line in " ".join(blocks).replace("\\\n", " ").splitlines():
        for part in re.split(r"[|;]|&&", line):
            match = re.search(r"(?:^|\s)(fa-[a-z]+)\s(.*)", part)
            if match and match[1] in COMMANDS:
                options = set(re.findall(r"(?<!\S)(--?[a-zA-Z][\w-]*)", match[2]))
                assert options <= option_names(match[1]), (match[1], options - option_names(match[1]))
                checked += 1
    assert checked > 5


def test_formats_page_documents_every_column() -> None:
    from facetools.table.columns import Table

    page = (ROOT / "man" / "facetools-formats.5").read_text()
    assert all(f".B {name}\n" in page for name in ("path", "scores", "labels", "cluster"))
    assert {"paths", "scores", "labels", "cluster"} <= set(Table.__dataclass_fields__)


def test_launchers_and_entry_points_are_the_commands() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["scripts"]) == set(COMMANDS) == {path.name for path in (ROOT / "bin").glob("fa-*")}
    assert __version__ == project["version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    heavy = "torch|torchvision|onnx|onnxruntime|sklearn|scipy|faiss|matplotlib|rich|numpy|PIL"
    script = f"import sys, {module_name(command)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not [name for name in done.stdout.split() if re.fullmatch(heavy, name)]
