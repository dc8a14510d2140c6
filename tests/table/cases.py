"""Tables for tests, and helpers that encode, decode and compare them."""

import io
import itertools
import json
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from facetools.table import columns, streams
from facetools.table.attributes import CELEBA40, PAPER37
from facetools.table.columns import AttributeColumns, Table

#: Hypothesis settings without time limits, because other work may share the cores.
no_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

FLOAT32 = np.finfo(np.float32)
EDGE_SCORES = [0.0, -0.0, 0.1, 1.0, 0.99999994, 5e-324, FLOAT32.smallest_subnormal, FLOAT32.tiny, FLOAT32.max]

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
attribute_names = st.lists(st.text("abcXYZ_ 0é", min_size=1, max_size=8), min_size=1, max_size=6, unique=True)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
extra_keys = st.dictionaries(texts.filter(lambda key: key not in columns.COLUMNS), json_values, max_size=3)
scores = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(EDGE_SCORES)


@st.composite
def tables(draw: st.DrawFn, *, extras: bool = False) -> Table:
    """A table of 1 to 8 rows with at least one column."""
    n = draw(st.integers(1, 8))
    present = draw(st.sets(st.sampled_from(["paths", "scores", "labels", "cluster"]), min_size=1))

    def attributes(values: st.SearchStrategy, dtype: type) -> AttributeColumns:
        names = draw(attribute_names)
        flat = draw(st.lists(values, min_size=n * len(names), max_size=n * len(names)))
        return AttributeColumns(tuple(names), np.array(flat, dtype).reshape(n, len(names)))

    rows = draw(st.lists(extra_keys, min_size=n, max_size=n)) if extras else []
    return Table(
        columns.encode_paths(draw(st.lists(texts, min_size=n, max_size=n))) if "paths" in present else None,
        attributes(scores, np.float32) if "scores" in present else None,
        attributes(st.integers(0, 1), np.uint8) if "labels" in present else None,
        np.array(draw(st.lists(st.integers(-1, 2**31 - 1), min_size=n, max_size=n)), np.int32)
        if "cluster" in present
        else None,
        extras=rows if any(rows) else None,
    )


def random_table(n: int) -> Table:
    """A table of `n` rows with all columns."""
    rng = np.random.default_rng(n)
    return Table(
        columns.encode_paths(f"faces.zip/ä/{row:06}.jpg" for row in range(n)),
        AttributeColumns(PAPER37, rng.random((n, 37), np.float32)),
        AttributeColumns(CELEBA40, rng.integers(0, 2, (n, 40), np.uint8)),
        rng.integers(-1, 9, n).astype(np.int32),
    )


def assert_same(actual: Table, expected: Table) -> None:
    """Assert that two tables are equal, attribute values bit for bit.

    Paths are compared as lists, because their width does not matter.
    """
    assert len(actual) == len(expected)
    for column in ("scores", "labels"):
        first, second = getattr(actual, column), getattr(expected, column)
        assert (first is None) == (second is None), column
        if first is not None:
            assert first.names == second.names
            assert first.values.dtype == second.values.dtype
            assert first.values.shape == second.values.shape
            assert np.ascontiguousarray(first.values).tobytes() == np.ascontiguousarray(second.values).tobytes()
    for column in ("paths", "cluster", "codes"):
        first, second = getattr(actual, column), getattr(expected, column)
        assert (None if first is None else first.tolist()) == (None if second is None else second.tolist()), column
    assert actual.extras == expected.extras


def split_table(table: Table, at: list[int]) -> list[Table]:
    """Split `table` before the rows `at`, without empty blocks."""
    edges = sorted({0, len(table), *(row for row in at if row < len(table))})
    return [table.take(np.arange(first, end)) for first, end in itertools.pairwise(edges)]


def encode(blocks: list[Table], encoding: streams.Encoding, *, single_block: bool = False) -> bytes:
    """The bytes that TableWriter writes."""
    stream = io.BytesIO()
    writer = streams.TableWriter(stream, encoding, single_block=single_block)
    for block in blocks:
        writer.write(block)
    writer.close()
    return stream.getvalue()


def decode_blocks(data: bytes, name: str = "faces") -> list[Table]:
    """The blocks that read_blocks yields."""
    return list(streams.read_blocks(io.BufferedReader(io.BytesIO(data)), name))


def decode(data: bytes) -> Table:
    """The whole table in `data`."""
    return columns.concatenate_tables(decode_blocks(data))


def to_jsonl(*rows: Any) -> bytes:
    """JSON lines as any other tool would write them."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def to_npy(array: np.ndarray) -> bytes:
    """A .npy file as NumPy writes it."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
