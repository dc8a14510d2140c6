"""fa-predict: read images, write a face table with scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.files import find_image_paths
from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.labels import match_labels
from facetools.commands.options import (
    INPUT,
    METHOD,
    OUTPUT,
    Format,
    Null,
    Output,
    Sources,
    Truncated,
    Wait,
    refuse_unused,
)
from facetools.commands.outputs import check_distinct, check_images_stay, check_output, choose_encoding, is_stream
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.runtime.processes import ProcessGroup
    from facetools.table.columns import Table
    from facetools.table.labels import ImageLabels
    from facetools.table.parts import TableParts
    from facetools.table.streams import Encoding

    #: Predicts the images at some paths, and yields the rows of the table in batches.
    PredictTables = Callable[[list[str]], Iterator[Table]]

#: At least this many parts per process balance the work; at most this many batches per part limit what a restart loses.
PARTS_PER_PROCESS, MAX_BATCHES_PER_PART = 4, 64


@command
def fa_predict(
    job: Job,
    sources: Sources,
    *,
    partition: Annotated[
        Literal["train", "valid", "test"] | None,
        typer.Option(
            "--partition", help="Use only this partition of a folder in CelebA's layout.", rich_help_panel=INPUT
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Attach true labels from a CelebA attribute list, a CelebA folder or a face table, and print the "
            "accuracy.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    null: Null = False,
    truncated: Truncated = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE",
            help="Checkpoint of fa-train. By default the starter model included in facetools.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    thresholds: Annotated[
        Literal["0.5", "accuracy", "balanced"],
        typer.Option(
            help="Shift the scores of each attribute so that 0.5 becomes the threshold with the best validation "
            "accuracy, or balanced accuracy. 0.5 leaves scores unchanged.",
            rich_help_panel=METHOD,
        ),
    ] = "0.5",
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, help="Images per batch.", rich_help_panel=METHOD)
    ] = 64,
    output: Output = "-",
    format: Format = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Write the table in parts to FILE.parts, and continue there after an interruption.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts", help="Leave the table in FILE.parts/*.npy; do not join the parts.", rich_help_panel=OUTPUT
        ),
    ] = False,
    wait: Wait = 300,
) -> None:
    """Predict the facial attributes of images.

    Writes a face table with one row per image, in the order of the images: its path and a score from 0 to 1 per
    attribute. A folder in CelebA's layout stands for its images.

    Several processes, started by torchrun or srun, divide the images among themselves and write one table.
    \f
    Examples:
      fa-predict faces/ > scores.jsonl
      fa-predict faces/ --model run/best.pt > scores.jsonl
      fa-predict faces.zip --model run/best.pt | fa-cluster -k 16 --attributes paper10 > clusters.jsonl
      fa-predict celeba/ --partition test --labels celeba/ --model run/best.pt -o test.npy
      find . -name '*.jpg' -print0 | fa-predict -0 - --model run/best.pt --format npy > scores.npy
      srun --ntasks 8 fa-predict faces.txt --model run/best.pt -o scores.npy --resume
    """
    import numpy as np

    from facetools.network.checkpoint import STARTER_MODEL
    from facetools.network.thresholds import recenter_scores
    from facetools.prediction.predictor import choose_precision, load_predictor, predict_images
    from facetools.runtime.processes import join_processes, process_info
    from facetools.table import columns, streams
    from facetools.table.labels import GroundTruth
    from facetools.table.parts import TableParts

    check_output(output, table=format is None)
    if parts and format == "jsonl":
        refuse_unused(job.given, ["format"], "with --parts: the parts are NPY")
    check_distinct({"--output": output}, [*sources, labels, model])
    encoding = choose_encoding(format, output)
    process = process_info()
    in_parts = process.world > 1 or resume or parts
    if in_parts and is_stream(output):
        cause = (
            f"{process.variables} say that this is one of {process.world} processes that write one table in parts; "
            "unset them to run alone. The"
            if process.world > 1
            else "the"
        )
        raise typer.BadParameter(
            f"{cause} parts of a table lie beside its file, so it cannot be stdout or a pipe; name a file",
            param_hint="--output",
        )
    job.process = process
    with join_processes(process, wait=wait, announce=job.announce) as group:
        if model is None:
            job.say(
                "the starter model predicts, because there is no --model; facetools/network/starter/README.md gives "
                "its accuracy"
            )
        checkpoint = STARTER_MODEL if model is None else Path(model)
        checkpoint.stat()  # fail before listing the images, which may take long
        paths = find_image_paths(job, sources, null=null, partition=partition)
        check_images_stay([("--output", output)], paths)
        predictor = load_predictor(checkpoint, job.device, images=len(paths), local_rank=process.local_rank)
        attributes = predictor.config.attributes
        truth: ImageLabels | None = None
        if labels:
            paths, truth = match_labels(job, GroundTruth.read(labels, attributes), paths)
        unlabeled = job.failures
        choose_precision(predictor, paths, jobs=job.jobs)
        cutoffs = None if thresholds == "0.5" else _thresholds(predictor.entries, thresholds, checkpoint)
        evaluation = _Evaluation()

        def make_table(names: list[str], scores: np.ndarray) -> Table:
            labels_of_names = None if truth is None else truth.labels_for(names)
            return columns.Table(
                columns.encode_paths(names), columns.AttributeColumns(attributes, scores), labels_of_names
            )

        def predict_tables(chunk: list[str]) -> Iterator[Table]:
            for names, scores in predict_images(
                predictor,
                chunk,
                batch,
                jobs=job.jobs,
                on_failure=job.report_failure,
                on_truncated=job.accept_truncated if truncated else None,
            ):
                if not np.isfinite(scores).all():
                    raise CommandError(f"{checkpoint}: the network computes scores that are not numbers")
                yield make_table(names, scores if cutoffs is None else recenter_scores(scores, cutoffs))

        if not in_parts:
            with streams.open_writer(output, encoding) as writer, job.progress("images", len(paths)) as advance:
                for block in predict_tables(paths):
                    writer.write(block)
                    evaluation.add(block)
                    advance(len(block))
                if not evaluation.rows:
                    raise CommandError(f"none of the {len(paths)} images could be read")
        else:
            folder = Path(output + ".parts")
            if process.is_first:
                batches = math.ceil(len(paths) / (PARTS_PER_PROCESS * process.world * batch))
                part_size = batch * max(1, min(MAX_BATCHES_PER_PART, batches))
                digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
                settings = {"model": digest, "batch": batch, "thresholds": thresholds, "truncated": truncated}
                if truth is not None:
                    settings["labels"] = hashlib.sha256(truth.labels_for(paths).values.tobytes()).hexdigest()
                existing = TableParts.create(folder, paths, part_size, settings, resume=resume)
                for path in existing.find_left_out():
                    job.report_failure(path, "was left out by an earlier run")
            group.wait_for_first("parts created")
            table_parts = TableParts.open(folder, paths)
            no_rows = make_table([], np.zeros((0, len(attributes)), np.float32))
            _predict_parts(job, group, table_parts, predict_tables, no_rows)
            group.arrive("parts complete")
            if process.is_first:
                _join_parts(table_parts, None if parts else output, encoding, evaluation)
                job.failures = unlabeled + len(paths) - evaluation.rows
    evaluation.report(job)


def _predict_parts(
    job: Job, group: ProcessGroup, parts: TableParts, predict_tables: PredictTables, no_rows: Table
) -> None:
    """Predict those parts of this process's share that do not exist yet. A part without readable images is `no_rows`,
    an NPY file like the others."""
    from facetools.table import streams

    missing = parts.find_missing(group.share(len(parts)))
    with job.progress("images", sum(len(parts.part_inputs(number)) for number in missing)) as advance:
        for number in missing:
            with streams.open_writer(str(parts.part_path(number)), "npy") as writer:
                writer.write(no_rows)
                for block in predict_tables(parts.part_inputs(number)):
                    group.check_peers()
                    writer.write(block)
                    advance(len(block))


def _join_parts(parts: TableParts, output: str | None, encoding: Encoding, evaluation: _Evaluation) -> None:
    """Write the rows of all parts to `output` and delete the parts. If `output` is None, only evaluate the rows."""
    from facetools.table import streams

    if output is None:
        for block in parts.read_blocks():
            evaluation.add(block)
        if not evaluation.rows:
            raise CommandError(f"none of the images could be read; remove {parts.folder} to try again")
        return
    with streams.open_writer(output, encoding) as writer:
        for block in parts.read_blocks():
            writer.write(block)
            evaluation.add(block)
        if not evaluation.rows:
            raise CommandError(f"none of the images could be read; remove {parts.folder} to try again")
    parts.delete()


def _thresholds(entries: dict[str, Any], criterion: str, checkpoint: Path) -> np.ndarray:
    """Return the threshold of each attribute that was best in validation by `criterion`."""
    import numpy as np

    if criterion not in entries.get("thresholds", {}):
        raise CommandError(
            f"{checkpoint} has no thresholds for {criterion}; best.pt of a run with validation images has them"
        )
    return np.array(entries["thresholds"][criterion])


@dataclass
class _Evaluation:
    """Counts the rows of the table, and compares their scores with their labels."""

    rows: int = 0
    _names: tuple[str, ...] = ()
    _labels_and_scores: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def add(self, block: Table) -> None:
        self.rows += len(block)
        if block.labels is not None and block.scores is not None:
            self._names = block.labels.names
            self._labels_and_scores.append((block.labels.values, block.scores.select(self._names)))

    def report(self, job: Job) -> None:
        """Print the mean metrics, if there are labels, and set the summary of the job."""
        if self._labels_and_scores:
            import numpy as np

            from facetools.prediction import metrics

            labels, scores = zip(*self._labels_and_scores, strict=True)
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
