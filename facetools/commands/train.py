"""fa-train: faces with labels in, a run folder with checkpoints out, a record an epoch on stdout."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from facetools.commands.files import image_paths, provenance
from facetools.commands.job import RESUME, Failure, Job, pluralize
from facetools.commands.options import AttributesOption, Null, Sources, parse_image_size
from facetools.commands.running import command
from facetools.images.augmentation import NO_AUGMENTATION
from facetools.training.recipes import RECIPES, Amp, Loss, Optimizer, Schedule


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
    recipe: Annotated[
        Literal["paper", "modern"], typer.Option(help="Where the settings that are not given come from.")
    ] = "modern",
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Times that every image is seen; 0 trains nothing.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--image-size", metavar="SIZE", help="Pixels, N or HEIGHTxWIDTH; images are stretched to it."),
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Images a step.")] = None,
    loss: Annotated[Loss | None, typer.Option(help="mse and mae are there to see them fail.")] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="How steps are taken.")] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            metavar="X",
            help="That of the recipe is for its optimizer; else the optimizer's own.",
        ),
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(metavar="X", help="Not on biases and norms.")] = None,
    schedule: Annotated[Schedule | None, typer.Option(help="How the learning rate changes.")] = None,
    final_rate: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of the learning rate, that is left at the end of a schedule."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A convolutional network of torchvision: resnet50, convnext_tiny, ..."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="imagenet|none|FILE", help="What the backbone starts from; FILE is torchvision's or a checkpoint."
        ),
    ] = None,
    head: Annotated[int | None, typer.Option(metavar="N", help="Neurons of the dense layer.")] = None,
    dropout: Annotated[float | None, typer.Option(metavar="P", help="Share of connections dropped.")] = None,
    first_stride: Annotated[
        int | None, typer.Option(metavar="1|2", help="Of the backbone's first convolution; 1 suits small images.")
    ] = None,
    freeze_epochs: Annotated[
        int | None, typer.Option(metavar="N", help="Epochs in which the head alone is trained, first.")
    ] = None,
    augmentation: Annotated[
        bool, typer.Option("--augment/--no-augment", help="Whether training images are augmented.")
    ] = True,
    rotation: Annotated[float | None, typer.Option(metavar="DEGREES", help="Augmentation: to either side.")] = None,
    shift: Annotated[float | None, typer.Option(metavar="SHARE", help="Augmentation: of each side.")] = None,
    shear: Annotated[float | None, typer.Option(metavar="DEGREES", help="Augmentation: to either side.")] = None,
    zoom: Annotated[float | None, typer.Option(metavar="SHARE", help="Augmentation: in and out.")] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="Augmentation: mirror half of the images.")
    ] = None,
    brightness: Annotated[float | None, typer.Option(metavar="SHARE", help="Augmentation: up and down.")] = None,
    contrast: Annotated[float | None, typer.Option(metavar="SHARE", help="Augmentation: up and down.")] = None,
    saturation: Annotated[float | None, typer.Option(metavar="SHARE", help="Augmentation: up and down.")] = None,
    grayscale: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Augmentation: of the images, which lose their colours.")
    ] = None,
    mixup: Annotated[
        float | None, typer.Option(metavar="ALPHA", help="Blend pairs of faces by shares from Beta(ALPHA, ALPHA).")
    ] = None,
    averaging: Annotated[
        float | None, typer.Option(metavar="DECAY", help="Keep a moving average of the network; 0 keeps none.")
    ] = None,
    distillation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the truth that the scores of a teacher take: of --teacher, or of the average by the end.",
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Scores of the images, as of fa-predict, that are learned; of several, their mean logits.",
        ),
    ] = None,
    flip_average: Annotated[
        bool | None,
        typer.Option("--flip-average/--no-flip-average", help="Score faces by them and their mirror images."),
    ] = None,
    growth: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Begin with images of this share of their size, and let them grow."),
    ] = None,
    amp: Annotated[Amp | None, typer.Option(help="bfloat16: on GPUs that compute in it, never, or always.")] = None,
    valid_share: Annotated[
        float,
        typer.Option(metavar="SHARE", min=0, max=0.9, help="Held out for validation where there is no partition."),
    ] = 0.1,
    cache: Annotated[
        str | None,
        typer.Option(
            metavar="ram|off|DIR",
            help="Where decoded images are kept: by default in memory, if they fill less than a quarter of it.",
        ),
    ] = None,
    sync: Annotated[
        bool,
        typer.Option(
            "--sync-batchnorm/--no-sync-batchnorm",
            help="On GPUs: normalise by the statistics of the whole batch, not by those of the part of each process.",
        ),
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from RUN/last.pt, if it is there.")] = False,
    null: Null = False,
) -> None:
    """Train a network to predict facial attributes.

    SOURCE is a folder in CelebA's layout, whose partition tells training from validation, or images with --labels.
    The defaults are those of the recipe. RUN holds best.pt and last.pt (checkpoints), history.jsonl and config.json;
    each epoch's record is written to stdout. SIGTERM, SIGUSR1 and SIGUSR2 finish the step, write last.pt and exit 75,
    so that a batch system can start the same command again with --resume. Processes started together by torchrun or
    srun train one network.
    \f
    Examples:
      fa-train celeba/ -o run
      fa-train celeba/ -o run --weights none --image-size 96x80
      fa-train celeba/ -o run --recipe paper
      fa-train faces.zip --labels list_attr.csv --attributes Smiling,Eyeglasses -o run
      fa-train celeba/ -o run --resume | jq .valid_accuracy
      fa-train celeba/ -o student --distillation 0.7 --teacher one.npy --teacher other.npy
      torchrun --nproc-per-node 4 --no-python fa-train celeba/ -o run
    """
    from facetools.runtime import extras

    extras.require("torch", "training")
    from facetools.runtime.hardware import choose_device, set_torch_threads
    from facetools.runtime.processes import join_processes, process_info
    from facetools.table import jsonl
    from facetools.training.loop import TrainingInterrupted, train
    from facetools.training.teachers import read_teacher_scores

    try:
        reach = _given(
            rotation=rotation,
            shift=shift,
            shear=shear,
            zoom=zoom,
            flip=flip,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            grayscale=grayscale,
        )
        basis = RECIPES[recipe]
        if optimizer not in (None, basis.optimizer):
            basis = replace(basis, learning_rate=None)
        settings = replace(
            basis,
            augmentation=replace(basis.augmentation, **reach) if augmentation else NO_AUGMENTATION,
            **_given(
                backbone=backbone,
                head=head,
                dropout=dropout,
                weights=weights,
                image_size=None if size is None else parse_image_size(size),
                batch=batch,
                epochs=epochs,
                freeze_epochs=freeze_epochs,
                first_stride=first_stride,
                loss=loss,
                optimizer=optimizer,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                schedule=schedule,
                final_rate=final_rate,
                mixup=mixup,
                averaging=averaging,
                distillation=distillation,
                flip_average=flip_average,
                growth=growth,
                amp=amp,
            ),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if teacher and not settings.distillation:
        raise typer.BadParameter("--teacher needs --distillation, the share of the truth that its scores take")
    if settings.distillation and not (teacher or settings.averaging):
        raise typer.BadParameter(
            f"--distillation {settings.distillation:g} needs a teacher: --teacher, or the moving average of --averaging"
        )
    if final_rate and settings.schedule == "constant":
        raise typer.BadParameter("--final-rate is where a rate that falls ends; that of a constant --schedule stays")
    run, here = Path(output), process_info()
    job.process = here
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lambda number, frame: asked.append(number))

    def show(record: dict[str, Any]) -> None:
        if job.is_secondary:
            return
        sys.stdout.buffer.write(jsonl.encode_record(record))
        sys.stdout.flush()
        shown = {name: round(value, 4) for name, value in record.items() if name != "epoch"}
        job.detail(f"epoch {record['epoch']}: {json.dumps(shown)}")

    left_out: set[str] = set()

    def on_failure(path: str, reason: str) -> None:
        left_out.add(path)
        job.report_failure(path, reason)

    stopped = False
    with join_processes(here, collectives=True) as group:
        if here.is_first and (run / "last.pt").exists() and not resume:
            raise Failure(f"{run} holds a run already; continue it with --resume, or name another folder")
        set_torch_threads(job.jobs)
        device = choose_device(job.device, here.local_rank)
        names, training, validation = _examples(job, sources, labels, attributes, valid_share, null)
        unknown = job.failures
        if teacher:
            training = replace(training, taught=read_teacher_scores(teacher, training.paths, names))
        counts = f"{pluralize(len(training), 'image')} to train on, {len(validation):,} to validate on"
        job.say(f"{counts}, {len(names)} attributes, {device}{f', {here.world} processes' if here.world > 1 else ''}")
        with job.progress("images", settings.epochs * len(training)) as advance:
            try:
                train(
                    settings,
                    names,
                    training,
                    validation,
                    run,
                    device=device,
                    jobs=job.jobs,
                    seed=job.seed,
                    cache=cache,
                    resume=resume,
                    made_by=provenance(job, sources),
                    on_failure=on_failure,
                    on_resume=advance.begin_at,
                    on_step=advance,
                    on_epoch=show,
                    interrupted=lambda: bool(asked),
                    group=group,
                    sync=sync,
                )
            except TrainingInterrupted:  # of which all processes know
                stopped = True
        job.failures = unknown + len(set().union(*group.all_gather(left_out)))
    if stopped:
        by = signal.Signals(asked[0]).name if asked else "another process was stopped"
        job.say(f"{by}: {run / 'last.pt'} is written; continue with --resume")
        job.exit_code = RESUME
        return
    job.done(f"{run / 'best.pt'} is written")


def _given(**values: Any) -> dict[str, Any]:
    """The settings that were given."""
    return {name: value for name, value in values.items() if value is not None}


def _examples(
    job: Job, sources: list[str], labels: str | None, attributes: str | None, valid_share: float, null: bool
) -> tuple[tuple[str, ...], Any, Any]:
    """The attributes' names and the Examples to train and to validate on."""
    from facetools.table.attributes import select_attributes
    from facetools.table.celeba import CelebALayout
    from facetools.table.labels import GroundTruth
    from facetools.training.examples import Examples, split_examples

    layout = CelebALayout.find(Path(sources[0])) if len(sources) == 1 and Path(sources[0]).is_dir() else None
    if labels is None and (layout is None or layout.attributes is None):
        if len(sources) == 1 and not Path(sources[0]).exists():
            raise Failure(f"{sources[0]}: no such file or folder")
        raise typer.BadParameter(
            "there is no list_attr_celeba.txt or .csv beside the images; name the truth by --labels"
        )
    truth = GroundTruth.read(labels or sources[0])
    told = job.report_failure if job.process.is_first else lambda path, reason: None  # all processes find the same
    names = select_attributes(attributes, truth.names) if attributes else truth.names

    def examples(partition: str | None) -> Examples:
        paths = truth.known(image_paths(sources, null=null, partition=partition), told)
        return Examples(paths, truth.of(paths).select(names))

    if layout is not None and layout.partition is not None:
        training, validation = examples("train"), examples("valid")
    else:
        training, validation = split_examples(examples(None), valid_share, job.seed)
    if len(training) < 2:
        raise Failure(f"{len(training)} images with labels are too few to train on")
    return names, training, validation


main = fa_train

if __name__ == "__main__":
    main()
