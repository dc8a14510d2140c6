"""fa-report: a face table, and what other commands wrote about it, in; one self-contained report out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.files import check_output, provenance
from facetools.commands.job import Failure, Job, pluralize
from facetools.commands.options import Output, TableInput
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.report import Eigenface
    from facetools.table.columns import Table

#: Height and width up to which a face of a contact sheet is decoded.
THUMBNAIL = 160


@command
def fa_report(
    job: Job,
    source: TableInput = "-",
    *,
    output: Output = "-",
    eigenfaces: Annotated[
        str | None, typer.Option(metavar="FILE", help="The records of fa-eigenface, with the pictures they name.")
    ] = None,
    comparison: Annotated[str | None, typer.Option(metavar="FILE", help="The records of fa-cluster --compare.")] = None,
    history: Annotated[
        str | None, typer.Option(metavar="FILE", help="The records of fa-train, or the folder of its run.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Attach the truth from a CelebA attribute list, a CelebA folder or a face table."
        ),
    ] = None,
    figures: Annotated[str | None, typer.Option(metavar="DIR", help="Also write each figure as SVG and PNG.")] = None,
    format: Annotated[Literal["html", "text"], typer.Option(help="A page, or plain text of 100 columns.")] = "html",
    title: Annotated[str, typer.Option(metavar="TEXT", help="The title of the report.")] = "Faces by attribute",
    faces: Annotated[int, typer.Option(metavar="N", min=0, help="Faces to show of each cluster.")] = 24,
    max_clusters: Annotated[int, typer.Option(metavar="N", min=0, help="Clusters to show, the largest first.")] = 50,
    prominent: Annotated[
        float, typer.Option(metavar="SHARE", help="From this share on an attribute is prominent.")
    ] = 0.8,
    noisy: Annotated[float, typer.Option(metavar="SHARE", help="Up to this share an attribute is noisy.")] = 0.2,
) -> None:
    """Report on faces, their attributes and their clusters.

    The report shows what it is given: attribute frequencies; accuracy beside published figures, where there are labels;
    for each cluster some faces, how often each attribute occurs, and the eigenface; the comparison of methods; training
    curves. The page is one file without links to anything outside.
    \f
    Examples:
      fa-report clusters.jsonl --eigenfaces eigenfaces.jsonl -o report.html
      fa-report clusters.npy --comparison comparison.jsonl --history run/ --figures figures/ -o report.html
      fa-predict celeba/ -m run/best.pt --labels celeba/ | fa-report --format text | less
    """
    from facetools.report import as_figures, as_html, as_text, build_report, save_figure
    from facetools.runtime import files
    from facetools.table import streams

    if not 0 <= noisy < prominent <= 1:
        raise typer.BadParameter("--noisy and --prominent are shares from 0 to 1, and noisy is the lower one")
    check_output(output, format)
    listed, _ = streams.read_table(source)
    if labels is not None:
        listed = _with_labels(job, listed, labels)
    inputs = [name for name in (source, eigenfaces, comparison, history, labels) if name]
    origin = provenance(job, inputs)
    report = build_report(
        listed,
        eigenfaces=_eigenfaces(job, eigenfaces) if eigenfaces else None,
        thumbnails=_thumbnails(job) if format == "html" or figures else None,
        comparison=_records(comparison, "fa-cluster --compare", "method", "clusters") if comparison else None,
        history=_records(_history_of(history), "fa-train", "epoch", "loss") if history else None,
        provenance={
            "facetools": origin["version"],
            "command": origin["command"],
            "seed": str(origin["seed"]),
            "inputs": "; ".join(_described(entry) for entry in origin["inputs"]),
        },
        seed=job.seed,
        faces_per_cluster=faces,
        max_clusters=max_clusters,
        prominent=prominent,
        noisy=noisy,
        title=title,
    )
    if figures is not None:
        folder = files.make_folder(figures)
        for name, figure in as_figures(report):
            for suffix in (".svg", ".png"):
                save_figure(figure, folder / f"{name}{suffix}")
    with streams.open_output(output) as stream:
        stream.write((as_html(report) if format == "html" else as_text(report)).encode())
    job.done(f"a report on {pluralize(len(listed), 'face')}")


def _described(entry: dict[str, Any]) -> str:
    return f"{entry['path']} ({entry['bytes']:,} bytes, {entry['modified']})" if "bytes" in entry else entry["path"]


def _history_of(run: str) -> str:
    return str(Path(run) / "history.jsonl") if Path(run).is_dir() else run


def _records(path: str, command: str, *names: str) -> list[dict[str, Any]]:
    """The records in a JSONL file of another command, which have all `names`."""
    import msgspec

    records = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        try:
            records.append(msgspec.json.decode(line, type=dict))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise Failure(f"{path}: line {number} is not a JSON object") from None
        missing = next((name for name in names if name not in records[-1]), None)
        if missing:
            raise Failure(f"{path}: line {number} has no '{missing}'; it is no record of {command}")
    if not records:
        raise Failure(f"{path}: no records of {command}")
    return records


def _eigenfaces(job: Job, path: str) -> dict[int, Eigenface]:
    """The eigenface of each cluster; the pictures are looked for as named, then beside the records."""
    from facetools.report import Eigenface

    def picture(name: str) -> bytes:
        as_named = Path(name)
        return (as_named if as_named.exists() else Path(path).parent / name).read_bytes()

    found: dict[int, Eigenface] = {}
    names = ("cluster", "faces", "mean", "components", "explained_variance_ratio")
    for record in _records(path, "fa-eigenface", *names):
        try:
            found[record["cluster"]] = Eigenface(
                record["faces"],
                picture(record["mean"]),
                [picture(name) for name in record["components"]],
                record["explained_variance_ratio"],
            )
        except OSError as error:
            job.report_failure(str(error.filename), error.strerror or "cannot be read")
    return found


def _thumbnails(job: Job) -> Callable[[list[str]], list[np.ndarray | None]]:
    """Reads faces for contact sheets; one that cannot be read is left out and reported."""
    from facetools.images import batches, reading, sheets

    def read(paths: list[str]) -> list[np.ndarray | None]:
        pictures: list[np.ndarray | None] = []
        reasons: list[tuple[str, str]] = []
        with job.progress("pictures", len(paths)) as advance:
            for path, pixels in batches.decode_images(paths, None, jobs=job.jobs):
                advance(1)
                if isinstance(pixels, reading.ImageError):
                    reasons.append((path, str(pixels)))
                    pictures.append(None)
                else:
                    pictures.append(sheets.shrink_image(pixels, THUMBNAIL))
        if len(reasons) == len(paths) > 1:
            # A table made elsewhere, or of labels alone: its faces are not here, which is one thing to say.
            reasons = [(f"all {len(paths)} faces to show", f"the first is {paths[0]}: {reasons[0][1]}")]
        for path, reason in reasons:
            job.report_failure(path, reason)
        return pictures

    return read


def _with_labels(job: Job, listed: Table, labels: str) -> Table:
    """The table with the truth; faces without labels are left out."""
    from dataclasses import replace

    import numpy as np

    from facetools.table.labels import GroundTruth

    truth = GroundTruth.read(labels, listed.scores.names if listed.scores is not None else None)
    paths = [listed.path(row) for row in range(len(listed))]
    known = set(truth.known(paths, job.report_failure))
    kept = np.array([path in known for path in paths], bool)
    return replace(listed.take(kept), labels=truth.of([path for path in paths if path in known]))


main = fa_report

if __name__ == "__main__":
    main()
