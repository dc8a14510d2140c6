"""Accuracy of the recipes of fa-train on the same faces, over several seeds.

    python benchmarks/recipes.py celeba8k OUT --epochs 16 --weights none --image-size 128x104
    python benchmarks/recipes.py --stored      prints the table of the stored results

Trains every recipe with every seed in OUT/RECIPE-SEED, evaluates the epoch of the best validation accuracy on the test
partition of CELEBA, and prints a Markdown table. Interrupted runs resume. Other options go to fa-train. Each result is
stored in --results as soon as its run ends; results of the same settings and other seeds are kept.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import machine

from facetools.prediction import metrics
from facetools.table import streams

RESULTS = Path(__file__).parent / "results/recipes.json"

#: Column headings of the metrics that the table shows, by their keys in the results.
COLUMNS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "average_precision": "average precision",
    "at accuracy": "accuracy at its thresholds",
    "at balanced": "balanced accuracy at its thresholds",
}


def run_command(name: str, *arguments: str | Path) -> None:
    line = [sys.executable, "-m", f"facetools.commands.{name}", *map(str, arguments)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def run_recipe(celeba: str, folder: Path, recipe: str, seed: int, options: list[str]) -> dict[str, Any]:
    """Train `recipe` in `folder` and return its metrics on the test faces, all from 0 to 1, with its settings and the
    machine."""
    run_command("train", celeba, "-o", folder, "--resume", "--recipe", recipe, "--seed", str(seed), *options)
    values: dict[str, float] = {}
    for thresholds, metric in (("0.5", None), ("accuracy", "accuracy"), ("balanced", "balanced_accuracy")):
        table = folder / f"test-{thresholds}.npy"
        model = ("--model", folder / "best.pt", "--thresholds", thresholds)
        run_command("predict", celeba, "--partition", "test", "--labels", celeba, *model, "-o", table)
        faces, _ = streams.read_table(str(table))
        assert faces.labels is not None and faces.scores is not None
        means = metrics.mean_metrics(faces.labels.values, faces.scores.select(faces.labels.names))
        values |= {f"at {thresholds}": means[metric]} if metric else means
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    values["valid_accuracy"] = max(record["valid_accuracy"] for record in history)
    settings = json.loads((folder / "config.json").read_text())["recipe"]
    return {"recipe": recipe, "seed": seed, **values, "settings": settings, "machine": machine()}


def is_replaced(result: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether a stored `result` is of the recipe of `new`, with the same seed or with other settings."""
    same_run = result["settings"] == new["settings"] and result["seed"] != new["seed"]
    return bool(result["recipe"] == new["recipe"] and not same_run)


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table, in percent: the mean over seeds, with minimum and maximum."""
    yield f"| recipe | seeds | {' | '.join(COLUMNS.values())} |"
    yield f"|---|--:|{'--:|' * len(COLUMNS)}"
    for recipe in dict.fromkeys(result["recipe"] for result in results):
        runs = [result for result in results if result["recipe"] == recipe]
        cells = [format_spread([100 * run[name] for run in runs]) for name in COLUMNS]
        yield f"| {recipe} | {len(runs)} | {' | '.join(cells)} |"


def format_spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba", nargs="?", help="folder of faces in CelebA's layout, with partitions")
    parser.add_argument("out", nargs="?", type=Path, help="folder of the runs")
    parser.add_argument("--recipes", default="paper,modern")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--stored", action="store_true", help="train nothing; print the table of the stored results")
    arguments, options = parser.parse_known_args()
    results: list[dict[str, Any]] = json.loads(arguments.results.read_text()) if arguments.results.exists() else []
    if not arguments.stored:
        if arguments.out is None:
            parser.error("give CELEBA and OUT, or --stored")
        for seed, recipe in itertools.product(map(int, arguments.seeds.split(",")), arguments.recipes.split(",")):
            new = run_recipe(arguments.celeba, arguments.out / f"{recipe}-{seed}", recipe, seed, options)
            print(f"{recipe}, seed {seed}: {new}", file=sys.stderr)
            results = [result for result in results if not is_replaced(result, new)] + [new]
            arguments.results.write_text(json.dumps(results, indent=1) + "\n")
    print(*table(results), sep="\n")


if __name__ == "__main__":
    main()
