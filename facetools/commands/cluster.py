"""fa-cluster: a face table in, the same table with a cluster for each face out, or a comparison of methods."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facetools.commands.files import check_output, choose_encoding, provenance
from facetools.commands.job import Failure, Job, pluralize
from facetools.commands.options import AttributesOption, Format, Output, TableInput
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.clustering import Points
    from facetools.table.columns import Table

MethodName = Literal["kmeans", "agglomerative", "dbscan", "birch", "spectral", "optics"]


@command
def fa_cluster(
    job: Job,
    source: TableInput = "-",
    *,
    k: Annotated[int | None, typer.Option("-k", metavar="N", min=1, help="The number of clusters.")] = None,
    method: Annotated[MethodName, typer.Option(help="dbscan and optics find the number of clusters.")] = "kmeans",
    attributes: AttributesOption = None,
    column: Annotated[
        Literal["scores", "labels"] | None, typer.Option(help="What to cluster by; scores where there are any.")
    ] = None,
    threshold: Annotated[float, typer.Option(metavar="X", help="An attribute is present from this score on.")] = 0.5,
    soft: Annotated[bool, typer.Option("--soft", help="Cluster the scores themselves, without a threshold.")] = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="none|common|rare|FILE",
            help="Multiply attributes by the paper's weights by frequency, or by those in a JSON object.",
        ),
    ] = "none",
    frequencies: Annotated[
        Literal["celeba", "data"], typer.Option(help="Where the frequencies of --weights are from.")
    ] = "celeba",
    linkage: Annotated[
        Literal["ward", "complete", "average", "single"], typer.Option(help="Agglomerative: how clusters are compared.")
    ] = "ward",
    metric: Annotated[
        Literal["euclidean", "manhattan", "cosine", "l1", "l2"],
        typer.Option(help="Agglomerative, DBSCAN, OPTICS: the distance; ward takes euclidean only."),
    ] = "euclidean",
    eps: Annotated[float, typer.Option(metavar="X", help="DBSCAN: the radius of a neighbourhood.")] = 0.5,
    min_samples: Annotated[
        int, typer.Option(metavar="N", help="DBSCAN, OPTICS: faces that make a neighbourhood dense.")
    ] = 5,
    engine: Annotated[
        Literal["auto", "sklearn"],
        typer.Option(help="sklearn leaves the compiled core out, for comparison; FAISS then does all of K-Means."),
    ] = "auto",
    birch_threshold: Annotated[float, typer.Option(metavar="X", help="BIRCH: the radius of a subcluster.")] = 0.5,
    redo: Annotated[int, typer.Option(metavar="N", help="K-Means: how often to start anew; the best is kept.")] = 1,
    summary: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write what was done and how good it is, as JSON.")
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="FROM:TO", help="Write the summary of each method for each k instead of a table."),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="LIST", help="The methods of --compare, separated by commas.")
    ] = "kmeans,agglomerative,dbscan",
    output: Output = "-",
    format: Format = None,
) -> None:
    """Cluster faces by their attributes.

    TABLE is a face table, a CelebA attribute list, or a plain NumPy array: scores, 0/1 attributes, embeddings (with
    --soft) or packed uint64 codes. Cluster 0 is the largest; -1 is noise. Every face counts: faces that share their
    attributes are clustered once, with their number as weight.
    \f
    Examples:
      fa-cluster scores.jsonl -k 16 --attributes paper10 --summary summary.json > clusters.jsonl
      fa-cluster scores.npy --method dbscan --eps 1 --min-samples 20 -o clusters.npy
      fa-cluster list_attr_celeba.txt -k 8 --attributes Smiling,Male,Young,Eyeglasses > clusters.jsonl
      fa-cluster scores.npy --attributes paper10 --compare 2:50 --methods kmeans,dbscan > comparison.jsonl
    """

    from facetools.clustering import Monitor, Parameters, check_parameters
    from facetools.clustering.runs import METHODS, cluster
    from facetools.clustering.runs import compare as compare_methods
    from facetools.runtime import files
    from facetools.table import jsonl, streams

    ks, chosen_methods = _sweep(compare), methods.split(",")
    unknown = [name for name in chosen_methods if name not in METHODS]
    if unknown:
        raise typer.BadParameter(f"'{unknown[0]}' is no method; there are {', '.join(METHODS)}", param_hint="--methods")
    try:
        parameters = Parameters(
            redo,
            linkage,
            metric,
            eps,
            min_samples,
            birch_threshold,
            engine,
            job.seed,
            job.device,
            job.jobs,
            Monitor(lambda what, seconds, needed: job.say(_foretold(what, seconds, needed)), job.stage),
        )
        for name in chosen_methods if ks is not None else [method]:
            check_parameters(parameters, name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if ks is not None and (k is not None or summary is not None or format == "npy"):
        raise typer.BadParameter(
            "it writes a summary, as JSONL, for each number of clusters; -k, --summary and --format npy do not apply",
            param_hint="--compare",
        )
    takes_k = method not in ("dbscan", "optics")
    if ks is None and takes_k and k is None:
        raise typer.BadParameter(f"the method {method} needs the number of clusters", param_hint="-k")
    if k is not None and not takes_k:
        raise typer.BadParameter(f"the method {method} finds the number of clusters itself", param_hint="-k")
    if summary in ("-", output):
        raise typer.BadParameter("the table goes there; name another file", param_hint="--summary")
    check_output(output, format)
    if summary is not None:
        check_output(summary, "json")

    started = time.perf_counter()
    faces, encoding = streams.read_table(source)
    faces = _usable(job, faces, column)
    points = _points(faces, attributes, column, threshold, soft, weights, frequencies)
    read = time.perf_counter() - started
    job.detail(
        f"{points.faces:,} faces have {len(points.counts):,} distinct codes of {points.rows.shape[1]} attributes"
    )

    if ks is not None:
        found = 0
        with streams.open_output(output) as stream, job.progress("clusterings") as advance:
            for figures in compare_methods(
                points, chosen_methods, ks, parameters, on_failure=job.report_failure, on_result=lambda: advance(1)
            ):
                stream.write(jsonl.encode_record(figures))
                stream.flush()
                found += 1
            if not found:
                raise Failure("there is nothing to compare")
        job.done(f"{pluralize(found, 'clustering')} of {pluralize(points.faces, 'face')}")
        return

    clustering = cluster(points, method, k, parameters, judge=summary is not None)
    started = time.perf_counter()
    with files.atomic_writer(summary) if summary is not None else nullcontext() as told:
        with streams.open_writer(output, choose_encoding(format, output, encoding)) as writer:
            writer.write(_with_cluster(faces, clustering.labels))
        if told is not None:
            seconds = {
                "read": round(read, 3),
                **clustering.figures["seconds"],
                "write": round(time.perf_counter() - started, 3),
            }
            content = clustering.figures | {"seconds": seconds, "made_by": provenance(job, [source])}
            told.write(json.dumps(content, indent=1).encode() + b"\n")
    figures = clustering.figures
    noise = f", {figures['noise']:,} noise" if figures["noise"] else ""
    job.done(f"{pluralize(points.faces, 'face')} in {pluralize(figures['clusters'], 'cluster')}{noise}")


def _foretold(what: str, seconds: float, needed: int) -> str:
    """What is said before a long run: two digits are as much as is known of its time."""
    unit, length = ("s", 1) if seconds < 100 else ("minutes", 60) if seconds < 6000 else ("hours", 3600)
    return f"{what}: about {float(f'{seconds / length:.2g}'):,g} {unit} and {max(needed / 1e9, 0.1):.1f} GB"


def _sweep(compare: str | None) -> range | None:
    if compare is None:
        return None
    first, _, last = compare.partition(":")
    if not (first.isdigit() and (last or first).isdigit() and 1 <= int(first) <= int(last or first)):
        raise typer.BadParameter(
            f"'{compare}' is no range of numbers of clusters, such as 2:50", param_hint="--compare"
        )
    return range(int(first), int(last or first) + 1)


def _usable(job: Job, faces: Table, column: str | None) -> Table:
    """The faces whose scores are numbers; the others are left out."""
    import numpy as np

    if faces.scores is None or column == "labels":
        return faces
    bad = ~np.isfinite(faces.scores.values).all(axis=1)
    if not bad.any():
        return faces
    for row in np.flatnonzero(bad).tolist():
        wrong = int(np.flatnonzero(~np.isfinite(faces.scores.values[row]))[0])
        job.report_failure(
            faces.path(row), f"its score of {faces.scores.names[wrong]} is {faces.scores.values[row, wrong]}"
        )
    return faces.take(~bad)


def _points(
    faces: Table,
    attributes: str | None,
    column: str | None,
    threshold: float,
    soft: bool,
    weights: str,
    frequencies: str,
) -> Points:
    """What to cluster: the chosen attributes of the faces, weighted."""
    import numpy as np

    from facetools.clustering import points
    from facetools.clustering.codes import unpack
    from facetools.table.attributes import default_attribute_names, select_attributes

    if faces.codes is not None:
        names = default_attribute_names(64 * faces.codes.shape[1])
        if soft or weights != "none":
            raise typer.BadParameter("packed codes have no names and no scores; --soft and --weights do not apply")
        chosen = select_attributes(attributes, names) if attributes else names
        if chosen == names:
            return points.from_codes(faces.codes, len(names))
        bits = unpack(faces.codes, len(names))
        return points.from_bits(np.ascontiguousarray(bits[:, [names.index(name) for name in chosen]]))
    known = faces.labels if column == "labels" or (column is None and faces.scores is None) else faces.scores
    if known is None:
        raise Failure(f"the table has no column '{column or 'scores'}'; fa-predict makes one")
    chosen = select_attributes(attributes, known.names) if attributes else known.names
    values = known.select(chosen)
    outside = known is faces.scores and not soft and len(values) and (values.min() < 0 or values.max() > 1)
    if outside:
        raise Failure("there are values outside of 0 to 1, so they are no scores; --soft clusters them as they are")
    present = values >= threshold if known is faces.scores else values != 0
    weighting = _weights(weights, frequencies, chosen, present)
    if soft:
        return points.from_values(values.astype(np.float32), weighting)
    return points.from_bits(np.ascontiguousarray(present).view(np.uint8), weighting)


def _weights(weights: str, frequencies: str, names: tuple[str, ...], present: np.ndarray) -> np.ndarray | None:
    import numpy as np

    from facetools.table.attributes import FREQUENCIES, frequency_weights

    if weights == "none":
        return None
    if weights in ("common", "rare"):
        if frequencies == "data":
            share = dict(zip(names, present.mean(axis=0).tolist(), strict=True))
        else:
            unknown = [name for name in names if name not in FREQUENCIES]
            if unknown:
                raise Failure(f"CelebA has no attribute '{unknown[0]}'; take --frequencies data")
            share = {name: FREQUENCIES[name] for name in names}
        by_name = frequency_weights(share, weights)
    else:
        try:
            by_name = {str(name): float(weight) for name, weight in json.loads(Path(weights).read_bytes()).items()}
        except (ValueError, AttributeError, TypeError):
            raise Failure(f"{weights}: not a JSON object of a weight for each attribute") from None
    missing = [name for name in names if name not in by_name]
    if missing:
        raise Failure(f"{weights}: no weight for the attribute '{missing[0]}'")
    found = np.array([by_name[name] for name in names])
    if not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise Failure(f"{weights}: weights must be finite, not negative and not all 0")
    return found


def _with_cluster(faces: Table, labels: np.ndarray) -> Table:
    """The table with its cluster column; packed codes are left out, as they are no column of a face table."""
    from dataclasses import replace

    return replace(faces, cluster=labels, codes=None)


main = fa_cluster

if __name__ == "__main__":
    main()
