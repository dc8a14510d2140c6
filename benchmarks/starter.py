"""Train the starter model and measure the figures of its model card.

    python benchmarks/starter.py CELEBA [OUT] [OPTION ...]

With OUT it trains five networks in that folder, continuing runs that were interrupted; further options go to fa-train.
The last network is distilled from the other four. It is stored in half precision, with its thresholds and settings, in
facetools/network/starter/starter.pt. Then, or at once without OUT, it measures the stored model on the test partition
of CELEBA: per attribute, per subgroup, and on the same faces cropped, scaled and in grayscale. It writes the tables
below "Figures" in the model card, facetools/network/starter/README.md.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from facetools.images import decoding, reading, sources
from facetools.network.checkpoint import STARTER_MODEL
from facetools.network.model import load_checkpoint, save_checkpoint
from facetools.network.thresholds import THRESHOLD_CRITERIA, recenter_scores
from facetools.prediction.backend import Predictor
from facetools.prediction.metrics import MEASURES, mean_metrics, metrics_by_attribute
from facetools.prediction.predictor import load_predictor
from facetools.synthetic import write_celeba
from facetools.table.celeba import CelebALayout
from facetools.table.labels import GroundTruth

CARD = STARTER_MODEL.parent / "README.md"
SUBGROUPS = ("Male", "Young")
SYNTHETIC_FACES = 300

#: Options of all runs: the recipe `modern` as it was when starter.pt was trained.
COMMON_OPTIONS = "--recipe modern --final-rate 0 --weights none --first-stride 1"

#: Stronger rotation, shift and zoom than the recipe's, against overfitting.
WIDER = "--rotation 15 --shift 0.08 --zoom 0.15"

#: Options and teachers of each run. The student, which becomes the starter model, is distilled from four different
#: teachers and sees a few grayscale faces, because users have such images.
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mixed": (f"--epochs 36 --image-size 160x128 {WIDER} --mixup 0.2", ()),
    "wider": (f"--epochs 24 --image-size 160x128 {WIDER}", ()),
    "decayed": ("--epochs 16 --image-size 160x128 --weight-decay 0.1", ()),
    "larger": ("--epochs 16 --image-size 192x160", ()),
    "student": (
        f"--epochs 24 --image-size 160x128 {WIDER} --grayscale 0.05 --distillation 0.8",
        ("mixed", "larger", "wider", "decayed"),
    ),
}


def train_runs(celeba: Path, out: Path, options: list[str]) -> Path:
    """Train all RUNS in the folder `out`, score the training faces with each teacher, and return the last run."""

    def run(command: str, *arguments: str | Path) -> None:
        line = [sys.executable, "-m", f"facetools.commands.{command}", str(celeba), *map(str, arguments)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)

    for name, (run_options, teachers) in RUNS.items():
        teacher_options = [word for teacher in teachers for word in ("--teacher", out / f"{teacher}.npy")]
        arguments = (*COMMON_OPTIONS.split(), *run_options.split(), *teacher_options, *options)
        run("train", "-o", out / name, "--resume", *arguments)
        if any(name in others for _, others in RUNS.values()):
            run("predict", "--partition", "train", "--model", out / name / "best.pt", "-o", out / f"{name}.npy")
    return out / name


def store_starter(run: Path) -> None:
    """Write the best network of `run` as the starter model. Its provenance names files without their folders."""
    model, entries = load_checkpoint(run / "best.pt")
    made_by = dict(entries["made_by"])
    made_by["command"] = shlex.join(
        Path(word).name if "/" in word else word for word in shlex.split(made_by["command"])
    )
    made_by["inputs"] = [source | {"path": Path(source["path"]).name} for source in made_by["inputs"]]
    needed = {name: entries[name] for name in ("settings", "thresholds")}
    save_checkpoint(STARTER_MODEL, model, half=True, made_by=made_by, **needed)


def score_pictures(model: Predictor, pictures: list[Image.Image]) -> np.ndarray:
    """The scores of `pictures`, resized as image files are."""
    height, width = model.config.image_size
    images = np.stack([np.asarray(p.resize((width, height), Image.Resampling.BILINEAR)) for p in pictures])
    return np.concatenate([model.scores(part) for part in np.array_split(images, max(1, len(images) // 64))])


def make_variants(picture: Image.Image) -> dict[str, Image.Image]:
    """A face of 89 x 109 pixels as other cameras, tools and users would crop it."""
    width, height = picture.size
    square = picture.crop((0, (height - width) // 2, width, (height - width) // 2 + width))
    tight = picture.crop((width * 3 // 20, height * 3 // 20, width * 17 // 20, height * 17 // 20))
    return {
        "original, 89 x 109": picture,
        "scaled to 178 x 218": picture.resize((178, 218), Image.Resampling.BICUBIC),
        "center square, scaled to 300 x 300": square.resize((300, 300), Image.Resampling.BICUBIC),
        "tight crop, central 70 % of each side": tight,
        "grayscale": picture.convert("L").convert("RGB"),
    }


def format_row(name: str, *shares: float) -> str:
    return f"| {name} | " + " | ".join(f"{100 * share:.1f}" for share in shares) + " |"


def mean_values(labels: np.ndarray, scores: np.ndarray) -> list[float]:
    metrics = mean_metrics(labels, scores)
    return [metrics[name] for name in MEASURES]


def read_pictures(paths: list[str]) -> list[Image.Image]:
    with reading.ImageReader() as reader:
        return [Image.fromarray(decoding.decode_image(reader.read(path))) for path in paths]


def measure_figures(folder: Path) -> Iterator[str]:
    """The lines below "Figures" in the model card."""
    model = load_predictor(STARTER_MODEL, "cpu")
    names = model.config.attributes
    layout = CelebALayout.find(folder)
    assert layout is not None
    paths = layout.select_partition(list(sources.find_images([str(layout.images)])), "test")
    labels = GroundTruth.read(str(folder), names).labels_for(paths).values
    variants = [make_variants(picture) for picture in read_pictures(paths)]
    scores_by_variant = {
        variant: score_pictures(model, [pictures[variant] for pictures in variants]) for variant in variants[0]
    }
    scores = next(iter(scores_by_variant.values()))
    recentered = {
        criterion: recenter_scores(scores, np.array(model.entries["thresholds"][criterion]))
        for criterion in THRESHOLD_CRITERIA
    }

    by_attribute = metrics_by_attribute(labels, scores)
    balanced = metrics_by_attribute(labels, recentered["balanced"])
    yield f"Measured with this file on {len(paths)} test faces of people who are not in the training data; one training"
    yield f"run, one seed. Values are percentages. The first three tables show means over {len(names)} attributes;"
    yield "subgroups leave out the attribute that defines them. The majority-class baseline has an accuracy of"
    yield f"{100 * by_attribute['majority'].mean():.1f} %.\n"
    columns = "accuracy | balanced accuracy | F1 | average precision |"
    yield f"| thresholds | {columns}\n|---|--:|--:|--:|--:|"
    yield format_row("0.5", *mean_values(labels, scores))
    for criterion, moved_scores in recentered.items():
        yield format_row(f"`--thresholds {criterion}`", *mean_values(labels, moved_scores))
    yield f"\n| faces | {columns}\n|---|--:|--:|--:|--:|"
    for variant, variant_scores in scores_by_variant.items():
        yield format_row(variant, *mean_values(labels, variant_scores))
    yield format_row(
        f"{SYNTHETIC_FACES} synthetic faces (`facetools.synthetic`), unlike the training data",
        *mean_values(*score_synthetic_faces(model)),
    )
    yield f"\n| subgroup | number of faces | {columns}\n|---|--:|--:|--:|--:|--:|"
    for name in SUBGROUPS:
        for value, title in ((1, name), (0, f"not {name}")):
            members = labels[:, names.index(name)] == value
            # Without the attribute that defines the subgroup: it has only one class there.
            others = [a for a in range(len(names)) if names[a] != name]
            yield format_row(
                f"{title} | {members.sum()}", *mean_values(labels[members][:, others], scores[members][:, others])
            )
    columns = (
        "present | majority-class baseline | accuracy | balanced accuracy | balanced accuracy at balanced thresholds | "
        "F1 | average precision |"
    )
    yield f"\n| attribute | {columns}\n|---|--:|--:|--:|--:|--:|--:|--:|"
    for a, name in enumerate(names):
        yield format_row(
            name,
            labels[:, a].mean(),
            *(by_attribute[key][a] for key in ("majority", "accuracy", "balanced_accuracy")),
            balanced["balanced_accuracy"][a],
            *(by_attribute[key][a] for key in ("f1", "average_precision")),
        )


def score_synthetic_faces(model: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of SYNTHETIC_FACES synthetic faces."""
    with tempfile.TemporaryDirectory() as scratch:
        write_celeba(Path(scratch), SYNTHETIC_FACES, seed=0)
        layout = CelebALayout.find(Path(scratch))
        assert layout is not None
        paths = list(sources.find_images([str(layout.images)]))
        labels = GroundTruth.read(scratch, model.config.attributes).labels_for(paths).values
        return labels, score_pictures(model, read_pictures(paths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    arguments, train_options = parser.parse_known_args()
    if arguments.out is not None:
        store_starter(train_runs(arguments.celeba, arguments.out, train_options))
    text, _, _ = CARD.read_text().partition("## Figures\n")
    CARD.write_text(text + "## Figures\n\n" + "\n".join(measure_figures(arguments.celeba)) + "\n")


if __name__ == "__main__":
    main()
