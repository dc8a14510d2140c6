"""fa-predict: read images, write a face table with scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.files import find_images
from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.labels import match_labels
from facetools.commands.options import (
    INPUT,
    METHOD,
    OUTPUT,
    Format,
    Null,
    Output,
    Resume,
    Sources,
    Truncated,
    Wait,
    refuse_unused,
)
from facetools.commands.outputs import check_distinct, check_images_stay, check_output, choose_encoding
from facetools.commands.parts import check_parts, compute_parts, join_parts, open_parts
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.table.columns import Table
    from facetools.table.labels import ImageLabels
    from facetools.table.streams import Encoding

#: Images in which a face is searched, to tell photographs from face crops.
SAMPLE_IMAGES = 32


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
    resume: Resume = False,
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

    check_output(output, table=format is None)
    if parts and format == "jsonl":
        refuse_unused(job.given, ["format"], "with --parts: the parts are NPY")
    check_distinct({"--output": output}, [*sources, labels, model])
    process = process_info()
    in_parts = process.world > 1 or resume or parts
    if in_parts:
        check_parts(process, output, "--output")
    job.process = process
    with join_processes(process, wait=wait, announce=job.announce) as group:
        if model is None:
            job.say(
                "the starter model predicts, because there is no --model; facetools/network/starter/README.md gives "
                "its accuracy"
            )
        checkpoint = STARTER_MODEL if model is None else Path(model)
        checkpoint.stat()  # fail before listing the images, which may take long
        images = find_images(job, sources, null=null, partition=partition)
        encoding = choose_encoding(format, output, images.encoding)
        check_images_stay([("--output", output)], images.paths)
        predictor = load_predictor(checkpoint, job.device, images=len(images.paths), local_rank=process.local_rank)
        attributes = predictor.config.attributes
        truth: ImageLabels | None = None
        if labels:
            _, truth = match_labels(job, GroundTruth.read(labels, attributes), images.paths)
            images = images.take([number for number, path in enumerate(images.paths) if path in truth])
        paths, unlabeled = images.paths, job.failures
        if process.is_first and not job.quiet and not images.has_key(0, "transform"):
            _suggest_alignment(job, paths)
        choose_precision(predictor, paths, jobs=job.jobs)
        cutoffs = None if thresholds == "0.5" else _thresholds(predictor.entries, thresholds, checkpoint)
        evaluation = _Evaluation()

        def make_table(names: list[str], scores: np.ndarray) -> Table:
            labels_of_names = None if truth is None else truth.labels_for(names)
            return columns.Table(
                columns.encode_paths(names), columns.AttributeColumns(attributes, scores), labels_of_names
            )

        def predict_rows(positions: range, advance: Callable[[int], None]) -> Iterator[Table]:
            position = positions.start
            for names, scores in predict_images(
                predictor,
                paths[positions.start : positions.stop],
                batch,
                jobs=job.jobs,
                on_failure=job.report_failure,
                on_truncated=job.accept_truncated if truncated else None,
            ):
                if not np.isfinite(scores).all():
                    raise CommandError(f"{checkpoint}: the network computes scores that are not numbers")
                table = make_table(names, scores if cutoffs is None else recenter_scores(scores, cutoffs))
                numbers = images.find_in_order(names, position)
                yield images.add_columns(table, numbers)
                position = numbers[-1] + 1 if numbers else position
                advance(len(names))

        if not in_parts:
            with streams.open_writer(output, encoding) as writer, job.progress("images", len(paths)) as advance:
                for block in predict_rows(range(len(paths)), advance):
                    writer.write(block)
                    evaluation.add(block)
                if not evaluation.rows:
                    raise CommandError(f"none of the {len(paths)} images could be read")
        else:
            digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
            settings = {"model": digest, "batch": batch, "thresholds": thresholds, "truncated": truncated}
            if truth is not None:
                settings["labels"] = hashlib.sha256(truth.labels_for(paths).values.tobytes()).hexdigest()
            if images.table is not None:
                settings["rows"] = images.digest()
            part_encoding: Encoding = "npy" if images.table is None or images.table.extras is None else "jsonl"
            table_parts = open_parts(job, group, output, paths, batch, settings, resume=resume, encoding=part_encoding)
            no_rows = make_table([], np.zeros((0, len(attributes)), np.float32))
            compute_parts(job, group, table_parts, predict_rows, no_rows, "images")
            if process.is_first:
                join_parts(table_parts, None if parts else output, encoding, evaluation.add)
                job.failures = unlabeled + len(paths) - evaluation.rows
    evaluation.report(job)


def _suggest_alignment(job: Job, paths: list[str]) -> None:
    """Print a line if most images of a sample are photographs rather than face crops."""
    from facetools.runtime import extras

    if len(paths) < SAMPLE_IMAGES or not (extras.is_installed("mtcnn") and extras.is_installed("lz4")):
        return
    from facetools.images import batches, reading
    from facetools.photos.detection import load_detector
    from facetools.photos.placement import has_centered_face

    detector = load_detector("mtcnn", "cpu")
    sample = [paths[len(paths) * number // SAMPLE_IMAGES] for number in range(SAMPLE_IMAGES)]
    centered = others = 0
    for _, pixels in batches.decode_images(sample, None, jobs=job.jobs, on_truncated=lambda path: None):
        if not isinstance(pixels, reading.ImageError):
            is_centered = has_centered_face(pixels, detector)
            centered, others = centered + is_centered, others + (not is_centered)
        if max(centered, others) > SAMPLE_IMAGES // 2:
            break
    if others > SAMPLE_IMAGES // 2:
        job.say(
            "most images have no face where the network expects it; fa-align finds the faces in photographs and crops "
            "them"
        )


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
        if block.labels is None or block.scores is None:
            return
        # The labels of a face table may be of other attributes.
        self._names = tuple(name for name in block.labels.names if name in block.scores.names)
        if self._names:
            self._labels_and_scores.append((block.labels.select(self._names), block.scores.select(self._names)))

    def report(self, job: Job) -> None:
        """Print the mean metrics, if there are labels, and set the summary of the job."""
        if self._labels_and_scores:
            import numpy as np

            from facetools.prediction import metrics

            labels, scores = zip(*self._labels_and_scores, strict=True)
            truth, predicted = np.concatenate(labels), np.concatenate(scores)
            mean = metrics.mean_metrics(truth, predicted)
            job.say(
                f"{len(self._names)} attributes: mean accuracy {mean['accuracy']:.2%}, balanced accuracy "
                f"{mean['balanced_accuracy']:.2%}, F1 {mean['f1']:.2%}, average precision "
                f"{mean['average_precision']:.2%}, average Hamming distance {mean['hamming']:.3f}, "
                f"expected calibration error {metrics.calibration_error(truth, predicted):.2%}"
            )
        job.done(pluralize(self.rows, "face"))


main = fa_predict

if __name__ == "__main__":
    main()
