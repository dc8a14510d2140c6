"""Tables that are computed in parts: several processes share the inputs, and --resume continues after an interruption.

`check_parts` refuses what cannot be in parts, `open_parts` creates or resumes the parts, `compute_parts` computes the
share of this process, and `join_parts` writes the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from facetools.commands.job import CommandError, Job
from facetools.commands.outputs import is_stream

if TYPE_CHECKING:
    from facetools.runtime.processes import ProcessGroup, ProcessInfo
    from facetools.table.columns import Table
    from facetools.table.parts import Key, TableParts
    from facetools.table.streams import Encoding

    #: Computes the rows of the inputs at some positions, in blocks, and calls back with the number of inputs done.
    ComputeRows = Callable[[range, Callable[[int], None]], Iterator[Table]]

#: At least this many parts per process balance the work; at most this many batches per part limit what a restart loses.
PARTS_PER_PROCESS, MAX_BATCHES_PER_PART = 4, 64


def check_parts(process: ProcessInfo, output: str, option: str) -> None:
    """Raise a usage error if `output` is a stream, beside which no parts can lie."""
    if not is_stream(output):
        return
    cause = "the"
    if process.world > 1:
        cause = (
            f"{process.variables} say that this is one of {process.world} processes that write one table in parts; "
            "unset them to run alone. The"
        )
    reason = f"{cause} parts of a table lie beside its file, so it cannot be stdout or a pipe; name a file"
    raise typer.BadParameter(reason, param_hint=option)


def open_parts(
    job: Job,
    group: ProcessGroup,
    output: str,
    inputs: list[str],
    batch: int,
    settings: dict[str, Any],
    *,
    resume: bool,
    encoding: Encoding = "npy",
    key: Key = "path",
) -> TableParts:
    """Create the parts of the table `output`, or resume them, in all processes of the job.

    Parts are multiples of `batch` inputs. Inputs that an earlier run has left out are reported.
    """
    from facetools.table.parts import TableParts

    folder = Path(output + ".parts")
    created = None
    if job.process.is_first:
        batches = math.ceil(len(inputs) / (PARTS_PER_PROCESS * job.process.world * batch))
        part_size = batch * max(1, min(MAX_BATCHES_PER_PART, batches))
        created = TableParts.create(folder, inputs, part_size, settings, resume=resume, encoding=encoding, key=key)
        for path in created.find_left_out():
            job.report_failure(path, "was left out by an earlier run")
    group.wait_for_first("parts created")
    return created or TableParts.open(folder, inputs, encoding=encoding, key=key)


def compute_parts(
    job: Job, group: ProcessGroup, parts: TableParts, compute: ComputeRows, no_rows: Table, unit: str
) -> None:
    """Compute those parts of this process's share that do not exist yet, and wait for the other processes.

    A part without rows is `no_rows`, a valid file like the others. `unit` names the inputs.
    """
    from facetools.table import streams

    missing = parts.find_missing(group.share(len(parts)))
    with job.progress(unit, sum(len(parts.part_inputs(number)) for number in missing)) as advance:
        for number in missing:
            with streams.open_writer(str(parts.part_path(number)), parts.encoding) as writer:
                writer.write(no_rows)
                for block in compute(parts.part_inputs(number), advance):
                    group.check_peers()
                    writer.write(block)
    group.arrive("parts complete")


def join_parts(parts: TableParts, output: str | None, encoding: Encoding, on_block: Callable[[Table], None]) -> None:
    """Write the rows of all parts to `output` and delete the parts; if `output` is None, the parts stay.

    Each block is passed to `on_block`. Raises CommandError if there are no rows.
    """
    from facetools.table import streams

    def read_blocks() -> Iterator[Table]:
        rows = 0
        for block in parts.read_blocks():
            on_block(block)
            rows += len(block)
            yield block
        if not rows:
            raise CommandError(f"nothing could be read or found in the inputs; remove {parts.folder} to try again")

    if output is None:
        for _ in read_blocks():
            pass
        return
    with streams.open_writer(output, encoding) as writer:
        for block in read_blocks():
            writer.write(block)
    parts.delete()
