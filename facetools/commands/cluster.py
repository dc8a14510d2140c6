"""fa-cluster: read a face table, write it with a cluster per face, or write a comparison of methods."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facetools.commands.files import provenance
from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.options import (
    INPUT,
    METHOD,
    OUTPUT,
    AttributesOption,
    Format,
    Output,
    TableInput,
    refuse_unused,
)
from facetools.commands.outputs import check_distinct, check_output, choose_encoding
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.clustering import Clustering, Parameters, Points
    from facetools.clustering.rules import Rule
    from facetools.table.columns import Table

COMPARISON = "Comparison options"

#: The rules of more clusters than this are not printed.
MAX_PRINTED_RULES = 20

#: Rows with posteriors that are written at a time.
POSTERIOR_ROWS = 8192

#: The field of clustering.Parameters that each option of a method sets.
PARAMETER_OF_OPTION = {
    "redo": "redo",
    "linkage": "linkage",
    "metric": "metric",
    "eps": "eps",
    "min_samples": "min_samples",
    "birch_threshold": "threshold",
}

MethodName = Literal["kmeans", "kmedians", "mixture", "agglomerative", "dbscan", "birch", "spectral", "optics"]


@command
def fa_cluster(
    job: Job,
    source: TableInput = "-",
    *,
    attributes: AttributesOption = None,
    column: Annotated[
        Literal["scores", "labels"] | None,
        typer.Option(help="Column to cluster by. By default scores, else labels.", rich_help_panel=INPUT),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(metavar="X", help="An attribute is present if its score is at least X.", rich_help_panel=INPUT),
    ] = 0.5,
    soft: Annotated[
        bool,
        typer.Option(
            "--soft", help="Cluster the scores or embeddings as they are, without a threshold.", rich_help_panel=INPUT
        ),
    ] = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="none|common|rare|FILE",
            help="Weights of the attributes: the paper's weights that favor common or rare attributes, or a JSON "
            "object of name and weight.",
            rich_help_panel=INPUT,
        ),
    ] = "none",
    frequencies: Annotated[
        Literal["celeba", "data"],
        typer.Option(
            help="Attribute frequencies for --weights: those of CelebA or of the input.", rich_help_panel=INPUT
        ),
    ] = "celeba",
    k: Annotated[
        int | None,
        typer.Option(
            "-k",
            metavar="N",
            min=1,
            help="Number of clusters; required unless the method is dbscan or optics.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    method: Annotated[
        MethodName,
        typer.Option(
            help="Clustering method; dbscan and optics choose the number of clusters.", rich_help_panel=METHOD
        ),
    ] = "kmeans",
    redo: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="K-Means, K-Medians, mixture: number of starts; the best result wins. By default 10; K-Means: 1.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    linkage: Annotated[
        Literal["ward", "complete", "average", "single"],
        typer.Option(help="Agglomerative: linkage criterion.", rich_help_panel=METHOD),
    ] = "ward",
    metric: Annotated[
        Literal["euclidean", "manhattan", "cosine", "l1", "l2"],
        typer.Option(
            help="Distance between faces. K-Means takes euclidean, or cosine for spherical K-Means; ward linkage takes "
            "euclidean; complete, average and single linkage, DBSCAN and OPTICS take all.",
            rich_help_panel=METHOD,
        ),
    ] = "euclidean",
    eps: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="DBSCAN: largest distance of neighbors; euclidean: the root of the number of differing attributes.",
            rich_help_panel=METHOD,
        ),
    ] = 0.5,
    min_samples: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="DBSCAN, OPTICS: faces in the neighborhood of a core sample, itself included.",
            rich_help_panel=METHOD,
        ),
    ] = 5,
    birch_threshold: Annotated[
        float, typer.Option(metavar="X", help="BIRCH: largest radius of a subcluster.", rich_help_panel=METHOD)
    ] = 0.5,
    engine: Annotated[
        Literal["auto", "sklearn"],
        typer.Option(
            help="sklearn clusters without the compiled core, for comparison; K-Means then runs on FAISS.",
            rich_help_panel=METHOD,
        ),
    ] = "auto",
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="FROM:TO",
            help="Instead of a table, write one record per method and number of clusters, as JSONL.",
            rich_help_panel=COMPARISON,
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(metavar="LIST", help="Methods to compare, separated by commas.", rich_help_panel=COMPARISON),
    ] = "kmeans,agglomerative,dbscan",
    output: Output = "-",
    format: Format = None,
    soft_labels: Annotated[
        bool,
        typer.Option(
            "--soft-labels",
            help="Mixture: also write the probability of each cluster for each face, as JSONL key posteriors.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    summary: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Also write parameters, inertia, silhouette, times and the rule of each cluster as JSON.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Cluster faces by their attributes.

    TABLE is a face table, a CelebA attribute list, or a plain NumPy array: scores, 0/1 attributes, embeddings (with
    --soft) or packed uint64 codes. The output is the table with a cluster number per face. Cluster 0 is the largest; -1
    is noise.

    Faces with equal attributes are clustered once, with their number as weight. The result is that of all faces.
    \f
    Examples:
      fa-cluster scores.jsonl -k 16 --attributes paper10 --summary summary.json > clusters.jsonl
      fa-cluster scores.npy --method dbscan --eps 1 --min-samples 20 -o clusters.npy
      fa-cluster list_attr_celeba.txt -k 8 --attributes Smiling,Male,Young,Eyeglasses > clusters.jsonl
      fa-cluster scores.npy --attributes paper10 --compare 2:50 --methods kmeans,dbscan > comparison.jsonl
    """
    from facetools.clustering import (
        Monitor,
        Parameters,
        check_comparison,
        check_k,
        check_parameters,
        cluster,
        supports_missing,
    )
    from facetools.table import streams

    ks = _parse_range(compare)
    method_names: list[str] = [method]
    if ks is not None:
        method_names = list(dict.fromkeys(name.strip() for name in methods.split(",")))
    try:
        parameters = Parameters(
            redo=redo,
            linkage=linkage,
            metric=metric,
            eps=eps,
            min_samples=min_samples,
            threshold=birch_threshold,
            engine=engine,
            seed=job.seed,
            device=job.device,
            jobs=job.jobs,
            monitor=Monitor(lambda *forecast: job.say(_forecast_message(*forecast)), job.stage),
        )
        if ks is None:
            check_parameters(parameters, method)
            check_k(k, method)
        else:
            for name in check_comparison(parameters, method_names):
                job.say(f"{name} does not support {metric} distances; it is compared with euclidean distances")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    _refuse_unused_options(job, method_names, ks is not None, soft, column, weights, frequencies)
    if ks is not None and (k is not None or summary is not None or choose_encoding(format, output) == "npy"):
        raise typer.BadParameter(
            "it writes JSONL records for several numbers of clusters; -k, --summary and --format npy do not apply",
            param_hint="--compare",
        )
    if soft_labels and (ks is not None or method != "mixture"):
        reason = "with --compare" if ks is not None else f"with the method {method}; it is for mixture"
        refuse_unused(job.given, ["soft_labels"], reason)
    check_output(output, table=format is None)
    if summary is not None:
        check_output(summary, "--summary")
    check_distinct({"--output": output, "--summary": summary}, [weights])
    check_distinct({"--summary": summary}, [source])  # the output may replace the table, which is read before

    read_start = time.perf_counter()
    faces, encoding = streams.read_table(source)
    encoding = choose_encoding(format, output, encoding) if ks is None else "jsonl"
    if soft_labels and encoding == "npy":
        raise typer.BadParameter("NPY has no column for posteriors; use --format jsonl", param_hint="--soft-labels")
    faces = _drop_invalid_scores(job, faces, column, soft, allow_missing=supports_missing(method_names) and not soft)
    if not len(faces):
        raise CommandError("there are no faces to cluster")
    points, names = _build_points(job, faces, attributes, column, threshold, soft, weights, frequencies)
    read_seconds = time.perf_counter() - read_start
    kind = "rows" if points.packed_codes is None else "codes"
    job.detail(
        f"{points.faces:,} faces have {len(points.counts):,} distinct {kind} of {points.rows.shape[1]} attributes"
    )
    if ks is not None:
        _write_comparison(job, points, method_names, ks, parameters, output)
        return

    if points.has_missing and ks is None and encoding == "jsonl":
        raise CommandError("some scores are missing (NaN), which JSONL cannot hold; use --format npy")
    clustering = cluster(
        points, method, k, parameters, with_silhouette=summary is not None, with_posteriors=soft_labels
    )
    figures = clustering.figures
    explain_start = time.perf_counter()
    rules = _find_rules(job, points, clustering, names, summary)
    explain_seconds = {} if rules is None else {"rules": round(time.perf_counter() - explain_start, 3)}
    write_start = time.perf_counter()
    with (
        streams.open_output(summary) if summary is not None else nullcontext() as summary_stream,
        streams.open_writer(output, encoding) as writer,
    ):
        for block in _labeled_blocks(faces, clustering, points):
            writer.write(block)
        writer.close()
        if summary_stream is not None:
            seconds = {
                "read": round(read_seconds, 3),
                **figures["seconds"],
                **explain_seconds,
                "write": round(time.perf_counter() - write_start, 3),
            }
            explanations = _explanations(clustering, rules)
            content = figures | {
                **_components_record(clustering, names),
                "seconds": seconds,
                "explanations": explanations,
                "made_by": provenance(job, [source]),
            }
            summary_stream.write(json.dumps(content, indent=1).encode() + b"\n")
            summary_stream.flush()  # if this fails, the table is not written either
    if k is not None and figures["clusters"] < k:
        job.say(f"{method} left {k - figures['clusters']} of the {k} clusters empty")
    if rules is not None and len(rules) <= MAX_PRINTED_RULES:
        for number, rule in enumerate(rules):
            if rule.other_share is not None:  # a cluster of all faces needs no rule
                job.say(f"cluster {number} ({pluralize(rule.faces, 'face')}): {rule.text}")
    noise = f", {figures['noise']:,} noise ({figures['noise_share']:.1%})" if figures["noise"] else ""
    job.done(f"{pluralize(points.faces, 'face')} in {pluralize(figures['clusters'], 'cluster')}{noise}")


