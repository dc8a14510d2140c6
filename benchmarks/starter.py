"""The starter model and the figures of its card: python benchmarks/starter.py CELEBA OUT [OPTION ...]

    python benchmarks/starter.py celeba8k OUT

trains networks in OUT, of which the later ones learn what earlier ones say of the training faces (what was broken off
goes on; other options are fa-train's), and writes facetools/network/starter/starter.pt: the last of them in half
precision, without what training alone needs. Below "Figures" in the card beside it, it writes the accuracy of that file
on the test partition of CELEBA: by attribute, by subgroup, and on the same faces cropped, scaled and greyed. Without
OUT it does that alone.
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
from facetools.prediction import metrics
from facetools.prediction.backend import Predictor
from facetools.prediction.predictor import load_predictor
from facetools.synthetic import write_celeba
from facetools.table.celeba import CelebALayout
from facetools.table.labels import GroundTruth

CARD = STARTER_MODEL.parent / "README.md"
SUBGROUPS = ("Male", "Young")
MEASURES = ("accuracy", "balanced_accuracy", "f1", "average_precision")
DRAWN = 300

#: What all runs have in common: the recipe modern as it was when starter.pt was made.
BASIS = "--recipe modern --final-rate 0 --weights none --first-stride 1"

#: How far faces are turned, shifted and zoomed, so that a network does not learn so few of them by heart.
WIDER = "--rotation 15 --shift 0.08 --zoom 0.15"

#: Runs of fa-train, and those whose scores of the training faces they learn: four that differ in what they get wrong,
#: and the starter model, which learns what they say together, and is shown a few grey faces, as users have them.
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


def trained(celeba: Path, out: Path, options: list[str]) -> Path:
    """The last of the runs, after those that teach it."""

    def run(command: str, *arguments: str | Path) -> None:
        line = [sys.executable, "-m", f"facetools.commands.{command}", str(celeba), *map(str, arguments)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)

    for name, (settings, teachers) in RUNS.items():
        said = [word for teacher in teachers for word in ("--teacher", out / f"{teacher}.npy")]
        given = (*BASIS.split(), *settings.split(), *said, *options)
        run("train", "-o", out / name, "--resume", *given)
        if any(name in others for _, others in RUNS.values()):
            run("predict", "--partition", "train", "--model", out / name / "best.pt", "-o", out / f"{name}.npy")
    return out / name


def store(run: Path) -> None:
    """Writes the starter model; of what made it, without the places of its files."""
    model, content = load_checkpoint(run / "best.pt")
    made_by = dict(content["made_by"])
    made_by["command"] = shlex.join(
        Path(word).name if "/" in word else word for word in shlex.split(made_by["command"])
    )
    made_by["inputs"] = [source | {"path": Path(source["path"]).name} for source in made_by["inputs"]]
    kept = {name: content[name] for name in ("settings", "thresholds")}
    save_checkpoint(STARTER_MODEL, model, half=True, made_by=made_by, **kept)


def scored(model: Predictor, pictures: list[Image.Image]) -> np.ndarray:
    """The scores of pictures, which are stretched as those of files are."""
    height, width = model.config.image_size
    rows = np.stack([np.asarray(p.resize((width, height), Image.Resampling.BILINEAR)) for p in pictures])
    return np.concatenate([model.scores(part) for part in np.array_split(rows, max(1, len(rows) // 64))])


def seen_as(picture: Image.Image) -> dict[str, Image.Image]:
    """A face of 89 x 109 as other cameras, tools and users would crop it."""
    width, height = picture.size
    square = picture.crop((0, (height - width) // 2, width, (height - width) // 2 + width))
    tight = picture.crop((width * 3 // 20, height * 3 // 20, width * 17 // 20, height * 17 // 20))
    return {
        "as they are, 89 x 109": picture,
        "scaled to 178 x 218": picture.resize((178, 218), Image.Resampling.BICUBIC),
        "the middle square, scaled to 300 x 300": square.resize((300, 300), Image.Resampling.BICUBIC),
        "a tight crop, the middle 70 % of each side": tight,
        "in grey": picture.convert("L").convert("RGB"),
    }


def row(name: str, *cells: float) -> str:
    return f"| {name} | " + " | ".join(f"{100 * cell:.1f}" for cell in cells) + " |"


def means(labels: np.ndarray, scores: np.ndarray) -> list[float]:
    found = metrics.mean_metrics(labels, scores)
    return [found[name] for name in MEASURES]


def figures(folder: Path) -> Iterator[str]:
    """The lines below "Figures"."""
    model = load_predictor(STARTER_MODEL, "cpu")
    names = model.config.attributes
    layout = CelebALayout.find(folder)
    assert layout is not None
    paths = layout.in_partition(list(sources.find_images([str(layout.images)])), "test")
    labels = GroundTruth.read(str(folder), names).of(paths).values
    with reading.ImageReader() as reader:
        pictures = [Image.fromarray(decoding.decode_image(reader.read(path))) for path in paths]
    views = [seen_as(picture) for picture in pictures]
    scores = {view: scored(model, [picture[view] for picture in views]) for view in views[0]}
    plain = next(iter(scores.values()))

    majority = metrics.metrics_by_attribute(labels, plain)["majority"].mean()
    yield f"Of the file as it is here, on {len(paths)} test faces of persons that it has not seen, in percent, means"
    yield f"over {len(names)} attributes, of one training with one seed. The more frequent answer alone has an accuracy"
    yield f"of {100 * majority:.1f} %.\n"
    heads = "accuracy | balanced accuracy | F1 | average precision |"
    yield f"| thresholds | {heads}\n|---|--:|--:|--:|--:|"
    yield row("0.5", *means(labels, plain))
    for aim in THRESHOLD_CRITERIA:
        yield row(
            f"`--thresholds {aim}`", *means(labels, recenter_scores(plain, np.array(model.parts["thresholds"][aim])))
        )
    yield f"\n| faces | {heads}\n|---|--:|--:|--:|--:|"
    for view, found in scores.items():
        yield row(view, *means(labels, found))
    yield row(f"{DRAWN} drawn faces (`facetools.synthetic`), of a kind it never saw", *means(*drawn(model)))
    yield f"\n| subgroup | faces | {heads}\n|---|--:|--:|--:|--:|--:|"
    for name in SUBGROUPS:
        for present, called in ((1, name), (0, f"not {name}")):
            some = labels[:, names.index(name)] == present
            # What tells the subgroup itself is left out: within it, it has one class alone.
            others = [a for a in range(len(names)) if names[a] != name]
            yield row(f"{called} | {some.sum()}", *means(labels[some][:, others], plain[some][:, others]))
    by_attribute = metrics.metrics_by_attribute(labels, plain)
    balanced = metrics.metrics_by_attribute(
        labels, recenter_scores(plain, np.array(model.parts["thresholds"]["balanced"]))
    )
    heads = "present | majority | accuracy | balanced accuracy | at balanced thresholds | F1 | average precision"
    yield f"\n| attribute | {heads} |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    for a, name in enumerate(names):
        told = [by_attribute[m][a] for m in ("majority", "accuracy", "balanced_accuracy")]
        rest = [by_attribute[m][a] for m in ("f1", "average_precision")]
        yield row(name, labels[:, a].mean(), *told, balanced["balanced_accuracy"][a], *rest)


def drawn(model: Predictor) -> tuple[np.ndarray, np.ndarray]:
    """The truth and the scores of drawn faces."""
    with tempfile.TemporaryDirectory() as scratch:
        write_celeba(Path(scratch), DRAWN, seed=0)
        layout = CelebALayout.find(Path(scratch))
        assert layout is not None
        paths = list(sources.find_images([str(layout.images)]))
        with reading.ImageReader() as reader:
            pictures = [Image.fromarray(decoding.decode_image(reader.read(path))) for path in paths]
        labels = GroundTruth.read(scratch, model.config.attributes).of(paths).values
        return labels, scored(model, pictures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("celeba", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    asked, options = parser.parse_known_args()
    if asked.out is not None:
        store(trained(asked.celeba, asked.out, options))
    head, _, _ = CARD.read_text().partition("## Figures\n")
    CARD.write_text(head + "## Figures\n\n" + "\n".join(figures(asked.celeba)) + "\n")


if __name__ == "__main__":
    main()
