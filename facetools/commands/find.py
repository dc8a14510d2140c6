"""fa-find: read a face table, write the rows that match a description best."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.options import INPUT, METHOD, OUTPUT, Output, TableInput, refuse_unused
from facetools.commands.outputs import check_distinct, check_images_stay, check_output, choose_encoding
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.network.architecture import ModelConfig
    from facetools.network.calibration import Calibration
    from facetools.search import Best, Ranking
    from facetools.search import Literal as Term
    from facetools.table.scanning import AttributeColumn, Block
    from facetools.table.streams import Encoding


@command
def fa_find(
    job: Job,
    query: Annotated[
        str,
        typer.Argument(
            metavar="[QUERY]",
            help="Terms separated by commas: attributes or synonyms of them, in any case. no, not, without or - before "
            "a term negates it; :2 after it is its weight. Omit it with --queries; it may be empty with --like.",
        ),
    ] = "",
    source: TableInput = "-",
    *,
    queries: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Read queries from FILE, one per line, instead of QUERY.", rich_help_panel=INPUT
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Prefer faces like this one: a path in the table, or an image, which the model scores.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE",
            help="Checkpoint that predicted the scores; its calibration is used. By default the starter model.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    ranking: Annotated[
        Literal["mixture", "log-odds"],
        typer.Option(
            help="Rank by the probability that the whole description holds (mixture), or by the sum of the log-odds of "
            "its terms.",
            rich_help_panel=METHOD,
        ),
    ] = "mixture",
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=1, help="Largest number of rows.", rich_help_panel=OUTPUT)
    ] = 20,
    at_least: Annotated[
        float,
        typer.Option(metavar="P", min=0, max=1, help="Smallest probability of a row.", rich_help_panel=OUTPUT),
    ] = 0.0,
    by: Annotated[
        Literal["face", "photo"],
        typer.Option(
            help="Count faces, or only the best face of each photo, which the key source names.",
            rich_help_panel=OUTPUT,
        ),
    ] = "face",
    terms: Annotated[
        bool, typer.Option("--terms", help="Print the attributes and their synonyms and exit.", rich_help_panel=OUTPUT)
    ] = False,
    output: Output = "-",
    format: Annotated[
        Literal["jsonl", "npy"] | None,
        typer.Option(
            "--format",
            help="Encoding of the output table. By default the suffix of FILE decides, else jsonl.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Find the faces that match a description.

    Writes the rows of the table that match best, best first, with their columns and keys and the key match: the
    probability that the whole description holds.
    \f
    Examples:
      fa-find "eyeglasses, no beard, gray hair" scores.npy -n 20
      fa-find "woman, hat:2, not smiling" clusters.jsonl --at-least 0.5 | fa-report - --faces 200 -o found.html
      fa-find "" scores.npy --like faces/000123.jpg -n 50 > similar.jsonl
      fa-find "smiling" --like me.jpg scores.npy > smiling.jsonl
      fa-predict crops/ | fa-find "young man" --by photo
      fa-find --queries queries.txt scores.npy > results.jsonl
    """
    from facetools import search
    from facetools.network.checkpoint import STARTER_MODEL, parse_entries, read_entries
    from facetools.table import scanning

    if terms:
        _print_terms()
        return
    if queries is not None and query:
        # With --queries the only argument is the table.
        if source != "-":
            raise typer.BadParameter("give QUERY or --queries, not both", param_hint="--queries")
        query, source = "", query
    if queries is None and not query.strip(", ") and like is None:
        raise typer.BadParameter("give a QUERY, --queries or --like", param_hint="QUERY")
    if queries is None and not query.strip(", "):
        refuse_unused(job.given, ["at_least", "ranking"], "without terms")
    check_output(output, table=format is None)
    check_distinct({"--output": output}, [source, queries, like, model])
    if [source, queries].count("-") > 1:
        raise typer.BadParameter("only one input can be standard input (-)")
    encoding = choose_encoding(format, output)
    if encoding == "npy" and queries is not None:
        raise typer.BadParameter("NPY has no room for the key query", param_hint="--queries")
    texts = [query] if queries is None else _read_queries(queries)

    # Errors in the next block are named after the table, so the model is read before it.
    checkpoint = STARTER_MODEL if model is None else Path(model)
    entries = read_entries(checkpoint)
    config = parse_entries(checkpoint, entries)

    with scanning.open_scan(source) as blocks:
        first, blocks = _peek(blocks)
        column = _attribute_column(first, source)
        names = first.names(column) or ()
        parsed = _parse(texts, names, allow_empty=like is not None, from_file=queries)
        for literals in parsed:
            for literal in literals:
                if literal.attribute not in names:
                    raise CommandError(f"the table has no {column} of {literal.attribute}")
        calibration = _calibration(job, model, config, entries, names) if column == "scores" else None
        reference = None
        if like is not None:
            blocks, reference = _find_reference(job, like, source, blocks, column, names, calibration, model)
        group = "source" if by == "photo" else None
        searches = [
            _Search.create(text, literals, names, calibration, ranking, search.Best(count, group))
            for text, literals in zip(texts, parsed, strict=True)
        ]
        rows, has_source = 0, False
        with job.progress("faces") as advance:
            for block in blocks:
                has_source = has_source or by == "face" or block.has_key("source")
                job.failures += _search_block(block, rows, searches, column, names, calibration, reference, at_least)
                rows += len(block)
                advance(len(block))
    if not has_source and rows:
        raise CommandError("no row has the key 'source', which names the photo of a face; omit --by photo")
    if job.failures:
        reason = f"{pluralize(job.failures, 'face has', 'faces have')} scores that are not numbers"
        if job.on_error == "stop":
            raise CommandError(reason)
        job.announce(reason)
    _write(job, searches, first, output, encoding, with_query=queries is not None)
    job.done(f"{pluralize(rows, 'face')} searched")


