"""Disturb all commands that write and print a Markdown table of what they survived: `python -m tests.faults`.

Takes about half an hour on two cores. Lists every run that did not survive and exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults import campaign
from tests.faults.campaign import Laboratory, Outcome
from tests.faults.cases import CASES, Case, make_inputs


@dataclass(frozen=True)
class Experiment:
    """An experiment and the number of its runs per command, in full and with --quick."""

    run: Callable[[Laboratory, int], Iterator[Outcome]]
    full: int
    quick: int


EXPERIMENTS = {
    "kill": Experiment(campaign.kill, 100, 2),
    "writes": Experiment(campaign.fail_writes, 160, 2),
    "memory": Experiment(campaign.limit_memory, 12, 1),
    "signals": Experiment(campaign.interrupt, 50, 1),
    "twice": Experiment(campaign.run_twice, 5, 1),
}

#: With --quick: commands of a second or less.
QUICK_CASES = ("fa-augment, folder", "fa-augment, zip", "fa-cluster", "draw")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few runs of few commands, in less than a minute")
    parser.add_argument("--only", metavar="TEXT", default="", help="only the commands whose name contains TEXT")
    parser.add_argument("--experiment", choices=EXPERIMENTS, action="append", help="only this experiment; repeatable")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="commands tried at a time")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name and (not options.quick or case.name in QUICK_CASES)]
    experiments = [EXPERIMENTS[name] for name in options.experiment or EXPERIMENTS]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        inputs = Path(folder, "inputs")
        inputs.mkdir()
        make_inputs(inputs)

        def try_case(case: Case) -> list[Outcome]:
            laboratory = Laboratory(case, inputs, Path(folder))
            outcomes: list[Outcome] = []
            for experiment in experiments:
                for outcome in experiment.run(laboratory, experiment.quick if options.quick else experiment.full):
                    outcomes.append(outcome)
                    if outcome.problem:
                        print(f"{describe(outcome)}", file=sys.stderr, flush=True)
            return outcomes

        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = [outcome for results in pool.map(try_case, cases) for outcome in results]
    print_table(outcomes)
    problems = [outcome for outcome in outcomes if outcome.problem]
    print(f"\n{len(outcomes)} runs, {len(problems)} problems, {time.monotonic() - started:.0f} s")
    return 1 if problems else 0


def describe(outcome: Outcome) -> str:
    return f"{outcome.case}: {outcome.experiment}, {outcome.disturbance}: {outcome.problem}"


def print_table(outcomes: list[Outcome]) -> None:
    """Print one row per command: in each column the runs survived, and how many were tried."""
    cells: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        cells[outcome.case][outcome.experiment].append(outcome.problem is None)
    columns = list(dict.fromkeys(outcome.experiment for outcome in outcomes))
    print("| command | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for case, results in cells.items():
        print(f"| {case} | " + " | ".join(_share(results.get(column, [])) for column in columns) + " |")


def _share(survived: list[bool]) -> str:
    return f"{sum(survived)}/{len(survived)}" if survived else "-"


if __name__ == "__main__":
    sys.exit(main())
