"""A few disturbed runs of the quickest commands; `make faults` tries all commands."""

from __future__ import annotations

import subprocess
import sys


def test_outputs_are_absent_or_complete() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--quick"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
