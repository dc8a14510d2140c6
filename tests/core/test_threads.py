"""The number of threads: results do not depend on it, nor on a limit that allows fewer of them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource
import numpy as np
from facetools import _core

rows = np.random.default_rng(0).integers(0, 2, (3_000_000, 8), np.uint8)
expected = _core.pack(rows, 0.5, 1, None)
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize")) * 1024
# The result has 24 MB, and the stack of a thread 8 MB.
resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
resource.setrlimit(resource.RLIMIT_AS, (size + (60 << 20), size + (60 << 20)))
assert np.array_equal(_core.pack(rows, 0.5, 64, None), expected)
"""


def test_a_limit_of_memory_that_allows_few_threads_is_enough() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
