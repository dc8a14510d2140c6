"""The sentence that a command prints when it fails."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator

from facetools.commands.job import CommandError
from facetools.runtime.extras import MissingExtraError
from facetools.runtime.processes import PeerError

#: How libraries report that they cannot allocate memory, for data or to load a part of themselves.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|(cannot|can't|unable to|failed to) allocate|bad[_ ]alloc|failed to map segment|serialize proto"
    r"|without exception set",
    re.IGNORECASE,
)


def describe_failure(error: BaseException) -> str:
    """Return one sentence about the failure."""
    if any(map(_is_out_of_memory, _causes(error))):
        return "out of memory"
    if "start new thread" in str(error):
        return "cannot start another thread: a limit of memory or processes is reached (ulimit -v, -u); lower --jobs"
    if "operator torchvision::" in str(error):
        return "torchvision cannot be loaded: it is of another version than PyTorch expects, or memory is too short"
    if isinstance(error, OSError) and error.strerror:
        return f"{'cannot write' if error.filename is None else error.filename}: {error.strerror}"
    if isinstance(error, CommandError | PeerError | MissingExtraError | ValueError | ArithmeticError):
        return str(error)
    return f"{type(error).__name__}: {error} (this is a defect in facetools; --debug prints the traceback)"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and the errors that led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno == errno.ENOMEM
    # The messages of facetools say themselves what needs too much memory.
    is_own = isinstance(error, CommandError | PeerError | ValueError)
    return isinstance(error, MemoryError) or (not is_own and bool(_OUT_OF_MEMORY.search(str(error))))