@dataclass
class _Search:
    """One query on the table."""

    text: str
    columns: list[int]  # of its attributes, among those of the table
    ranking: Ranking | None  # None without terms
    best: Best

    @classmethod
    def create(
        cls,
        text: str,
        literals: list[Term],
        names: tuple[str, ...],
        calibration: Calibration | None,
        ranking: str,
        best: Best,
    ) -> _Search:
        from facetools.network.calibration import Calibration
        from facetools.search import Ranking

        columns = [names.index(literal.attribute) for literal in literals]
        chosen = Calibration.identity(len(columns)) if calibration is None else calibration.select(columns)
        return cls(text, columns, Ranking(literals, chosen, ranking) if literals else None, best)


def _search_block(
    block: Block,
    start: int,
    searches: list[_Search],
    column: AttributeColumn,
    names: tuple[str, ...],
    calibration: Calibration | None,
    reference: np.ndarray | None,
    at_least: float,
) -> int:
    """Add the rows of a block to each search. Return the number of rows left out, because a score is NaN."""
    import numpy as np

    from facetools.search import expected_differences

    used = list(range(len(names)))
    if reference is None:
        used = sorted({number for search in searches for number in search.columns})
    values = block.values(column, [names[number] for number in used])
    is_nan = np.isnan(values).any(axis=1)
    if ((values < 0) | (values > 1)).any():
        row = int(np.argmax(((values < 0) | (values > 1)).any(axis=1)))
        raise CommandError(f"row {start + row} has a score that is not from 0 to 1")
    differences = None
    if reference is not None:
        probabilities = values.astype(np.float64) if calibration is None else calibration.probabilities(values)
        differences = expected_differences(probabilities, reference)
    for search in searches:
        keys, figures = np.zeros(len(block)), {}
        is_shown = ~is_nan
        if search.ranking is not None:
            places = [used.index(number) for number in search.columns]
            figures["match"], keys = search.ranking.rank(values[:, places])
            is_shown &= figures["match"] >= at_least
        if differences is not None:
            figures["differences"] = differences
            keys = keys - differences
        search.best.add(block, start, np.where(is_shown, keys, -np.inf), figures)
    return int(is_nan.sum())


