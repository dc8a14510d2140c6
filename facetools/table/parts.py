"""A face table in parts, which several processes or successive runs compute and one process concatenates.

The folder of parts lies beside the final table. It holds `plan.json`, which identifies the table, and one NPY file of
consecutive rows per part. Part files are written atomically, so a file that exists is complete.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from facetools.runtime import files
from facetools.table.columns import Table
from facetools.table.streams import open_input, read_blocks


class PartsError(ValueError):
    """The folder holds parts of another table, or of an earlier run that was not to be resumed."""


class TableParts:
    """The parts of the table of `inputs`, each of them for `part_size` inputs. len() is the number of parts."""

    def __init__(self, folder: Path, inputs: list[str], part_size: int) -> None:
        self._folder = folder
        self._inputs = inputs
        self._part_size = part_size

    def __len__(self) -> int:
        return -(-len(self._inputs) // self._part_size)

    @classmethod
    def create(
        cls, folder: Path, inputs: list[str], part_size: int, settings: dict[str, Any], *, resume: bool
    ) -> TableParts:
        """Create `folder` for the parts of a table that `inputs` and `settings` determine, or resume it.

        With `resume`, an existing folder keeps its parts and its part size. Raises PartsError if they belong to a
        table of other inputs or settings, and, without `resume`, if the folder already holds parts.
        """
        digest = hashlib.sha256("\0".join(inputs).encode("utf-8", "surrogateescape")).hexdigest()
        plan = {"inputs": len(inputs), "digest": digest, "part": part_size, **settings}
        plan_file = folder / "plan.json"
        if plan_file.exists():
            if not resume:
                raise PartsError(f"{folder} holds parts of an earlier run; continue it with --resume, or remove it")
            existing = json.loads(plan_file.read_bytes())
            differing = [key for key in plan if key != "part" and existing.get(key) != plan[key]]
            if differing:
                setting = "inputs" if differing[0] == "digest" else differing[0]
                raise PartsError(f"{folder} holds parts of another table, with different {setting}; remove it")
            part_size = existing["part"]
        else:
            files.make_folder(folder)
            files.write_atomically(plan_file, json.dumps(plan).encode() + b"\n")
        return cls(folder, inputs, part_size)

    @classmethod
    def open(cls, folder: Path, inputs: list[str]) -> TableParts:
        """Open the parts in `folder`, which another process has created for the same `inputs`."""
        return cls(folder, inputs, json.loads((folder / "plan.json").read_bytes())["part"])

    def find_missing(self, numbers: Iterable[int]) -> list[int]:
        """Return those of the part `numbers` whose file does not exist yet."""
        return [number for number in numbers if not self.part_path(number).exists()]

    def part_inputs(self, number: int) -> list[str]:
        """Return the inputs of part `number`, from 0."""
        return self._inputs[number * self._part_size : (number + 1) * self._part_size]

    def part_path(self, number: int) -> Path:
        """Return the NPY file of part `number`, from 0."""
        return self._folder / f"{number:06d}.npy"

    def read_blocks(self) -> Iterator[Table]:
        """Yield the rows of all parts, in order."""
        for number in range(len(self)):
            path = str(self.part_path(number))
            with open_input(path) as stream:
                yield from read_blocks(stream, path)

    def delete(self) -> None:
        """Delete the folder and all parts."""
        shutil.rmtree(self._folder)
