"""fa-train: read faces with labels, write checkpoints to the folder of a run, and one record per epoch on stdout."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.files import find_partitions, provenance
from facetools.commands.job import EXIT_FAILED, EXIT_RESUME, CommandError, Job, pluralize
from facetools.commands.labels import match_labels
from facetools.commands.options import (
    INPUT,
    OUTPUT,
    AttributesOption,
    Null,
    Sources,
    Truncated,
    Wait,
    read_size_option,
    refuse_unused,
)
from facetools.commands.outputs import check_distinct, check_folder, check_output
from facetools.commands.running import command
from facetools.images.augmentation import NO_AUGMENTATION
from facetools.training.recipes import RECIPES, Amp, Loss, Optimizer, Schedule

if TYPE_CHECKING:
    from facetools.training.examples import Examples

NETWORK, TRAINING, AUGMENTATION = "Network options", "Training options", "Augmentation options"

#: The files that a run receives.
RUN_FILES = ("best.pt", "last.pt", "history.jsonl", "config.json")


@command
def fa_train(
    job: Job,
    sources: Sources,
    *,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="True labels: a CelebA attribute list or a face table. Not needed for a CelebA folder.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    attributes: AttributesOption = "paper37",
    valid_share: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=0.9,
            help="Share of images held out for validation, if SOURCE has no partition.",
            rich_help_panel=INPUT,
        ),
    ] = 0.1,
    cache: Annotated[
        str | None,
        typer.Option(
            metavar="ram|off|DIR",
            help="Cache decoded images in memory, not at all, or in DIR. By default in memory, if they take less than "
            "a quarter of the free memory.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    null: Null = False,
    truncated: Truncated = False,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Convolutional network of torchvision: mobilenet_v2, resnet50, convnext_tiny, ...",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="imagenet|none|FILE",
            help="Initial weights of the backbone; FILE holds weights of torchvision or a checkpoint of fa-train.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    head: Annotated[
        int | None, typer.Option(metavar="N", help="Neurons of the dense layer.", rich_help_panel=NETWORK)
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(metavar="P", help="Dropout probability after the dense layer.", rich_help_panel=NETWORK),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            "--image-size",
            metavar="SIZE",
            help="Input size in pixels, N or HEIGHTxWIDTH; images are resized to it without keeping their proportions.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    first_stride: Annotated[
        int | None,
        typer.Option(
            metavar="1|2",
            help="Stride of the first convolution of the backbone; 1 suits small images.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    flip_average: Annotated[
        bool | None,
        typer.Option(
            "--flip-average/--no-flip-average",
            help="Average the logits of each image and its mirror image when predicting.",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    recipe: Annotated[
        Literal["paper", "modern"],
        typer.Option(help="Set of defaults for all options that show no default.", rich_help_panel=TRAINING),
    ] = "modern",
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Passes over the training images; 0 saves the initial network.", rich_help_panel=TRAINING
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", help="Images per step, over all processes.", rich_help_panel=TRAINING),
    ] = None,
    loss: Annotated[
        Loss | None,
        typer.Option(help="Loss function; mse and mae are for comparison only.", rich_help_panel=TRAINING),
    ] = None,
    optimizer: Annotated[Optimizer | None, typer.Option(help="Optimizer.", rich_help_panel=TRAINING)] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            metavar="X",
            help="Peak learning rate. With another optimizer than the recipe's, the default is that optimizer's.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(metavar="X", help="Weight decay; not applied to biases and batch norm.", rich_help_panel=TRAINING),
    ] = None,
    schedule: Annotated[Schedule | None, typer.Option(help="Learning rate schedule.", rich_help_panel=TRAINING)] = None,
    final_rate: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Learning rate at the end of the schedule, as a share of the peak.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    freeze_epochs: Annotated[
        int | None,
        typer.Option(metavar="N", help="Epochs at the start that train only the head.", rich_help_panel=TRAINING),
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(
            metavar="ALPHA",
            help="Mixup: blend pairs of images with weights from Beta(ALPHA, ALPHA); 0 is off.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    averaging: Annotated[
        float | None,
        typer.Option(
            metavar="DECAY",
            help="Decay per step of a moving average of the network, which is validated and saved; 0 is off.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    distillation: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Weight of teacher scores in the training targets. The teacher is --teacher, else the moving average.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Scores of fa-predict for the training images; may be repeated, the logits are then averaged.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    growth: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Train on smaller images first: the initial image size as a share of the final one.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    amp: Annotated[
        Amp | None,
        typer.Option(
            help="bfloat16: on GPUs that support it (auto), never (off) or always (bf16); auto means float32 on CPUs.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    sync: Annotated[
        bool,
        typer.Option(
            "--sync-batchnorm/--no-sync-batchnorm",
            help="With several processes on GPUs, compute batch norm statistics over the whole batch.",
            rich_help_panel=TRAINING,
        ),
    ] = True,
    augmentation: Annotated[
        bool,
        typer.Option("--augment/--no-augment", help="Augment training images.", rich_help_panel=AUGMENTATION),
    ] = True,
    rotation: Annotated[
        float | None,
        typer.Option(metavar="DEGREES", help="Largest rotation, in either direction.", rich_help_panel=AUGMENTATION),
    ] = None,
    shift: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Largest shift, as a share of the height and of the width.",
            rich_help_panel=AUGMENTATION,
        ),
    ] = None,
    shear: Annotated[
        float | None,
        typer.Option(metavar="DEGREES", help="Largest shear angle, in either direction.", rich_help_panel=AUGMENTATION),
    ] = None,
    zoom: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Largest zoom, in and out; 0.2 means 80 to 120 %.", rich_help_panel=AUGMENTATION
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option("--flip/--no-flip", help="Mirror half of the images at random.", rich_help_panel=AUGMENTATION),
    ] = None,
    brightness: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Largest relative change of brightness.", rich_help_panel=AUGMENTATION),
    ] = None,
    contrast: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Largest relative change of contrast.", rich_help_panel=AUGMENTATION),
    ] = None,
    saturation: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Largest relative change of saturation.", rich_help_panel=AUGMENTATION),
    ] = None,
    grayscale: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of images that are converted to gray.", rich_help_panel=AUGMENTATION),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="RUN", help="Folder for the checkpoints and records.", rich_help_panel=OUTPUT
        ),
    ],
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue from RUN/last.pt, if it exists.", rich_help_panel=OUTPUT),
    ] = False,
    wait: Wait = 300,
) -> None:
    """Train a network to predict facial attributes.

    SOURCE is a folder in CelebA's layout, whose partition separates training from validation, or images with --labels.
    RUN receives best.pt and last.pt (checkpoints), history.jsonl and config.json. One record per epoch is written to
    stdout.

    On SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2, the command finishes the step, writes last.pt and exits with code 75. A
    single process gives up a step that takes long. The same command with --resume then continues the run. A second
    signal ends the command at once. Several processes, started by torchrun or srun, train one network.
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
    from facetools.runtime import extras, signals

    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    stop = signals.StopRequest(
        numbers, EXIT_RESUME, lambda number: job.say(f"stopped by {number.name}; continue with --resume")
    )
    extras.require("torch", "training")
    from facetools.runtime.hardware import choose_device, set_torch_threads
    from facetools.runtime.processes import join_processes, process_info
    from facetools.table import jsonl
    from facetools.training.loop import train
    from facetools.training.progress import TrainingInterrupted
    from facetools.training.teachers import read_teacher_scores

    defaults = RECIPES[recipe]
    if optimizer not in (None, defaults.optimizer):
        defaults = replace(defaults, learning_rate=None)
    try:
        augmentation_limits = _without_none(
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
        settings = replace(
            defaults,
            augmentation=replace(defaults.augmentation, **augmentation_limits) if augmentation else NO_AUGMENTATION,
            **_without_none(
                backbone=backbone,
                head=head,
                dropout=dropout,
                weights=weights,
                image_size=read_size_option("--image-size", size),
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
        raise typer.BadParameter("--teacher needs --distillation, the weight of the teacher's scores")
    if settings.distillation and not (teacher or settings.averaging):
        raise typer.BadParameter(
            f"--distillation {settings.distillation:g} needs a teacher: --teacher, or the moving average of --averaging"
        )
    if final_rate is not None and settings.schedule == "constant":
        raise typer.BadParameter("--final-rate does not apply to a constant --schedule")
    if not augmentation:
        refuse_unused(job.given, [name for name, limit in augmentation_limits.items() if limit], "with --no-augment")
    check_folder(output)
    run, process = Path(output), process_info()
    job.process = process
    for name in RUN_FILES:
        check_distinct({"--output": str(run / name)}, [*sources, labels, weights, *(teacher or [])])

    def write_record(record: dict[str, Any]) -> None:
        if not process.is_first:
            return
        sys.stdout.buffer.write(jsonl.encode_record(record))
        sys.stdout.flush()
        rounded = {name: round(value, 4) for name, value in record.items() if name != "epoch"}
        job.detail(f"epoch {record['epoch']}: {json.dumps(rounded)}")

    unreadable: set[str] = set()

    def on_failure(path: str, reason: str) -> None:
        unreadable.add(path)
        job.report_failure(path, reason)

    def say_interrupted() -> None:
        cause = stop.signal.name if stop.signal else "another process was stopped"
        job.say(f"{cause}: wrote {run / 'last.pt'}; continue with --resume")

    def defer_stop(save_and_stop: Callable[[], None]) -> None:
        def stop_within_step() -> None:
            try:
                save_and_stop()
            except OSError as error:
                job.say(str(error))
                os._exit(EXIT_FAILED)
            say_interrupted()

        # Several processes have to finish a step together.
        stop.defer(stop_within_step if process.world == 1 else None)

    is_interrupted = False
    with join_processes(process, collectives=True, wait=wait, announce=job.announce) as group:
        if process.is_first:
            check_output("-")
            _check_run(run, resume)
        set_torch_threads(job.jobs)
        device = choose_device(job.device, process.local_rank)
        names, training, validation = _read_examples(job, sources, labels, attributes, valid_share, null)
        unlabeled = job.failures
        if teacher:
            training = replace(
                training, teacher_scores=read_teacher_scores(teacher, training.paths, names, on_match=job.say)
            )
        processes = f", {process.world} processes" if process.world > 1 else ""
        job.say(
            f"{pluralize(len(training), 'training image')}, {pluralize(len(validation), 'validation image')}, "
            f"{pluralize(len(names), 'attribute')}, {device}{processes}"
        )
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
                    on_truncated=job.accept_truncated if truncated else None,
                    on_resume=advance.start_from,
                    on_step=advance,
                    on_epoch=write_record,
                    on_start=defer_stop,
                    should_stop=lambda: stop.signal is not None,
                    group=group,
                    sync_batch_norm=sync,
                )
            except TrainingInterrupted:  # raised in all processes if one of them received a signal
                is_interrupted = True
        job.failures = unlabeled + len(set().union(*group.all_gather(unreadable)))
        accepted = set().union(*group.all_gather(job.truncated))
        job.truncated = accepted if process.is_first else set()
    if is_interrupted:
        say_interrupted()
        job.exit_code = EXIT_RESUME
        return
    job.done(f"wrote {run / 'best.pt'}")


def _check_run(run: Path, resume: bool) -> None:
    """Raise CommandError if the folder `run` holds a run that is not to be resumed, or files of others."""
    if (run / "last.pt").exists():
        if resume:
            return
        raise CommandError(f"{run} already holds a run; continue it with --resume, or name another folder")
    try:
        # A run that was killed in its first epoch has left its configuration.
        is_own = "made_by" in json.loads((run / "config.json").read_bytes())
    except (OSError, ValueError, TypeError):
        is_own = False
    files = [run / name for name in RUN_FILES if os.path.lexists(run / name)]
    if files and not is_own:
        raise CommandError(f"{files[0]}: it was not written by fa-train, so it is not replaced; name another folder")


def _without_none(**settings: Any) -> dict[str, Any]:
    """Return the settings that are not None, which are those on the command line."""
    return {name: value for name, value in settings.items() if value is not None}


def _read_examples(
    job: Job, sources: list[str], labels: str | None, attributes: str | None, valid_share: float, null: bool
) -> tuple[tuple[str, ...], Examples, Examples]:
    """Return the names of the attributes, the training examples and the validation examples."""
    from facetools.table.attributes import select_attributes
    from facetools.table.celeba import CelebALayout
    from facetools.table.labels import GroundTruth
    from facetools.training.examples import Examples, split_examples

    layout = CelebALayout.find(Path(sources[0])) if len(sources) == 1 and Path(sources[0]).is_dir() else None
    if labels is None and (layout is None or layout.attributes is None):
        if len(sources) == 1 and not Path(sources[0]).exists():
            raise CommandError(f"{sources[0]}: no such file or folder")
        raise typer.BadParameter(
            "there is no list_attr_celeba.txt or .csv beside the images; name a file with labels", param_hint="--labels"
        )
    truth = GroundTruth.read(labels or sources[0])
    names = select_attributes(attributes, truth.names) if attributes else truth.names

    if layout is not None and layout.partition is not None:
        refuse_unused(job.given, ["valid_share"], f"on {sources[0]}, whose partition names the validation images")
        partitions = find_partitions(job, sources, ["train", "valid"], null=null)
    else:
        partitions = find_partitions(job, sources, [None], null=null)
    # All at once: labels that fit images of both partitions are not clear.
    _, found = match_labels(job, truth, list(chain(*partitions)))

    def labeled(paths: list[str]) -> Examples:
        paths = [path for path in paths if path in found]
        return Examples(paths, found.labels_for(paths).select(names))

    if len(partitions) == 2:
        training, validation = map(labeled, partitions)
    else:
        training, validation = split_examples(labeled(partitions[0]), valid_share, job.seed)
    if len(training) < 2:
        raise CommandError(f"training needs at least 2 images with labels; there are {len(training)}")
    return names, training, validation


main = fa_train

if __name__ == "__main__":
    main()
