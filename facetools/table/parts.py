"""A face table in parts, which several processes or successive runs compute and one process concatenates.

The folder of parts lies beside the final table. It holds `plan.json`, which identifies the table, and one file of
consecutive rows per part, NPY or JSONL. Part files are written atomically, so a file that exists is complete.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from facetools.runtime import files
from facetools.table.columns import Table
from facetools.table.streams import Encoding, open_input, read_blocks

#: The file that identifies the table, and the names of the parts.
PLAN = "plan.json"
_PART_NAME = re.compile(r"\d{6,}\.(npy|jsonl)")

#: The key of JSONL rows, or the column, that names the input of a row.
Key = Literal["path", "source"]


class PartsError(ValueError):
    """The folder holds parts of another table, or of an earlier run that was not to be resumed."""


class TableParts:
    """The parts of the table of `inputs`, each of them for `part_size` inputs. len() is the number of parts.

    encoding: that of the part files. NPY has no room for other keys than the columns.
    key: what names the input of a row. An input may have any number of rows.
    """

    def __init__(
        self,
        folder: Path,
        inputs: list[str],
        part_size: int,
        encoding: Encoding = "npy",
        key: Key = "path",
        lock: files.FolderLock | None = None,
    ) -> None:
        self.folder, self.encoding = folder, encoding
        self._inputs, self._part_size, self._key = inputs, part_size, key
        #: Held as long as this object lives, by the process that has created or resumed the parts.
        self._lock = lock

    def __len__(self) -> int:
        return -(-len(self._inputs) // self._part_size)

    @classmethod
    def create(
        cls,
        folder: Path,
        inputs: list[str],
        part_size: int,
        settings: dict[str, Any],
        *,
        resume: bool,
        encoding: Encoding = "npy",
        key: Key = "path",
    ) -> TableParts:
        """Create `folder` for the parts of a table that `inputs` and `settings` determine, or resume it.

        With `resume`, an existing folder keeps its parts and its part size. Raises PartsError if they belong to a
        table of other inputs or settings, if another run is writing there, and, without `resume`, if the folder already
        holds parts.
        """
        try:
            lock = files.FolderLock(folder)
        except BlockingIOError:
            raise PartsError(f"another run is writing the parts in {folder}") from None
        digest = hashlib.sha256("\0".join(inputs).encode("utf-8", "surrogateescape")).hexdigest()
        plan = {"inputs": len(inputs), "digest": digest, "part": part_size, "encoding": encoding, **settings}
        plan_file = folder / PLAN
        if plan_file.exists():
            if not resume:
                raise PartsError(f"{folder} holds parts of an earlier run; continue it with --resume, or remove it")
            existing = {"encoding": "npy"} | _read_plan(plan_file)  # as it was before there were others
            differing = [key for key in plan if key != "part" and existing.get(key) != plan[key]]
            if differing:
                setting = "inputs" if differing[0] == "digest" else differing[0]
                raise PartsError(f"{folder} holds parts of another table, with different {setting}; remove it")
            part_size = existing["part"]
        elif any(_PART_NAME.fullmatch(path.name) for path in folder.iterdir()):
            raise PartsError(f"{folder} holds parts of an unknown table, without plan.json; remove it")
        else:
            files.write_atomically(plan_file, json.dumps(plan).encode() + b"\n")
        return cls(folder, inputs, part_size, encoding, key, lock)

    @classmethod
    def open(cls, folder: Path, inputs: list[str], *, encoding: Encoding = "npy", key: Key = "path") -> TableParts:
        """Open the parts in `folder`, which another process has created for the same `inputs`."""
        return cls(folder, inputs, _read_plan(folder / PLAN)["part"], encoding, key)

    def find_missing(self, numbers: Iterable[int]) -> list[int]:
        """Return those of the part `numbers` whose file does not exist yet."""
        return [number for number in numbers if not self.part_path(number).exists()]

    def part_inputs(self, number: int) -> range:
        """Return the positions of the inputs of part `number`, from 0."""
        return range(len(self._inputs))[number * self._part_size : (number + 1) * self._part_size]

    def part_path(self, number: int) -> Path:
        """Return the file of part `number`, from 0."""
        return self.folder / f"{number:06d}.{self.encoding}"

    def read_blocks(self) -> Iterator[Table]:
        """Yield the rows of all parts, in order."""
        for number in range(len(self)):
            yield from self._read_part(number)

    def find_left_out(self) -> Iterator[str]:
        """Yield those inputs of the existing parts that have no row, in order."""
        missing = set(self.find_missing(range(len(self))))
        for number in sorted(set(range(len(self))) - missing):
            names = {self._input_name(block, row) for block in self._read_part(number) for row in range(len(block))}
            for position in self.part_inputs(number):
                if self._inputs[position] not in names:
                    yield self._inputs[position]

    def _input_name(self, block: Table, row: int) -> str:
        return block.path(row) if self._key == "path" or block.extras is None else block.extras[row]["source"]

    def _read_part(self, number: int) -> Iterator[Table]:
        path = self.part_path(number)
        if self.encoding == "jsonl" and not path.stat().st_size:
            return  # no input of the part has a row
        with open_input(str(path)) as stream:
            yield from read_blocks(stream, str(path))

    def delete(self) -> None:
        """Delete all parts, and the folder if nothing else is in it."""
        for path in list(self.folder.iterdir()):
            if _PART_NAME.fullmatch(path.name):
                path.unlink()
        # Last: without their plan, parts that are left would be taken for those of another table.
        (self.folder / PLAN).unlink()
        files.remove_dead_partials(self.folder)
        with suppress(OSError):
            self.folder.rmdir()


def _read_plan(file: Path) -> dict[str, Any]:
    try:
        plan = json.loads(file.read_bytes())
        if type(plan["part"]) is not int or plan["part"] < 1:
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise PartsError(f"{file} is not the plan of a table in parts; remove {file.parent}") from None
    return plan
