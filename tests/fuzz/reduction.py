"""Make the input of a fault smaller: delta debugging (Zeller and Hildebrandt 2002) with removed and zeroed pieces.

Each candidate runs in a process of its own by os.fork, so that an input that kills its process can be reduced too.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.campaign import SILENT_SECONDS, Runner


def reduce_file(kind: str, path: Path) -> int:
    """Print the smallest input with the same fault, as a line for found.jsonl."""
    data = path.read_bytes()
    cause = find_cause(kind, data)
    if not cause:
        print(f"{path}: no fault", file=sys.stderr)
        return 1
    reduced = reduce(data, lambda candidate: find_cause(kind, candidate) == cause)
    print(f"{len(data)} bytes reduced to {len(reduced)}: {reduced[:500]!r}", file=sys.stderr)
    print(json.dumps({"kind": kind, "cause": cause, "input": base64.b64encode(reduced).decode()}))
    return 0


def find_cause(kind: str, data: bytes) -> str:
    """The cause of the fault of an input, empty if there is none."""
    import tests.fuzz.targets  # noqa: F401  once, not in each of the processes

    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(int(SILENT_SECONDS))
        runner = Runner()
        runner.prepare(kind)
        _, cause, _ = runner.judge(kind, data)
        runner.close()
        os.write(writer, cause.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        cause = stream.read().decode()
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else cause


def reduce(data: bytes, has_fault: Callable[[bytes], bool]) -> bytes:
    """The shortest input that removing and then replacing pieces of `data`, of half the size each time, leads to."""
    for replacement in (b"", b"0"):
        size = len(data)
        while size:
            at = 0
            while at < len(data):
                piece = data[at : at + size]
                candidate = data[:at] + replacement * len(piece) + data[at + size :]
                if candidate != data and has_fault(candidate):
                    data = candidate
                else:
                    at += size
            size //= 2
    return data
