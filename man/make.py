"""Makes the manual pages (needs help2man) and the completions again from the commands: python man/make.py."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from facetools import __version__

HERE = Path(__file__).parent
COMMANDS = {
    "fa-augment": "make randomly warped copies of images",
    "fa-train": "train a network to predict facial attributes",
    "fa-predict": "predict the facial attributes of images",
    "fa-cluster": "cluster faces by their attributes",
    "fa-eigenface": "make the mean face and the eigenfaces of every cluster",
    "fa-report": "report on faces, their attributes and their clusters",
}
MADE = "# Made by man/make.py from the commands' options."


def page(command: str) -> str:
    """The manual page of a command, from its help and from what man/common.h2m and man/COMMAND.h2m add."""
    line = ["help2man", "--no-info", "--section=1", f"--name={COMMANDS[command]}", f"--version-string={__version__}"]
    line += ["--manual=facetools", "--source=facetools", f"--include={HERE / 'common.h2m'}"]
    line += [f"--opt-include={HERE / command}.h2m", str(Path(sys.executable).parent / command)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "0", "LC_ALL": "C.UTF-8", "COLUMNS": "100"}
    made = subprocess.run(line, check=True, capture_output=True, text=True, env=environment).stdout
    made = made.replace('"January 1970" ', '"" ')  # the month says nothing
    head, rest = made.split("Examples:", 1)
    _, section, tail = rest.partition("\n.SH")
    usage = subprocess.run([line[-1], "--help"], check=True, capture_output=True, text=True, env=environment).stdout
    examples = "\n".join(row.strip() for row in usage.partition("Examples:")[2].strip().splitlines())
    escaped = examples.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"{head.rstrip().removesuffix('.IP').rstrip()}\n.SH EXAMPLES\n.EX\n{escaped}\n.EE{section}{tail}"


def options(command: str) -> list[tuple[list[str], list[str] | None, bool, str]]:
    """The options of a command: their names, the words they choose from, whether they take a value, what they do."""
    module = importlib.import_module(f"facetools.commands.{command.removeprefix('fa-')}")
    found: list[tuple[list[str], list[str] | None, bool, str]] = []
    for parameter in typer.main.get_command(module.main.app).params:
        settings: Any = parameter
        if settings.param_type_name == "option":
            choices = list(getattr(settings.type, "choices", ())) or None
            names = [*settings.opts, *settings.secondary_opts]
            found.append((names, choices, not settings.is_flag, settings.help.rstrip(".")))
    return [*found, (["--help", "-h"], None, False, "Show the help and exit")]


def bash() -> str:
    chosen, named = [], []
    for command in COMMANDS:
        for names, choices, _, _ in options(command):
            if choices:
                chosen += [f'        "{command} {name}") words="{" ".join(choices)}" ;;' for name in names]
        words = " ".join(name for names, *_ in options(command) for name in names)
        named.append(f'        {command}) words="{words}" ;;')
    lines = [MADE, "_facetools() {", "    local words= current=${COMP_WORDS[COMP_CWORD]}"]
    lines += ['    case "${1##*/} ${COMP_WORDS[COMP_CWORD - 1]}" in', *chosen, "    esac"]
    lines += ["    if [[ -z $words && $current == -* ]]; then", "        case ${1##*/} in"]
    lines += ["    " + line for line in named]
    lines += ["        esac", "    fi", "    if [[ -n $words ]]; then"]
    lines += ['        COMPREPLY=($(compgen -W "$words" -- "$current"))', "    else"]
    lines += ['        COMPREPLY=($(compgen -f -- "$current"))', "    fi", "}"]
    return "\n".join([*lines, f"complete -o filenames -F _facetools {' '.join(COMMANDS)}"]) + "\n"


def zsh() -> str:
    lines = [f"#compdef {' '.join(COMMANDS)}", MADE, "case $service in"]
    for command in COMMANDS:
        lines.append(f"    {command}) _arguments \\")
        for names, choices, takes_value, told in options(command):
            words = told.replace("'", "").replace("[", "(").replace("]", ")").replace(":", "")
            value = f":value:({' '.join(choices)})" if choices else ":value:_files" if takes_value else ""
            lines += [f"        '{name}[{words}]{value}' \\" for name in names]
        lines.append("        '*:file:_files' ;;")
    return "\n".join([*lines, "esac"]) + "\n"


def fish() -> str:
    lines = [MADE]
    for command in COMMANDS:
        for names, choices, takes_value, told in options(command):
            flags = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in names)
            value = f" -x -a '{' '.join(choices)}'" if choices else " -r" if takes_value else ""
            words = told.replace("'", "")
            lines.append(f"complete -c {command} {flags}{value} -d '{words}'")
    return "\n".join(lines) + "\n"


COMPLETIONS = {"facetools.bash": bash, "_facetools": zsh, "facetools.fish": fish}

if __name__ == "__main__":
    for command in COMMANDS:
        (HERE / f"{command}.1").write_text(page(command), "utf-8")
    for name, make in COMPLETIONS.items():
        (HERE.parent / "bin" / "completions" / name).write_text(make(), "utf-8")
