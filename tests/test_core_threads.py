"""The threads of the core are kept from call to call: whoever calls, and how many at a time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from facetools import _core

ROWS = np.random.default_rng(0).normal(size=(20_000, 32)).astype(np.float32)


def moments(threads: int) -> np.ndarray:
    found = np.empty((2, ROWS.shape[1]), np.float32)
    _core.moments(ROWS, found, threads)
    return found


def test_several_calls_at_a_time_have_threads_of_their_own() -> None:
    expected = moments(1)
    with ThreadPoolExecutor(6) as callers:
        for found in callers.map(moments, [2, 5, 3] * 40):
            np.testing.assert_array_equal(found, expected)


def test_a_forked_process_has_threads_of_its_own() -> None:
    script = """
import os
from tests.test_core_threads import moments
moments(4)
child = os.fork()
moments(4)
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
