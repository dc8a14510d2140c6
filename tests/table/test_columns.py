"""Table: selecting rows and columns, concatenation, paths."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from facetools.table import columns
from facetools.table.columns import AttributeColumns, Table, TableError
from tests.table.cases import assert_same, encode, no_deadline, tables


@no_deadline
@given(tables(extras=True), st.data())
def test_take_accepts_a_mask_or_row_numbers(table: Table, data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))), bool)
    assert_same(table.take(mask), table.take(np.flatnonzero(mask)))
    lines = encode([table], "jsonl").splitlines()
    assume(mask.any())
    assert encode([table.take(mask)], "jsonl").splitlines() == [lines[row] for row in np.flatnonzero(mask)]


def test_select_returns_the_named_columns_in_order() -> None:
    attributes = AttributeColumns(("A", "B", "C"), np.float32([[1, 2, 3]]))
    assert attributes.select(["C", "A"]).tolist() == [[3, 1]]
    assert attributes.select(("A", "B", "C")) is attributes.values


def test_path_is_the_row_number_without_paths() -> None:
    assert Table(columns.encode_paths(["x", "眼.png"])).path(1) == "眼.png"
    assert Table(cluster=np.zeros(5, np.int32)).path(3) == "row 3"


def test_encode_paths_rejects_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        columns.encode_paths(["a\0b"])


def test_concatenate_rejects_different_columns() -> None:
    scores, cluster = Table(scores=AttributeColumns(("A",), np.float32([[1]]))), Table(cluster=np.zeros(1, np.int32))
    with pytest.raises(TableError, match="some blocks have no column 'scores'"):
        columns.concatenate_tables([scores, cluster])
    with pytest.raises(TableError, match="the attributes of 'scores' change"):
        columns.concatenate_tables([scores, Table(scores=AttributeColumns(("B",), np.float32([[1]])))])


def test_concatenating_nothing_gives_an_empty_table() -> None:
    assert len(columns.concatenate_tables([])) == 0


def test_added_columns_replace_nothing() -> None:
    own = AttributeColumns(("A",), np.float32([[0.5], [0.25]]))
    table = Table(columns.encode_paths(["x", "y"]), own, extras=[{"k": 1}, {}])
    other = Table(
        columns.encode_paths(["p", "q"]),
        AttributeColumns(("B",), np.float32([[1], [1]])),
        AttributeColumns(("C",), np.uint8([[1], [0]])),
        np.int32([4, -1]),
        extras=[{"k": 2, "m": [3]}, {"k": None}],
        lines=np.int64([8, 9]),
    )
    added = columns.add_columns(table, other)
    assert [added.path(row) for row in range(2)] == ["x", "y"]
    assert added.scores is own and added.labels is other.labels and added.cluster is other.cluster
    assert added.extras == [{"k": 1, "m": [3]}, {"k": None}]
    assert added.lines is None
    assert table.extras == [{"k": 1}, {}]  # the arguments stay
    assert other.extras == [{"k": 2, "m": [3]}, {"k": None}]


def test_columns_are_added_with_and_without_other_keys() -> None:
    paths = columns.encode_paths(["x", "y"])
    keys = Table(extras=[{"k": 1}, {"k": 2}])
    assert columns.add_columns(Table(paths), keys).extras == keys.extras
    assert columns.add_columns(keys, Table(paths)).extras == keys.extras
    assert columns.add_columns(Table(paths), Table(paths)).extras is None
    with pytest.raises(ValueError, match="shorter"):
        columns.add_columns(Table(paths, extras=[{}, {}]), Table(extras=[{"k": 1}]))