def _refuse_unused_options(
    job: Job,
    methods: list[str],
    is_comparison: bool,
    soft: bool,
    column: str | None,
    weights: str,
    frequencies: str,
) -> None:
    """Raise a usage error for an option that has no effect with the other options."""
    from facetools.clustering import methods_using

    if is_comparison:
        refuse_unused(job.given, ["method"], "with --compare; --methods names the methods to compare")
    else:
        refuse_unused(job.given, ["methods"], "without --compare; --method names the method")
    given = {option: parameter for option, parameter in PARAMETER_OF_OPTION.items() if option in job.given}
    if job.device.startswith("cuda"):
        given["device"] = "device"
    noun = "method" if len(methods) == 1 else "methods"
    for option, parameter in given.items():
        users = methods_using(parameter)
        if not set(methods) & set(users):
            refuse_unused([option], [option], f"with the {noun} {', '.join(methods)}; it is for {', '.join(users)}")
    uses_frequencies = weights in ("common", "rare")
    if not uses_frequencies:
        refuse_unused(job.given, ["frequencies"], "without --weights common or --weights rare")
    if soft and not (uses_frequencies and frequencies == "data"):
        refuse_unused(job.given, ["threshold"], "with --soft")
    if column == "labels":
        refuse_unused(job.given, ["threshold"], "on labels, which are 0 or 1")


