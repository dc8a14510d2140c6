"""How good the recipes of fa-train are on the same faces: python benchmarks/recipes.py CELEBA OUT [OPTION ...]

    python benchmarks/recipes.py celeba8k OUT --epochs 14 --weights none --image-size 96x80

trains every recipe with every seed in OUT/RECIPE-SEED (a run that was broken off goes on), keeps the epoch that is best
in validation, sees the test faces once, prints the table and stores it in --results. Other options are fa-train's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from machine import machine

from facetools import metrics, table

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


def measured(celeba: str, run: Path, recipe: str, seed: int, options: list[str]) -> dict[str, float]:
    """The measures of one run on the test faces, its minutes of training, and its best accuracy in validation."""
    command("train", celeba, "-o", run, "--resume", "--recipe", recipe, "--seed", str(seed), *options)
    found: dict[str, float] = {}
    for aim, measure in (("0.5", None), ("accuracy", "accuracy"), ("balanced", "balanced_accuracy")):
        test = run / f"test-{aim}.npy"
        judged = ("--model", run / "best.pt", "--thresholds", aim)
        command("predict", celeba, "--partition", "test", "--labels", celeba, *judged, "-o", test)
        faces, _ = table.read(str(test))
        assert faces.labels is not None and faces.scores is not None
        means = metrics.means(faces.labels.values, faces.scores.select(faces.labels.names))
        found |= {f"at {aim}": means[measure]} if measure else means
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    images = json.loads((run / "config.json").read_text())["images"]
    minutes = sum(images / record["images_per_second"] for record in history) / 60
    return found | {"minutes": minutes, "valid_accuracy": max(record["valid_accuracy"] for record in history)}


def rows(results: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    """The table: means over the seeds, and the least and the most."""
    yield f"| recipe | seeds | {' | '.join(MEASURES.values())} | training, minutes |"
    yield f"|---|--:|{'--:|' * (len(MEASURES) + 1)}"
    for recipe, runs in results.items():
        cells = [told([100 * run[name] for run in runs], 2) for name in MEASURES]
        yield f"| {recipe} | {len(runs)} | {' | '.join(cells)} | {told([run['minutes'] for run in runs], 1)} |"


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
    results: dict[str, list[dict[str, float]]] = {}
    for seed in map(int, asked.seeds.split(",")):
        for recipe in asked.recipes.split(","):
            run = asked.out / f"{recipe}-{seed}"
            results.setdefault(recipe, []).append(measured(asked.celeba, run, recipe, seed, options))
            print(f"{recipe}, seed {seed}: {results[recipe][-1]}", file=sys.stderr)
    print(*rows(results), sep="\n")
    content = {"machine": machine(), "options": options, "results": results}
    asked.results.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
