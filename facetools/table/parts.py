"""A table made in parts, by several processes or in several goes, and put together in order when all are there.

Parts lie in a folder beside the table: NPY files of consecutive rows, each whole or absent, and plan.json, which says
of what they are parts.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from facetools.runtime import files
from facetools.table import columns, streams


class PartsError(ValueError):
    """The parts that are there are not those of this table."""


class TableParts:
    """Parts of `size` inputs each, of the table of `inputs`."""

    def __init__(self, folder: Path, inputs: list[str], size: int) -> None:
        self._folder = folder
        self._inputs = inputs
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._inputs) // self._size)

    @classmethod
    def begin(cls, folder: Path, inputs: list[str], size: int, about: dict[str, Any], *, resume: bool) -> TableParts:
        """The parts in `folder` of the table of `inputs` and `about`, all else that decides its content.

        With `resume` those that are there are kept, and their size; a PartsError where they are of another table. The
        folder must not be there otherwise.
        """
        digest = hashlib.sha256("\0".join(inputs).encode("utf-8", "surrogateescape")).hexdigest()
        plan = {"inputs": len(inputs), "digest": digest, "part": size, **about}
        file = folder / "plan.json"
        if file.exists():
            if not resume:
                raise PartsError(f"{folder} holds parts of an earlier run; continue it with --resume, or remove it")
            before = json.loads(file.read_bytes())
            other = [name for name in plan if name != "part" and before.get(name) != plan[name]]
            if other:
                raise PartsError(f"{folder} holds parts of another table: with other {other[0]}; remove it")
            size = before["part"]
        else:
            files.make_folder(folder)
            files.write_atomically(file, json.dumps(plan).encode() + b"\n")
        return cls(folder, inputs, size)

    @classmethod
    def found(cls, folder: Path, inputs: list[str]) -> TableParts:
        """The parts that another process has begun."""
        return cls(folder, inputs, json.loads((folder / "plan.json").read_bytes())["part"])

    def missing(self, numbers: Iterable[int]) -> list[int]:
        """Those of the parts `numbers` that are not there yet."""
        return [number for number in numbers if not self.path(number).exists()]

    def inputs(self, number: int) -> list[str]:
        """The inputs of a part."""
        return self._inputs[number * self._size : (number + 1) * self._size]

    def path(self, number: int) -> Path:
        """Where a part is to be."""
        return self._folder / f"{number:06d}.npy"

    def blocks(self) -> Iterator[columns.Table]:
        """The rows of all parts, in order."""
        for number in range(len(self)):
            with streams.open_input(str(self.path(number))) as stream:
                yield from streams.read_blocks(stream, str(self.path(number)))

    def remove(self) -> None:
        """Deletes the parts."""
        shutil.rmtree(self._folder)
