"""The benchmarks: drawn faces resemble real ones, engines agree, documents show the stored results."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def core() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    import core

    yield core
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def mixture(core: ModuleType) -> ModuleType:
    import mixture

    return mixture


def test_drawn_codes_repeat_as_often_as_real_ones(mixture: ModuleType) -> None:
    assert mixture.distinct_share(mixture.draw(20_000)) == pytest.approx(0.76, abs=0.03)


def test_drawn_faces_are_reproducible_and_fewer_are_a_prefix_of_more(mixture: ModuleType) -> None:
    faces = mixture.draw(3000)
    assert (mixture.draw(3000) == faces).all() and (mixture.draw(100) == faces[:100]).all()
    assert faces.shape == (3000, 1) and int(faces.max()) < 2**37


def test_the_engines_of_every_task_agree(core: ModuleType) -> None:
    import tasks

    seen = set()
    for case in (*core.cases(quick=True), *core.cases(quick=False)):
        if case.peer is None or case.task in seen or "GPU" in case.peer:
            continue
        seen.add(case.task)
        answers = [
            tasks.measure(case.task, engine, 800, case.weighted_check, 0)[1] for engine in (core.OURS, case.peer)
        ]
        assert case.same(*answers), case.task
    assert len(seen) == 11


def test_the_readme_shows_the_stored_core_results() -> None:
    line = [sys.executable, str(BENCHMARKS / "core.py"), "--stored"]
    shown = subprocess.run(line, check=True, capture_output=True, text=True).stdout.splitlines()
    text = (BENCHMARKS / "README.md").read_text().splitlines()
    assert len(shown) > 15
    assert not [line for line in shown if line not in text]


def test_the_readme_shows_the_stored_throughput(core: ModuleType) -> None:
    import throughput

    text = (BENCHMARKS / "README.md").read_text().splitlines()
    for name in ("throughput", "throughput-gpu"):
        stored = json.loads((BENCHMARKS / f"results/{name}.json").read_text())
        shown = [line.strip() for line in throughput.table(stored)]
        assert len(shown) > 8 and not [line for line in shown if line not in text]


def test_ratios_compare_consecutive_runs(core: ModuleType) -> None:
    ours = [{"seconds": seconds, "memory": 2e6, "distinct": 5} for seconds in (1, 2, 4)]
    theirs = [{"seconds": seconds, "memory": 8e6} for seconds in (10, 40, 20)]
    case = {"task": "ward", "rows": 1000, "ours": ours, "peer": "peer", "peer_rows": 1000, "theirs": theirs}
    assert core.line(case) == "| ward | 1,000 | 5 | 2 s, 2 MB | peer: 20 s, 8 MB | 10 (5 to 20) |"
    assert core.line(case | {"peer_rows": 10}).endswith("| peer: 20 s, 8 MB for 10 faces |  |")


@pytest.mark.parametrize("script", sorted((BENCHMARKS / "slurm").glob("*.sbatch")), ids=lambda path: path.name)
def test_batch_scripts_have_no_shell_errors(script: Path) -> None:
    check = ["shellcheck", script] if shutil.which("shellcheck") else ["bash", "-n", script]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
