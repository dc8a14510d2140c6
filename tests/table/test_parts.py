"""Tables computed in parts and resumed."""

import json
from pathlib import Path

import pytest

from facetools.table import columns, streams
from facetools.table.parts import PartsError, TableParts

INPUTS = [f"{number}.jpg" for number in range(7)]
SETTINGS = {"model": "a", "thresholds": "0.5"}


def write_part(parts: TableParts, number: int) -> None:
    with streams.open_writer(str(parts.part_path(number)), "npy") as writer:
        writer.write(columns.Table(columns.encode_paths(INPUTS[row] for row in parts.part_inputs(number))))


def test_parts_are_read_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "faces.npy.parts"
    TableParts.create(folder, INPUTS, 3, SETTINGS, resume=False)
    parts = TableParts.open(folder, INPUTS)
    assert len(parts) == 3
    for number in (2, 0):
        write_part(parts, number)
    assert parts.find_missing(range(3)) == [1]
    write_part(parts, 1)
    table = columns.concatenate_tables(list(parts.read_blocks()))
    assert [table.path(row) for row in range(len(table))] == INPUTS
    parts.delete()
    assert not folder.exists()


def test_resuming_keeps_the_parts_and_their_size(tmp_path: Path) -> None:
    write_part(TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False), 0)
    parts = TableParts.create(tmp_path, INPUTS, 5, SETTINGS, resume=True)
    assert list(parts.part_inputs(2)) == [6]
    assert parts.find_missing(range(len(parts))) == [1, 2]


def test_parts_of_another_run_or_table_are_rejected(tmp_path: Path) -> None:
    TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False)
    with pytest.raises(PartsError, match="parts of an earlier run; continue it with --resume"):
        TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False)
    with pytest.raises(PartsError, match="with different inputs"):
        TableParts.create(tmp_path, INPUTS[::-1], 3, SETTINGS, resume=True)
    with pytest.raises(PartsError, match="with different thresholds"):
        TableParts.create(tmp_path, INPUTS, 3, SETTINGS | {"thresholds": "f1"}, resume=True)


def test_only_one_run_at_a_time_writes_the_parts(tmp_path: Path) -> None:
    first = TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False)
    with pytest.raises(PartsError, match="another run is writing the parts"):
        TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=True)
    del first
    TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=True)


@pytest.mark.parametrize("plan", [b"", b"{", b"[" * 5000, b"[]", b"{}", b'{"part": 0}', b'{"part": "3"}', b"\xff"])
def test_a_damaged_plan_is_named(tmp_path: Path, plan: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(plan)
    with pytest.raises(PartsError, match=r"plan\.json is not the plan of a table in parts"):
        TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=True)


def write_sources(parts: TableParts, number: int, rows: list[int]) -> None:
    """Write a part whose rows are those of the inputs at the positions `rows`."""
    with streams.open_writer(str(parts.part_path(number)), parts.encoding) as writer:
        writer.write(columns.Table(extras=[{"source": INPUTS[row]} for row in rows]))


def test_an_input_may_have_any_number_of_rows(tmp_path: Path) -> None:
    parts = TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False, encoding="jsonl", key="source")
    write_sources(parts, 0, [0, 0, 2])
    write_sources(parts, 1, [])
    assert parts.part_path(1).read_bytes() == b""
    assert parts.find_missing(range(3)) == [2]
    assert list(parts.find_left_out()) == [INPUTS[row] for row in (1, 3, 4, 5)]
    write_sources(parts, 2, [6, 6])
    sources = [row["source"] for block in parts.read_blocks() for row in block.extras or []]
    assert sources == [INPUTS[row] for row in (0, 0, 2, 6, 6)]
    parts.delete()
    assert not tmp_path.exists()


def test_inputs_are_named_by_paths_unless_the_key_is_another(tmp_path: Path) -> None:
    parts = TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False, encoding="jsonl")
    with streams.open_writer(str(parts.part_path(0)), "jsonl") as writer:
        # What fa-predict keeps of the table of fa-align: the photograph of the face.
        writer.write(columns.Table(columns.encode_paths(INPUTS[1:2]), extras=[{"source": INPUTS[0]}]))
    assert list(parts.find_left_out()) == [INPUTS[0], INPUTS[2]]


def test_parts_have_one_encoding(tmp_path: Path) -> None:
    TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False, encoding="jsonl")
    with pytest.raises(PartsError, match="with different encoding"):
        TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=True)


def test_plans_from_before_there_were_encodings_are_of_npy(tmp_path: Path) -> None:
    TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=False)
    plan = json.loads((tmp_path / "plan.json").read_bytes())
    del plan["encoding"]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    assert len(TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=True)) == 3
    with pytest.raises(PartsError, match="with different encoding"):
        TableParts.create(tmp_path, INPUTS, 3, SETTINGS, resume=True, encoding="jsonl")
