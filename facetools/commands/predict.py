"""fa-predict: images in, a face table with scores out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.files import check_output, choose_encoding, image_paths
from facetools.commands.job import Failure, Job, pluralize
from facetools.commands.options import Format, Null, Output, Sources
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.runtime.processes import ProcessGroup
    from facetools.table.columns import Table
    from facetools.table.parts import TableParts
    from facetools.table.streams import Encoding

    #: The table of some images, batch after batch.
    Tables = Callable[[list[str]], Iterator[Table]]


@command
def fa_predict(
    job: Job,
    sources: Sources,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE",
            help="A checkpoint of fa-train; by default the starter model that comes along.",
        ),
    ] = None,
    output: Output = "-",
    format: Format = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Attach the truth from a CelebA attribute list, a CelebA folder or a face table, and print accuracy.",
        ),
    ] = None,
    partition: Annotated[
        Literal["train", "valid", "test"] | None,
        typer.Option("--partition", help="Take this part of a CelebA folder only."),
    ] = None,
    thresholds: Annotated[
        Literal["0.5", "accuracy", "balanced"],
        typer.Option(
            help="Move the scores so that 0.5 decides as did best in validation, by accuracy or balanced accuracy."
        ),
    ] = "0.5",
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Images computed at a time.")] = 64,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is done in FILE.parts, and continue from there.")
    ] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="Leave the table in parts, FILE.parts/*.npy, instead of joining them.")
    ] = False,
    null: Null = False,
) -> None:
    """Predict the facial attributes of images.

    Writes a face table with a score from 0 to 1 for each attribute of each image, in the order of the images. A
    folder in CelebA's layout stands for its images. Processes started together by torchrun or srun share the images
    and write one table.
    \f
    Examples:
      fa-predict faces/ > scores.jsonl
      fa-predict faces/ --model run/best.pt > scores.jsonl
      fa-predict faces.zip --model run/best.pt | fa-cluster -k 16 --attributes paper10 > clusters.jsonl
      fa-predict celeba/ --partition test --labels celeba/ --model run/best.pt -o test.npy
      find . -name '*.jpg' -print0 | fa-predict -0 - --model run/best.pt --format npy > scores.npy
      srun --ntasks 8 fa-predict faces.txt --model run/best.pt -o scores.npy --resume
    """
    from facetools.network.checkpoint import STARTER_MODEL
    from facetools.network.thresholds import recenter_scores
    from facetools.prediction.predictor import choose_precision, load_predictor, predict_images
    from facetools.runtime.processes import join_processes, process_info
    from facetools.table import columns, streams
    from facetools.table.labels import GroundTruth
    from facetools.table.parts import TableParts

    check_output(output, format)
    here = process_info()
    in_parts = here.world > 1 or resume or parts
    if in_parts and output == "-":
        raise typer.BadParameter("parts of a table lie beside its file: name one", param_hint="--output")
    job.process = here
    with join_processes(here) as group:
        if model is None:
            job.say(
                "the starter model predicts, for want of --model; facetools/network/starter/README.md says how well"
            )
        chosen = STARTER_MODEL if model is None else Path(model)
        chosen.stat()  # rather than to fail after a long list of images
        paths = image_paths(sources, null=null, partition=partition)
        network = load_predictor(chosen, job.device, images=len(paths), local_rank=here.local_rank)
        config = network.config
        truth = GroundTruth.read(labels, config.attributes) if labels else None
        if truth is not None:
            paths = truth.known(paths, job.report_failure if here.is_first else lambda path, reason: None)
        unknown = job.failures
        choose_precision(network, paths, jobs=job.jobs)
        moved = None if thresholds == "0.5" else _thresholds(network.parts, thresholds, chosen)
        judge = _Judge()

        def tables(some: list[str]) -> Iterator[Table]:
            for names, scores in predict_images(network, some, batch, jobs=job.jobs, on_failure=job.report_failure):
                values = columns.AttributeColumns(
                    config.attributes, scores if moved is None else recenter_scores(scores, moved)
                )
                yield columns.Table(columns.encode_paths(names), values, None if truth is None else truth.of(names))

        encoding = choose_encoding(format, output)
        if not in_parts:
            with streams.open_writer(output, encoding) as writer, job.progress("images", len(paths)) as advance:
                for block in tables(paths):
                    writer.write(block)
                    judge.see(block)
                    advance(len(block))
                if not judge.rows:
                    raise Failure(f"none of the {len(paths)} images could be read")
        else:
            folder = Path(output + ".parts")
            if here.is_first:
                # At least four parts a process, so that none waits long for another.
                size = batch * max(1, min(64, math.ceil(len(paths) / (4 * here.world * batch))))
                digest = hashlib.sha256(chosen.read_bytes()).hexdigest()
                about = {"model": digest, "batch": batch, "thresholds": thresholds, "labels": labels}
                TableParts.begin(folder, paths, size, about, resume=resume)
            group.follow("begun")
            made = TableParts.found(folder, paths)
            _make(job, group, made, tables)
            group.arrive("made")
            if here.is_first:
                _join(made, None if parts else output, encoding, judge)
                job.failures = unknown + len(paths) - judge.rows
    judge.tell(job)


def _make(job: Job, group: ProcessGroup, parts: TableParts, tables: Tables) -> None:
    """Makes the missing ones of this process's parts."""
    from facetools.table import streams

    missing = parts.missing(group.share(len(parts)))
    with job.progress("images", sum(len(parts.inputs(number)) for number in missing)) as advance:
        for number in missing:
            with streams.open_writer(str(parts.path(number)), "npy") as writer:
                for block in tables(parts.inputs(number)):
                    group.check_peers()
                    writer.write(block)
                    advance(len(block))


def _join(parts: TableParts, output: str | None, encoding: Encoding, judge: _Judge) -> None:
    """Writes the table of all parts to `output`, and then deletes them; or leaves them, where that is None."""
    from facetools.table import streams

    if output is None:
        for block in parts.blocks():
            judge.see(block)
        return
    with streams.open_writer(output, encoding) as writer:
        for block in parts.blocks():
            writer.write(block)
            judge.see(block)
        if not judge.rows:
            raise Failure("none of the images could be read")
    parts.remove()


def _thresholds(kept: dict[str, Any], aim: str, model: Path) -> np.ndarray:
    import numpy as np

    if aim not in kept.get("thresholds", {}):
        raise Failure(f"{model} has no thresholds for {aim}; best.pt of a run with images to validate on has them")
    return np.array(kept["thresholds"][aim])


@dataclass
class _Judge:
    """Sees the rows that are written, and tells how many they are and how right."""

    rows: int = 0
    _names: tuple[str, ...] = ()
    _seen: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def see(self, block: Table) -> None:
        self.rows += len(block)
        if block.labels is not None and block.scores is not None:
            self._names = block.labels.names
            self._seen.append((block.labels.values, block.scores.select(self._names)))

    def tell(self, job: Job) -> None:
        if self._seen:
            import numpy as np

            from facetools.prediction import metrics

            labels, scores = zip(*self._seen, strict=True)
            mean = metrics.mean_metrics(np.concatenate(labels), np.concatenate(scores))
            job.say(
                f"{len(self._names)} attributes: mean accuracy {mean['accuracy']:.2%}, balanced accuracy "
                f"{mean['balanced_accuracy']:.2%}, F1 {mean['f1']:.2%}, average precision "
                f"{mean['average_precision']:.2%}, average Hamming distance {mean['hamming']:.3f}"
            )
        job.done(pluralize(self.rows, "face"))


main = fa_predict

if __name__ == "__main__":
    main()