def _read_queries(path: str) -> list[str]:
    """Return the lines of a file, without empty ones."""
    from facetools.table.content import open_content
    from facetools.table.encodings import decode_utf8
    from facetools.table.streams import open_input

    with open_input(path) as stream:
        texts = [line.strip() for line in decode_utf8(open_content(stream).read()).splitlines()]
    texts = [text for text in texts if text]
    if not texts:
        raise CommandError(f"{path}: there are no queries")
    return texts


def _parse(texts: list[str], names: Iterable[str], *, allow_empty: bool, from_file: str | None) -> list[list[Term]]:
    """Return the terms of each query. An invalid query is a usage error."""
    from facetools import search

    parsed = []
    for number, text in enumerate(texts, 1):
        try:
            parsed.append([] if allow_empty and not text.strip(", ") else search.parse_query(text, names))
        except search.QueryError as error:
            if from_file is None:
                raise typer.BadParameter(str(error), param_hint="QUERY") from None
            raise typer.BadParameter(f"query {number}: {error}", param_hint="--queries") from None
    return parsed


def _print_terms() -> None:
    from facetools.search import SYNONYMS
    from facetools.table.attributes import CELEBA40

    for name in CELEBA40:
        words = [name]
        words += [word for word, (attribute, present) in SYNONYMS.items() if attribute == name and present]
        print(", ".join(words))
        opposites = [word for word, (attribute, present) in SYNONYMS.items() if attribute == name and not present]
        if opposites:
            print(f"no {name}, {', '.join(opposites)}")
    sys.stdout.flush()


def _peek(blocks: Iterator[Block]) -> tuple[Block, Iterator[Block]]:
    """Return the first block, and all of them."""
    from itertools import chain

    first = next(blocks)
    return first, chain([first], blocks)


def _attribute_column(block: Block, source: str) -> AttributeColumn:
    """Return the column that is searched: scores, or labels if there are no scores."""
    for column in ("scores", "labels"):
        if block.names(column):
            return column
    name = "standard input" if source == "-" else source
    raise CommandError(f"{name}: the table has neither scores nor labels")


def _calibration(
    job: Job, model: str | None, config: ModelConfig, entries: dict[str, Any], names: tuple[str, ...]
) -> Calibration | None:
    """Return the calibration of the attributes `names` from the entries of a checkpoint, or None if it has none."""
    from facetools.network.calibration import Calibration

    shown = "the starter model" if model is None else model
    reason = "has no calibration"
    if "calibration" in entries:
        known = config.attributes
        missing = [name for name in names if name not in known]
        if not missing:
            calibration = Calibration.from_entry(entries["calibration"], len(known))
            return calibration.select([known.index(name) for name in names])
        reason = f"does not predict {missing[0]}"
    job.say(f"scores count as probabilities, because {shown} {reason}")
    return None


def _find_reference(
    job: Job,
    like: str,
    source: str,
    blocks: Iterator[Block],
    column: AttributeColumn,
    names: tuple[str, ...],
    calibration: Calibration | None,
    model: str | None,
) -> tuple[Iterator[Block], np.ndarray]:
    """Return the blocks of the table, which may have been read to find the face, and its probabilities (names,).

    A row with exactly this path comes first, then an existing image, then the row that table/matching.py finds.
    """
    from facetools.table import scanning

    if source == "-":
        stored = list(blocks)  # a stream is read only once
        exact, named = _find_rows(stored, like, column, names)
        blocks = iter(stored)
    else:
        with scanning.open_scan(source) as again:
            exact, named = _find_rows(again, like, column, names)
    if exact is not None:
        values, from_model = exact, False
    elif Path(like).is_file():
        values, from_model = _score_image(job, like, names, model), True
    else:
        values, from_model = _match_name(source, like, named), False
    if column == "labels" and not from_model:
        return blocks, values
    return blocks, values if calibration is None else calibration.probabilities(values[None])[0]


