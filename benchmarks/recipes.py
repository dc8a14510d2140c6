"""How good the recipes of fa-train are on the same faces: python benchmarks/recipes.py CELEBA OUT [OPTION ...]

    python benchmarks/recipes.py celeba8k OUT --epochs 16 --weights none --image-size 128x104

trains every recipe with every seed in OUT/RECIPE-SEED (a run that was broken off goes on), keeps the epoch that is best
in validation, sees the test faces once, and prints the table. --results stores each run as it ends, beside those that
it holds of the same settings: seeds may be run on different days and machines. Other options are fa-train's.
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

HERE = Path(__file__).parent
MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "average_precision": "average precision",
    "at accuracy": "accuracy at its thresholds",
    "at balanced": "balanced accuracy at its thresholds",
}


def command(name: str, *arguments: str | Path) -> None:
    line = [sys.executable, "-m", f"facetools.commands.{name}", *map(str, arguments)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def measured(celeba: str, folder: Path, recipe: str, seed: int, options: list[str]) -> dict[str, Any]:
    """One run: its measures on the test faces, minutes of training, best accuracy in validation; and what made it."""
    command("train", celeba, "-o", folder, "--resume", "--recipe", recipe, "--seed", str(seed), *options)
    measures: dict[str, float] = {}
    for aim, measure in (("0.5", None), ("accuracy", "accuracy"), ("balanced", "balanced_accuracy")):
        test = folder / f"test-{aim}.npy"
        judged = ("--model", folder / "best.pt", "--thresholds", aim)
        command("predict", celeba, "--partition", "test", "--labels", celeba, *judged, "-o", test)
        faces, _ = streams.read_table(str(test))
        assert faces.labels is not None and faces.scores is not None
        means = metrics.mean_metrics(faces.labels.values, faces.scores.select(faces.labels.names))
        measures |= {f"at {aim}": means[measure]} if measure else means
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    config = json.loads((folder / "config.json").read_text())
    measures["minutes"] = sum(config["images"] / record["images_per_second"] for record in history) / 60
    measures["valid_accuracy"] = max(record["valid_accuracy"] for record in history)
    return {"recipe": recipe, "seed": seed, **measures, "settings": config["recipe"], "machine": machine()}


def is_another_seed_of(run: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(run["settings"] == other["settings"] and run["seed"] != other["seed"])


def rows(runs: list[dict[str, Any]]) -> Iterator[str]:
    """The table: means over the seeds, and the least and the most."""
    yield f"| recipe | seeds | {' | '.join(MEASURES.values())} | training, minutes |"
    yield f"|---|--:|{'--:|' * (len(MEASURES) + 1)}"
    for recipe in dict.fromkeys(run["recipe"] for run in runs):
        own = [run for run in runs if run["recipe"] == recipe]
        cells = [told([100 * run[name] for run in own], 2) for name in MEASURES]
        yield f"| {recipe} | {len(own)} | {' | '.join(cells)} | {told([run['minutes'] for run in own], 1)} |"


def told(values: list[float], digits: int) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba")
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipes", default="paper,modern")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--results", type=Path, default=HERE / "results/recipes.json")
    asked, options = parser.parse_known_args()
    runs: list[dict[str, Any]] = json.loads(asked.results.read_text()) if asked.results.exists() else []
    for seed, recipe in itertools.product(map(int, asked.seeds.split(",")), asked.recipes.split(",")):
        run = measured(asked.celeba, asked.out / f"{recipe}-{seed}", recipe, seed, options)
        print(f"{recipe}, seed {seed}: {run}", file=sys.stderr)
        runs = [other for other in runs if other["recipe"] != recipe or is_another_seed_of(run, other)] + [run]
        asked.results.write_text(json.dumps(runs, indent=1) + "\n")
    print(*rows(runs), sep="\n")


if __name__ == "__main__":
    main()
