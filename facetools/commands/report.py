"""fa-report: read a face table and the outputs of other commands, write one self-contained report."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.files import provenance
from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.labels import match_labels
from facetools.commands.options import INPUT, OUTPUT, Output, TableInput, Truncated, refuse_unused
from facetools.commands.outputs import check_distinct, check_folder, check_images_stay, check_output
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.report import EncodedEigenface, Report
    from facetools.table.columns import Table

CONTENT = "Content options"

#: The longest side, in pixels, of the sample faces that are passed to the report.
THUMBNAIL_SIDE = 160


@command
def fa_report(
    job: Job,
    source: TableInput = "-",
    *,
    eigenfaces: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Records of fa-eigenface; the pictures they name are read too.", rich_help_panel=INPUT
        ),
    ] = None,
    comparison: Annotated[
        str | None, typer.Option(metavar="FILE", help="Records of fa-cluster --compare.", rich_help_panel=INPUT)
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Records of fa-train, or the folder of its run.", rich_help_panel=INPUT),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Attach true labels from a CelebA attribute list, a CelebA folder or a face table.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    truncated: Truncated = False,
    title: Annotated[
        str, typer.Option(metavar="TEXT", help="Title of the report.", rich_help_panel=CONTENT)
    ] = "Faces by attribute",
    faces: Annotated[
        int, typer.Option(metavar="N", min=0, help="Number of sample faces per cluster.", rich_help_panel=CONTENT)
    ] = 24,
    max_clusters: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Largest number of clusters to show; the largest come first.",
            rich_help_panel=CONTENT,
        ),
    ] = 50,
    prominent: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="An attribute is prominent in a cluster if at least this share of its faces have it.",
            rich_help_panel=CONTENT,
        ),
    ] = 0.8,
    noisy: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="An attribute is noisy in a cluster if at most this share of its faces have it.",
            rich_help_panel=CONTENT,
        ),
    ] = 0.2,
    output: Output = "-",
    format: Annotated[
        Literal["html", "text"], typer.Option(help="An HTML page, or plain text.", rich_help_panel=OUTPUT)
    ] = "html",
    figures: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Also write every figure as SVG and PNG to DIR.", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """Report on faces, their attributes and their clusters.

    The report has a section for each input: attribute frequencies; accuracy next to published figures, if there are
    labels; sample faces, attribute frequencies and the eigenface of each cluster; the comparison of clustering methods;
    training curves. The HTML page is one file without external links.
    \f
    Examples:
      fa-report clusters.jsonl --eigenfaces eigenfaces.jsonl -o report.html
      fa-report clusters.npy --comparison comparison.jsonl --history run/ --figures figures/ -o report.html
      fa-predict celeba/ -m run/best.pt --labels celeba/ | fa-report --format text | less
    """
    from facetools.report import build_report, render_html, render_text
    from facetools.table import records, streams

    if not 0 <= noisy < prominent <= 1:
        raise typer.BadParameter("--noisy and --prominent must be from 0 to 1, and --noisy below --prominent")
    if format == "text" and figures is None:
        # Zero sample faces are what a text has anyway.
        refuse_unused(job.given, ["faces", "truncated"] if faces else ["truncated"], "with --format text")
    check_output(output)
    if figures is not None:
        check_folder(figures, "--figures")
    inputs = [source, eigenfaces, comparison, history and _history_file(history), labels]
    check_distinct({"--output": output}, inputs)
    if inputs.count("-") > 1:
        raise typer.BadParameter("only one input can be standard input (-)")
    table, _ = streams.read_table(source)
    if table.cluster is None:
        content = ["eigenfaces", "max_clusters", "prominent", "noisy"]
        refuse_unused(job.given, content, "on a table without clusters")
    paths = [] if table.paths is None else [table.path(row) for row in range(len(table))]
    check_images_stay([("--output", output)], paths)
    if labels is not None:
        table = _attach_labels(job, table, labels)
    origin = provenance(job, [name for name in (source, eigenfaces, comparison, history, labels) if name])
    report = build_report(
        table,
        eigenfaces=_read_eigenfaces(job, eigenfaces) if eigenfaces else None,
        thumbnails=_thumbnail_reader(job, truncated) if format == "html" or figures else None,
        comparison=records.read_records(comparison, records.COMPARISON) if comparison else None,
        history=records.read_records(_history_file(history), records.HISTORY) if history else None,
        provenance={
            "facetools": origin["version"],
            "command": origin["command"],
            "seed": str(origin["seed"]),
            "inputs": "; ".join(_describe_input(entry) for entry in origin["inputs"]),
        },
        seed=job.seed,
        faces_per_cluster=faces,
        max_clusters=max_clusters,
        prominent=prominent,
        noisy=noisy,
        title=title,
    )
    if figures is not None:
        _write_figures(report, Path(figures), paths)
    with streams.open_output(output) as stream:
        stream.write((render_html(report) if format == "html" else render_text(report)).encode("utf-8", "replace"))
    job.done(f"a report on {_count_faces(report)}")


def _count_faces(report: Report) -> str:
    faces, photos = pluralize(report.faces, "face"), report.photos
    if not photos.known:
        return faces
    return f"{faces} from {'at least ' if photos.unknown_faces else ''}{pluralize(photos.known, 'photo')}"


def _describe_input(entry: dict[str, Any]) -> str:
    return f"{entry['path']} ({entry['bytes']:,} bytes, {entry['modified']})" if "bytes" in entry else entry["path"]


def _write_figures(report: Report, folder: Path, images: list[str]) -> None:
    """Write every figure as SVG and as PNG to `folder`. Files of others there, and `images`, are not replaced."""
    from facetools.images.output_folder import check_replaceable
    from facetools.report import draw_figures, save_figure
    from facetools.runtime import files

    figures = {
        folder / f"{name}{suffix}": figure for name, figure in draw_figures(report) for suffix in (".svg", ".png")
    }
    check_images_stay((("--figures", path) for path in figures), images)
    check_replaceable(figures)
    files.make_folder(folder)
    for path, figure in figures.items():
        save_figure(figure, path)


def _history_file(path: str) -> str:
    return str(Path(path) / "history.jsonl") if Path(path).is_dir() else path


def _read_eigenfaces(job: Job, path: str) -> dict[int, EncodedEigenface]:
    """Read the eigenfaces by cluster. Pictures are searched under their recorded path, then beside the records."""
    from facetools.report import EncodedEigenface
    from facetools.table import records

    def read_picture(name: str) -> bytes:
        recorded = Path(name)
        picture = recorded if recorded.is_file() else Path(path).parent / name
        if picture.exists() and not picture.is_file():  # reading a device or a pipe may not end
            raise OSError(errno.EINVAL, "not a regular file", str(picture))
        return picture.read_bytes()

    eigenfaces: dict[int, EncodedEigenface] = {}
    for record in records.read_records(path, records.EIGENFACES):
        if record["cluster"] in eigenfaces:
            raise CommandError(f"{path}: more than one record of cluster {record['cluster']}")
        try:
            eigenfaces[record["cluster"]] = EncodedEigenface(
                record["faces"],
                read_picture(record["mean"]),
                [read_picture(name) for name in record["components"]],
                record["explained_variance_ratio"],
            )
        except OSError as error:
            job.report_failure(str(error.filename), error.strerror or "cannot be read")
    return eigenfaces


def _thumbnail_reader(job: Job, truncated: bool) -> Callable[[list[str]], list[np.ndarray | None]]:
    """Return a function that reads sample faces. It reports those that cannot be read and returns None for them."""
    from facetools.images import batches, reading, sheets

    def read_thumbnails(paths: list[str]) -> list[np.ndarray | None]:
        thumbnails: list[np.ndarray | None] = []
        failures: list[tuple[str, str]] = []
        with job.progress("pictures", len(paths)) as advance:
            on_truncated = job.accept_truncated if truncated else None
            for path, pixels in batches.decode_images(paths, None, jobs=job.jobs, on_truncated=on_truncated):
                advance(1)
                if isinstance(pixels, reading.ImageError):
                    failures.append((path, str(pixels)))
                    thumbnails.append(None)
                else:
                    thumbnails.append(sheets.shrink_image(pixels, THUMBNAIL_SIDE))
        if len(failures) == len(paths) > 1:
            # The images of this table are on another machine or do not exist, so one message is enough.
            failures = [(f"all {len(paths)} sample faces", f"the first is {paths[0]}: {failures[0][1]}")]
        for path, reason in failures:
            job.report_failure(path, reason)
        return thumbnails

    return read_thumbnails


def _attach_labels(job: Job, table: Table, labels: str) -> Table:
    """Return the table with true labels. Faces without labels are reported and left out."""
    from dataclasses import replace

    import numpy as np

    from facetools.table.labels import GroundTruth

    if table.paths is None:
        raise CommandError("the table has no paths, by which --labels could be attached")
    truth = GroundTruth.read(labels, table.scores.names if table.scores is not None else None)
    paths = [table.path(row) for row in range(len(table))]
    labeled_paths, found = match_labels(job, truth, paths)
    is_labeled = np.array([path in found for path in paths], bool)
    return replace(table.take(is_labeled), labels=found.labels_for(labeled_paths))


main = fa_report

if __name__ == "__main__":
    main()
