"""fa-train: faces with labels in, a run folder with checkpoints out, a record an epoch on stdout."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from facetools.commands.common import (
    RESUME,
    AttributesOption,
    Failure,
    Job,
    Null,
    Sources,
    command,
    image_paths,
    made_by,
)
from facetools.recipes import NO_AUGMENTATION, PAPER, Amp, Augmentation, Loss, Optimizer, Schedule, image_size


@command
def fa_train(
    job: Job,
    sources: Sources,
    output: Annotated[str, typer.Option("--output", "-o", metavar="RUN", help="The folder of the run.")],
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", metavar="FILE", help="The truth: a CelebA attribute list or a face table with labels."
        ),
    ] = None,
    attributes: AttributesOption = "paper37",
    epochs: Annotated[
        int, typer.Option(metavar="N", help="Times that every image is seen; 0 trains nothing.")
    ] = PAPER.epochs,
    size: Annotated[
        str, typer.Option("--image-size", metavar="SIZE", help="Pixels, N or HEIGHTxWIDTH; images are stretched to it.")
    ] = "224",
    batch: Annotated[int, typer.Option(metavar="N", help="Images a step.")] = PAPER.batch,
    loss: Annotated[
        Loss, typer.Option(help="cosine is the paper's; mse and mae are there to see them fail.")
    ] = PAPER.loss,
    optimizer: Annotated[Optimizer, typer.Option(help="How steps are taken.")] = PAPER.optimizer,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", "--lr", metavar="X", help="By default adadelta 1, adamw 0.001, sgd 0.05."),
    ] = None,
    weight_decay: Annotated[float, typer.Option(metavar="X", help="Not on biases and norms.")] = PAPER.weight_decay,
    schedule: Annotated[Schedule, typer.Option(help="How the learning rate changes.")] = PAPER.schedule,
    backbone: Annotated[
        str,
        typer.Option(metavar="NAME", help="A convolutional network of torchvision: resnet50, convnext_tiny, ..."),
    ] = PAPER.backbone,
    weights: Annotated[
        str,
        typer.Option(
            metavar="imagenet|none|FILE", help="What the backbone starts from; FILE is torchvision's or a checkpoint."
        ),
    ] = PAPER.weights,
    head: Annotated[int, typer.Option(metavar="N", help="Neurons of the dense layer.")] = PAPER.head,
    dropout: Annotated[float, typer.Option(metavar="P", help="Share of connections dropped.")] = PAPER.dropout,
    freeze_epochs: Annotated[
        int, typer.Option(metavar="N", help="Epochs in which the head alone is trained, first.")
    ] = PAPER.freeze_epochs,
    augmentation: Annotated[
        bool, typer.Option("--augment/--no-augment", help="Whether training images are augmented.")
    ] = True,
    rotation: Annotated[
        float, typer.Option(metavar="DEGREES", help="Augmentation: to either side.")
    ] = PAPER.augmentation.rotation,
    shift: Annotated[
        float, typer.Option(metavar="SHARE", help="Augmentation: of each side.")
    ] = PAPER.augmentation.shift,
    shear: Annotated[
        float, typer.Option(metavar="DEGREES", help="Augmentation: to either side.")
    ] = PAPER.augmentation.shear,
    zoom: Annotated[float, typer.Option(metavar="SHARE", help="Augmentation: in and out.")] = PAPER.augmentation.zoom,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Augmentation: mirror half of the images.")] = True,
    amp: Annotated[Amp, typer.Option(help="bfloat16 on a GPU that has it, never, or always.")] = PAPER.amp,
    valid_share: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=0.9, help="Held out for validation where there is no partition."),
    ] = 0.1,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from RUN/last.pt, if it is there.")] = False,
    null: Null = False,
) -> None:
    """Train a network to predict facial attributes.

    SOURCE is a folder in CelebA's layout, whose partition tells training from validation, or images with --labels.
    The defaults are the paper's. RUN holds best.pt and last.pt (checkpoints), history.jsonl and config.json; each
    epoch's record is written to stdout. SIGTERM, SIGUSR1 and SIGUSR2 finish the step, write last.pt and exit 75, so
    that a batch system can start the same command again with --resume.
    \f
    Examples:
      fa-train celeba/ -o run
      fa-train celeba/ -o run --weights none --image-size 96x80 --loss bce --optimizer adamw --schedule onecycle
      fa-train faces.zip --labels list_attr.csv --attributes Smiling,Eyeglasses -o run
      fa-train celeba/ -o run --resume | jq .valid_accuracy
    """
    from facetools import table
    from facetools.model import choose_device, use_threads
    from facetools.train import Interrupted, train

    try:
        recipe = replace(
            PAPER,
            backbone=backbone,
            head=head,
            dropout=dropout,
            weights=weights,
            image_size=image_size(size),
            batch=batch,
            epochs=epochs,
            freeze_epochs=freeze_epochs,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            augmentation=Augmentation(rotation, shift, shear, zoom, flip) if augmentation else NO_AUGMENTATION,
            amp=amp,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    run = Path(output)
    if (run / "last.pt").exists() and not resume:
        raise Failure(f"{run} holds a run already; continue it with --resume, or name another folder")
    use_threads(job.jobs)
    device = choose_device(job.device)
    names, training, validation = _examples(job, sources, labels, attributes, valid_share, null)
    job.say(
        f"{len(training):,} images to train on, {len(validation):,} to validate on, {len(names)} attributes, {device}"
    )

    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: asked.append(number))

    def show(record: dict[str, Any]) -> None:
        sys.stdout.buffer.write(table.record(record))
        sys.stdout.flush()
        shown = {name: round(value, 4) for name, value in record.items() if name != "epoch"}
        job.detail(f"epoch {record['epoch']}: {json.dumps(shown)}")

    try:
        with job.progress("images", epochs * len(training)) as advance:
            train(
                recipe,
                names,
                training,
                validation,
                run,
                device=device,
                jobs=job.jobs,
                seed=job.seed,
                resume=resume,
                made_by=made_by(job, sources),
                failed=job.failed,
                on_step=advance,
                on_epoch=show,
                interrupted=lambda: bool(asked),
            )
    except Interrupted:
        job.say(f"{signal.Signals(asked[0]).name}: {run / 'last.pt'} is written; continue with --resume")
        job.exit_code = RESUME
        return
    job.done(f"{run / 'best.pt'} is written")


def _examples(
    job: Job, sources: list[str], labels: str | None, attributes: str | None, valid_share: float, null: bool
) -> tuple[tuple[str, ...], Any, Any]:
    """The attributes' names and the Examples to train and to validate on."""
    from facetools.attributes import parse
    from facetools.celeba import CelebA
    from facetools.commands.labels import Truth
    from facetools.train import Examples, split

    layout = CelebA.find(Path(sources[0])) if len(sources) == 1 and Path(sources[0]).is_dir() else None
    if labels is None and (layout is None or layout.attributes is None):
        raise typer.BadParameter(
            "there is no list_attr_celeba.txt or .csv beside the images; name the truth by --labels"
        )
    truth = Truth.read(labels or sources[0])
    names = parse(attributes, truth.names) if attributes else truth.names

    def examples(partition: str | None) -> Examples:
        paths = truth.known(image_paths(sources, null=null, partition=partition), job.failed)
        return Examples(paths, truth.of(paths).select(names))

    if layout is not None and layout.partition is not None:
        training, validation = examples("train"), examples("valid")
    else:
        training, validation = split(examples(None), valid_share, job.seed)
    if len(training) < 2:
        raise Failure(f"{len(training)} images with labels are too few to train on")
    return names, training, validation


main = fa_train

if __name__ == "__main__":
    main()
