"""Makes the manual pages again from the commands' help: python man/make.py (needs help2man)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


if __name__ == "__main__":
    for command in COMMANDS:
        (HERE / f"{command}.1").write_text(page(command), "utf-8")