def _find_rows(
    blocks: Iterable[Block], like: str, column: AttributeColumn, names: tuple[str, ...]
) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
    """Return the values (names,) of the row with the path `like`, or None, and those of all rows with its file name."""
    import numpy as np

    def stem(path: str) -> str:
        return unicodedata.normalize("NFC", path.replace("\\", "/").rpartition("/")[2].partition(".")[0])

    named: dict[str, np.ndarray] = {}
    for block in blocks:
        paths = block.paths()
        if paths is None:
            raise CommandError("the table has no column 'path', by which --like could find a face")
        for row, path in enumerate(paths):
            if path == like or stem(path) == stem(like):
                values = block.values(column, names, np.array([row]))[0].astype(np.float64)
                if np.isnan(values).any():
                    raise CommandError(f"{path}, the face to compare with, has scores that are not numbers")
                if path == like:
                    return values, {}
                named.setdefault(path, values)
    return None, named


def _match_name(source: str, like: str, named: dict[str, np.ndarray]) -> np.ndarray:
    from facetools.table.matching import NameList

    if not named:
        raise CommandError(f"{like}: neither a path in the table nor an image")
    paths = list(named)
    row = int(NameList("standard input" if source == "-" else source, paths).match([like]).rows[0])
    return named[paths[row]]


def _score_image(job: Job, path: str, names: tuple[str, ...], model: str | None) -> np.ndarray:
    """Return the scores (names,) of one image."""
    from facetools.network.checkpoint import STARTER_MODEL
    from facetools.prediction.predictor import load_predictor, predict_images

    def fail(path: str, reason: str) -> None:
        raise CommandError(f"{path}: {reason}")

    predictor = load_predictor(STARTER_MODEL if model is None else Path(model), job.device, images=1)
    known = predictor.config.attributes
    missing = [name for name in names if name not in known]
    if missing:
        raise CommandError(f"{path}: the model does not predict {missing[0]}, which the table has")
    ((_, scores),) = predict_images(predictor, [path], 1, jobs=1, on_failure=fail)
    return scores[0][[known.index(name) for name in names]].astype("float64")


def _write(
    job: Job, searches: list[_Search], first: Block, output: str, encoding: Encoding, *, with_query: bool
) -> None:
    """Write the best rows of all queries, with the keys query, match and differences in JSONL."""
    import numpy as np

    from facetools.table import streams

    results = [search.best.result() for search in searches]
    check_images_stay(
        [("--output", output)],
        (table.path(row) for result in results if result for table in [result[0]] for row in range(len(table))),
    )
    with streams.open_writer(output, encoding) as writer:
        for search, result in zip(searches, results, strict=True):
            if result is None:
                job.say("no face matches" + (f" {search.text!r}" if with_query else ""))
                if encoding == "npy":
                    writer.write(first.take(np.empty(0, np.int64)))
                continue
            table, figures = result
            if encoding == "jsonl":
                keys: dict[str, list[Any]] = {"query": [search.text] * len(table)} if with_query else {}
                keys |= {name: [float(f"{value:.6g}") for value in values] for name, values in figures.items()}
                added = [dict(zip(keys, row, strict=True)) for row in zip(*keys.values(), strict=True)]
                extras = table.extras or [{}] * len(table)
                table = replace(table, extras=[row | new for row, new in zip(extras, added, strict=True)])
            writer.write(table)
    if encoding == "npy":
        job.say("the NPY table has no room for the key match; write JSONL for it")


main = fa_find

if __name__ == "__main__":
    main()