def _find_rules(
    job: Job, points: Points, clustering: Clustering, names: tuple[str, ...], summary: str | None
) -> list[Rule] | None:
    """Return the rule of each cluster; None if there is no use for them, or no attributes to make rules of."""
    from facetools.clustering.rules import rules_of_points

    is_printed = clustering.figures["clusters"] <= MAX_PRINTED_RULES and not job.quiet
    if points.packed_codes is None or not (is_printed or summary is not None):
        return None
    try:
        with job.stage("the rules of the clusters") as progress:
            return rules_of_points(points, clustering.labels, names, jobs=job.jobs, progress=progress)
    except ValueError as error:  # too many attributes
        job.say(f"no rules for the clusters; {error}")
        return None


def _explanations(clustering: Clustering, rules: list[Rule] | None) -> list[dict[str, object]]:
    """Return the record of each cluster in the summary."""
    import numpy as np

    labels = clustering.labels
    sizes = np.bincount(labels[labels >= 0], minlength=clustering.figures["clusters"]).tolist()
    return [
        {"cluster": number, "faces": size, "rule": None if rules is None else _rule_record(rules[number])}
        for number, size in enumerate(sizes)
    ]


def _components_record(clustering: Clustering, names: tuple[str, ...]) -> dict[str, object]:
    """Return the components of a mixture for the summary, in the order of the clusters; nothing for other methods."""
    if clustering.components is None:
        return {}
    components = zip(clustering.components.weights.tolist(), clustering.components.probabilities.tolist(), strict=True)
    return {
        "components": [
            {"weight": weight, "probabilities": dict(zip(names, row, strict=True))} for weight, row in components
        ]
    }


