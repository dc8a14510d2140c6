"""The sentence that a command prints when it fails."""

from __future__ import annotations

import errno
import os

import pytest

from facetools.clustering.forecast import MemoryLimitError
from facetools.commands.failures import describe_failure
from facetools.commands.job import CommandError


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 99614720"),
        caused(RuntimeError("failed to load libcublas"), OSError("libcublas.so: failed to map segment")),
        ImportError("libtorch.so: failed to map segment from shared object"),
    ],
)
def test_libraries_that_cannot_allocate_memory(error: Exception) -> None:
    assert describe_failure(error) == "out of memory"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryLimitError("ward linkage needs 9 GB, but cannot allocate memory; use kmeans"), None),
        (CommandError("a file called bad_alloc"), None),
        (
            OSError(errno.ENOENT, "No such file or directory", "out of memory"),
            "out of memory: No such file or directory",
        ),
        (RuntimeError("can't start new thread"), "cannot start another thread"),
        (RuntimeError("unexpected"), "this is a defect in facetools"),
    ],
)
def test_other_failures_keep_their_message(error: Exception, message: str | None) -> None:
    assert (message or str(error)) in describe_failure(error)
