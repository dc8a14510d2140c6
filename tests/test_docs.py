"""Help, manual pages, README and launchers say the same."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from facetools import __version__

ROOT = Path(__file__).parent.parent
COMMANDS = ("fa-augment", "fa-train", "fa-predict", "fa-cluster", "fa-eigenface", "fa-report")


def help_of(command: str) -> str:
    module = f"facetools.commands.{command.removeprefix('fa-')}"
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def options_of(command: str) -> set[str]:
    module = importlib.import_module(f"facetools.commands.{command.removeprefix('fa-')}")
    parameters = typer.main.get_command(module.main.app).params
    names = {name for parameter in parameters for name in (*parameter.opts, *parameter.secondary_opts)}
    return {name for name in names if name.startswith("-")} | {"-h", "--help"}


def page_of(command: str) -> str:
    return re.sub(r"\\f.", "", (ROOT / "man" / f"{command}.1").read_text()).replace("\\-", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_page_has_the_options_of_the_help(command: str) -> None:
    page = page_of(command)
    documented = {
        option.partition("=")[0]
        for line in re.findall(r"^(-.*)$", page, re.MULTILINE)
        for option in re.findall(r"(?<![\w-])--?[\w-]+", line)
    }
    assert options_of(command) <= documented


@pytest.mark.parametrize("command", COMMANDS)
def test_the_manual_page_is_made_from_the_help(command: str) -> None:
    """Words only, as help2man lays them out anew; a page made before the last change of the help fails here."""

    def words(text: str) -> list[str]:
        return re.sub(r"\\[(]aq|\\[&e,/]|[-'`‘’]", "", text).split()

    page = " ".join(words(page_of(command)))
    for paragraph in help_of(command).partition("Options:")[0].partition("\n\n")[2].split("\n\n"):
        if not paragraph.strip().startswith("Arguments:"):
            assert " ".join(words(paragraph)) in page
    for example in help_of(command).partition("Examples:")[2].strip().splitlines():
        assert " ".join(words(example)) in page


@pytest.mark.parametrize("name", ["facetools.bash", "_facetools", "facetools.fish"])
def test_the_completions_are_made_from_the_commands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "man"))
    make = importlib.import_module("make")
    assert (ROOT / "bin" / "completions" / name).read_text() == make.COMPLETIONS[name]()


def test_bash_completes_options_and_their_values() -> None:
    script = f"""source {ROOT}/bin/completions/facetools.bash
        COMP_WORDS=(fa-cluster --method d) COMP_CWORD=2; _facetools fa-cluster; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(fa-cluster --li) COMP_CWORD=1; _facetools fa-cluster; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dbscan", "--linkage"]


def test_every_parameter_has_a_help_text() -> None:
    for command in COMMANDS:
        module = importlib.import_module(f"facetools.commands.{command.removeprefix('fa-')}")
        for parameter in typer.main.get_command(module.main.app).params:
            assert parameter.help, f"{command} {parameter.name}"


def test_the_readme_names_every_command_and_the_two_make_targets() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in COMMANDS:
        assert f"`{command}`" in readme
    assert "make demo" in readme and "make test" in readme


def test_the_options_in_the_readme_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", readme, re.DOTALL)
    used = 0
    for line in " ".join(blocks).replace("\\\n", " ").splitlines():
        for part in re.split(r"[|;]|&&", line):
            found = re.search(r"(?:^|\s)(fa-[a-z]+)\s(.*)", part)
            if found and found[1] in COMMANDS:
                options = set(re.findall(r"(?<!\S)(--?[a-zA-Z][\w-]*)", found[2]))
                assert options <= options_of(found[1]), (found[1], options - options_of(found[1]))
                used += 1
    assert used > 5


def test_the_formats_page_names_every_column() -> None:
    from facetools.table.columns import Table

    page = (ROOT / "man" / "facetools-formats.5").read_text()
    assert all(f".B {name}\n" in page for name in ("path", "scores", "labels", "cluster"))
    assert {"paths", "scores", "labels", "cluster"} <= set(Table.__dataclass_fields__)


def test_launchers_and_scripts_are_the_commands() -> None:
    import tomllib

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) == set(COMMANDS) == {path.name for path in (ROOT / "bin").glob("fa-*")}
    assert __version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_nothing_heavy_is_imported_for_the_help() -> None:
    heavy = "torch|torchvision|onnx|onnxruntime|sklearn|scipy|faiss|matplotlib|rich|numpy|PIL"
    for command in COMMANDS:
        module = f"facetools.commands.{command.removeprefix('fa-')}"
        script = f"import sys, {module}; print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert not [name for name in done.stdout.split() if re.fullmatch(heavy, name)]