def _rule_record(rule: Rule) -> dict[str, object]:
    shares = {
        "precision": rule.precision,
        "recall": rule.recall,
        "f1": rule.f1,
        "other_faces": rule.other_share,
    }
    return {
        "text": rule.text,
        "literals": [{"attribute": literal.attribute, "present": literal.is_present} for literal in rule.literals],
        **{name: None if share is None else round(share, 6) for name, share in shares.items()},
    }


def _write_comparison(
    job: Job, points: Points, methods: Iterable[str], ks: range, parameters: Parameters, output: str
) -> None:
    """Write one JSONL record per clustering, each as soon as it is computed."""
    from facetools.clustering import compare
    from facetools.table import jsonl, streams

    count = 0
    with streams.open_output(output) as stream, job.progress("clusterings") as advance:
        for figures in compare(
            points, methods, ks, parameters, on_failure=job.report_failure, on_result=lambda: advance(1)
        ):
            stream.write(jsonl.encode_record(figures))
            stream.flush()
            count += 1
        if not count:
            raise CommandError("none of the methods could cluster the faces")
    job.done(f"{pluralize(count, 'clustering')} of {pluralize(points.faces, 'face')}")


def _forecast_message(task: str, seconds: float, memory_bytes: int) -> str:
    """Return a line about a long computation. The time is a rough estimate, so it has two digits."""
    unit, length = ("s", 1) if seconds < 100 else ("minutes", 60) if seconds < 6000 else ("hours", 3600)
    return f"{task}: about {float(f'{seconds / length:.2g}'):,g} {unit} and {max(memory_bytes / 1e9, 0.1):.1f} GB"


def _parse_range(compare: str | None) -> range | None:
    """Return the numbers of clusters of --compare, `FROM:TO` or a single number."""
    if compare is None:
        return None
    match = re.fullmatch("([0-9]{1,15})(?::([0-9]{1,15}))?", compare)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise typer.BadParameter(
            f"'{compare}' is not a range of numbers of clusters, such as 2:50", param_hint="--compare"
        )
    return range(first, last + 1)


def _drop_invalid_scores(
    job: Job, faces: Table, column: str | None, soft: bool, *, allow_missing: bool = False
) -> Table:
    """Return the faces whose scores are all numbers in range, and report the others. NaN is a missing score."""
    import numpy as np

    from facetools.clustering.vectors import MAX_VALUE

    if faces.scores is None or column == "labels":
        return faces
    is_valid = np.abs(faces.scores.values) <= MAX_VALUE
    if allow_missing:
        is_valid |= np.isnan(faces.scores.values)
    valid = is_valid.all(axis=1)
    if valid.all():
        return faces
    for row in np.flatnonzero(~valid).tolist():
        first = int(np.flatnonzero(~is_valid[row])[0])
        name, score = faces.scores.names[first], faces.scores.values[row, first]
        limit = "" if np.isnan(score) else f", but the largest that can be clustered is {MAX_VALUE:g}"
        job.report_failure(faces.path(row), f"its {'value' if soft else 'score'} of {name} is {score}{limit}")
    return faces.take(valid)


