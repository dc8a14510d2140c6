"""fa-predict: images in, a face table with scores out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from facetools.commands.common import Failure, Format, Job, Null, Output, Sources, command, encoding_of, image_paths


@command
def fa_predict(
    job: Job,
    sources: Sources,
    model: Annotated[str, typer.Option("--model", "-m", metavar="FILE", help="A checkpoint of fa-train.")],
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
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Images computed at a time.")] = 64,
    null: Null = False,
) -> None:
    """Predict the facial attributes of images.

    Writes a face table with a score from 0 to 1 for each attribute of each image, in the order of the images. A
    folder in CelebA's layout stands for its images.
    \f
    Examples:
      fa-predict faces/ --model run/best.pt > scores.jsonl
      fa-predict faces.zip --model run/best.pt | fa-cluster -k 16 --attributes paper10 > clusters.jsonl
      fa-predict celeba/ --partition test --labels celeba/ --model run/best.pt -o test.npy
      find . -name '*.jpg' -print0 | fa-predict -0 - --model run/best.pt --format npy > scores.npy
    """
    from facetools import images, metrics, table
    from facetools.commands.labels import Truth
    from facetools.model import choose_device, load_checkpoint, use_threads
    from facetools.predict import predict

    use_threads(job.jobs)
    device = choose_device(job.device)
    network, _ = load_checkpoint(Path(model))
    config = network.config
    paths = image_paths(sources, null=null, partition=partition)
    truth = Truth.read(labels, config.attributes) if labels else None
    if truth is not None:
        paths = truth.known(paths, job.failed)
    rows, labelled = 0, []
    with (
        table.writing(output, encoding_of(format, output)) as writer,
        job.progress("images", len(paths)) as advance,
    ):
        batches = images.batches(paths, config.image_size, batch, jobs=job.jobs, failed=job.failed)
        for names, scores in predict(network, batches, device=device):
            columns = table.Attributes(config.attributes, scores)
            known = None if truth is None else truth.of(names)
            writer.write(table.Table(table.encode_paths(names), columns, known))
            if known is not None:
                labelled.append((scores, known.names, known.values))
            rows += len(names)
            advance(len(names))
        if not rows:
            raise Failure(f"none of the {len(paths)} images could be read")
    if labelled:
        import numpy as np

        names_of_truth = labelled[0][1]
        columns_of_truth = [config.attributes.index(name) for name in names_of_truth]
        means = metrics.means(
            np.concatenate([values for _, _, values in labelled]),
            np.concatenate([scores[:, columns_of_truth] for scores, _, _ in labelled]),
        )
        job.say(
            f"{len(names_of_truth)} attributes: mean accuracy {means['accuracy']:.2%}, balanced accuracy "
            f"{means['balanced_accuracy']:.2%}, F1 {means['f1']:.2%}, average Hamming distance {means['hamming']:.3f}"
        )
    job.done(f"{rows:,} faces")


main = fa_predict

if __name__ == "__main__":
    main()
