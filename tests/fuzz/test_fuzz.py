"""The first mutated inputs of every kind, and checks of the fuzzer itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import campaign, reduction
from tests.fuzz.seeds import SEEDS

#: The inputs of all kinds that run with the other tests; `make fuzz` runs a million.
COUNT = 20_000


def test_mutated_inputs_give_results_or_documented_errors() -> None:
    line = [sys.executable, "-m", "tests.fuzz", "--quiet", "--count", str(COUNT)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert not done.stderr


@pytest.mark.parametrize("kind", SEEDS)
def test_inputs_depend_on_their_number_and_the_seed_only(kind: str) -> None:
    inputs = [campaign.make_input(kind, number, seed) for seed in (0, 1) for number in range(200, 210)]
    assert inputs == [campaign.make_input(kind, number, seed) for seed in (0, 1) for number in range(200, 210)]
    assert len(set(inputs)) > 10


def test_reduction_finds_the_smallest_input() -> None:
    data = bytes(range(256)) * 3
    assert reduction.reduce(data, lambda candidate: b"A" in candidate and b"z" in candidate) in (b"Az", b"zA")


#: Targets with a fault each, and the cause that has to be found.
FAULTY = {
    "raise KeyError": "KeyError",
    "import warnings; warnings.warn('careful')": "warning: UserWarning",
    "import os; os.write(2, b'message of a library')": "a library prints",
    "open(outside + '/file', 'w')": "forbidden: write",
    "import os; os.mkdir(outside + '/folder')": "forbidden: os.mkdir",
    "import subprocess; subprocess.run(['true'])": "forbidden: subprocess.Popen",
    "while True: pass": "time",
    "bytearray(400_000_000)[::4096] = b'1' * 97657": "memory",
    "bytearray(40_000_000_000)": "MemoryError",
    "import os; os.abort()": "SIGABRT",
    "raise ValueError('documented')": "",
    "open('inside', 'w').close()": "",
}


def test_faults_of_every_kind_are_found(tmp_path: Path) -> None:
    script = f"""
import json
from tests.fuzz import reduction, seeds, targets
causes = {{}}
for code in {list(FAULTY)!r}:
    run = lambda data, folder: exec(code, {{"outside": {str(tmp_path)!r}}})
    targets.TARGETS["faulty"] = targets.Target(run, (ValueError,), None, 1.0)
    seeds.SEEDS["faulty"] = list
    causes[code] = reduction.find_cause("faulty", b"")
print(json.dumps(causes))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for code, cause in json.loads(done.stdout).items():
        assert cause.startswith(FAULTY[code]) and bool(cause) == bool(FAULTY[code]), f"{code}: {cause}"