def _build_points(
    job: Job,
    faces: Table,
    attributes: str | None,
    column: str | None,
    threshold: float,
    soft: bool,
    weights: str,
    frequencies: str,
) -> tuple[Points, tuple[str, ...]]:
    """Return the points to cluster, the selected attributes of the faces with their weights, and the attributes."""
    import numpy as np

    from facetools.clustering import points
    from facetools.clustering.codes import unpack
    from facetools.table.attributes import default_attribute_names, select_attributes

    if faces.codes is not None:
        names = default_attribute_names(64 * faces.codes.shape[1])
        if soft or weights != "none":
            raise typer.BadParameter("packed codes have no names and no scores; --soft and --weights do not apply")
        refuse_unused(job.given, ["threshold", "column"], "on packed codes")
        selected = select_attributes(attributes, names) if attributes else names
        if selected == names:
            return points.from_codes(faces.codes, len(names)), names
        bits = unpack(faces.codes, len(names))
        chosen = np.ascontiguousarray(bits[:, [names.index(name) for name in selected]])
        return points.from_bits(chosen), selected
    columns = faces.labels if column == "labels" or (column is None and faces.scores is None) else faces.scores
    if columns is None:
        raise CommandError(f"the table has no column '{column or 'scores'}'; fa-predict makes one")
    selected = select_attributes(attributes, columns.names) if attributes else columns.names
    values = columns.select(selected)
    is_scores = columns is faces.scores
    if not is_scores:
        refuse_unused(job.given, ["threshold"], "on labels, which are 0 or 1")
    # Of the numbers among the values: NaN is a missing score.
    smallest, largest = np.fmin.reduce(values, axis=None, initial=0), np.fmax.reduce(values, axis=None, initial=0)
    if is_scores and not soft and (smallest < 0 or largest > 1):
        raise CommandError("some values are outside 0 to 1, so they are not scores; --soft clusters them as they are")
    present = values >= threshold if is_scores else values != 0
    attribute_weights = _attribute_weights(weights, frequencies, selected, present)
    if soft:
        return points.from_values(values.astype(np.float32, copy=False), attribute_weights), selected
    if is_scores and np.isnan(values.min(initial=0)):
        partial = np.where(np.isnan(values), np.float32(np.nan), present.astype(np.float32))
        return points.from_partial(partial, attribute_weights), selected
    return points.from_bits(np.ascontiguousarray(present).view(np.uint8), attribute_weights), selected


def _attribute_weights(
    weights: str, frequencies: str, names: tuple[str, ...], present: np.ndarray
) -> np.ndarray | None:
    """Return the weights of the attributes `names`, float64 (a,), as --weights says; None means no weights.

    `present`, bool (n, a), gives the frequencies for --frequencies data.
    """
    import numpy as np

    from facetools.table.attributes import FREQUENCIES, frequency_weights

    if weights == "none":
        return None
    if weights in ("common", "rare"):
        if frequencies == "data":
            shares = dict(zip(names, present.mean(axis=0).tolist(), strict=True))
        else:
            unknown = [name for name in names if name not in FREQUENCIES]
            if unknown:
                raise CommandError(f"CelebA has no attribute '{unknown[0]}'; use --frequencies data")
            shares = {name: FREQUENCIES[name] for name in names}
        by_name = frequency_weights(shares, weights)
    else:
        by_name = _read_weights(weights)
    missing = [name for name in names if name not in by_name]
    if missing:
        raise CommandError(f"{weights}: no weight for the attribute '{missing[0]}'")
    return np.array([by_name[name] for name in names])


def _read_weights(path: str) -> dict[str, float]:
    """Return the weights in a JSON object of name and number."""
    from collections import Counter

    def parse_object(pairs: list[tuple[str, object]]) -> dict[str, float]:
        repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
        if repeated:
            raise CommandError(f"{path}: two weights for the attribute '{repeated[0]}'")
        for name, weight in pairs:
            if isinstance(weight, bool) or not isinstance(weight, int | float):
                raise CommandError(f"{path}: the weight of '{name}' is not a number")
        return {name: float(weight) for name, weight in pairs}  # type: ignore[arg-type]

    try:
        weights = json.loads(Path(path).read_bytes(), object_pairs_hook=parse_object)
    except (ValueError, OverflowError, RecursionError):
        weights = None
    if not isinstance(weights, dict):
        raise CommandError(f"{path}: not a JSON object with a number for each attribute")
    return weights


def _labeled_blocks(faces: Table, clustering: Clustering, points: Points) -> Iterator[Table]:
    """Yield the table with a cluster column, and with posteriors if there are any.

    Packed codes are dropped: a face table has no column for them. Posteriors come block by block, because their Python
    objects take much memory.
    """
    from dataclasses import replace

    import numpy as np

    faces = replace(faces, cluster=clustering.labels, codes=None)
    if clustering.posteriors is None:
        yield faces
        return
    for first in range(0, len(faces), POSTERIOR_ROWS):
        rows = np.arange(first, min(first + POSTERIOR_ROWS, len(faces)))
        block = faces.take(rows)
        posteriors = clustering.posteriors[points.inverse[rows]].round(6).tolist()
        extras = block.extras or [{}] * len(rows)
        yield replace(
            block,
            extras=[extra | {"posteriors": values} for extra, values in zip(extras, posteriors, strict=True)],
        )


main = fa_cluster

if __name__ == "__main__":
    main()
