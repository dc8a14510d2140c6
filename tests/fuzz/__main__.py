"""Fuzz the readers of all kinds of input: `python -m tests.fuzz --count 1000000`.

Prints one line per kind and one per fault, saves the inputs of faults to build/fuzz/ and exits with 1 if there are any.
`--only KIND --input NUMBER` repeats one input, `--reduce FILE` makes the input of a fault smaller.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz import campaign, reduction
from tests.fuzz.campaign import Fault, Tally, Task
from tests.fuzz.seeds import SEEDS

FAULTS = Path("build/fuzz")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="number of inputs of all kinds")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--only", metavar="KIND", action="append", choices=SEEDS, help="only this kind; repeatable")
    parser.add_argument("--input", type=int, metavar="NUMBER", help="only this input of the kind of --only")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="number of processes")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--reduce", type=Path, metavar="FILE", help="reduce the input of a fault; needs --only")
    options = parser.parse_args()
    kinds = options.only or list(SEEDS)
    if options.reduce is not None or options.input is not None:
        if len(kinds) != 1:
            parser.error("--reduce and --input need --only, the kind of the input")
        if options.reduce is not None:
            return reduction.reduce_file(kinds[0], options.reduce)
        tasks = [Task(kinds[0], options.input, 1)]
    else:
        tasks = campaign.plan(options.count, kinds)
    total, started = sum(task.count for task in tasks), time.monotonic()

    def show_progress(tallies: dict[str, Tally]) -> None:
        done = sum(tally.inputs for tally in tallies.values())
        faults = len(campaign.distinct_faults(tallies))
        seconds = time.monotonic() - started
        print(f"\r{done:,} of {total:,} inputs, {faults} kinds of faults, {seconds:.0f} s ", end="", file=sys.stderr)

    tallies = campaign.run(tasks, options.seed, options.jobs, *([] if options.quiet else [show_progress]))
    if not options.quiet:
        print(file=sys.stderr)
    print_table(tallies)
    faults = campaign.distinct_faults(tallies)
    for fault, count in faults:
        path = save(fault, options.seed)
        print(f"\n{fault.kind}, input {fault.number}: {fault.cause} ({count} inputs); saved as {path}\n{fault.details}")
    # A reader that refuses all seeds would pass unnoticed otherwise.
    useless = [kind for kind, tally in tallies.items() if tally.inputs >= 50 and not tally.results]
    if useless:
        print(f"\nNo input of these kinds has a result, so their seeds are out of date: {', '.join(useless)}")
    return 1 if faults or useless else 0


def print_table(tallies: dict[str, Tally]) -> None:
    """Print a Markdown table of all kinds and their total."""
    total = Tally()
    for tally in tallies.values():
        total.add(tally)
    print("| kind | inputs | results | documented errors | faults | ms per input |")
    print("|---|---:|---:|---:|---:|---:|")
    rows: Iterable[tuple[str, Tally]] = [(kind, tallies[kind]) for kind in SEEDS if kind in tallies]
    for kind, tally in (*rows, ("all", total)):
        milliseconds = 1000 * tally.seconds / max(1, tally.inputs)
        print(
            f"| {kind} | {tally.inputs:,} | {tally.results:,} | {tally.errors:,} | {len(tally.faults):,} | "
            f"{milliseconds:.2f} |"
        )


def save(fault: Fault, seed: int) -> Path:
    """Write the input of a fault, and its details beside it."""
    FAULTS.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", f"{fault.kind} {fault.cause} {seed} {fault.number}").lower()[:150]
    (FAULTS / f"{name}.txt").write_text(f"{fault.cause}\n{fault.details}\n")
    (FAULTS / name).write_bytes(campaign.make_input(fault.kind, fault.number, seed))
    return FAULTS / name


if __name__ == "__main__":
    sys.exit(main())
