"""Standard streams, and outputs that name an open descriptor: /dev/stdout, /dev/fd/3, >(...).

`open_standard_streams` makes closed standard descriptors harmless. `reserve_stdout` keeps what C libraries print out of
standard output. `named_descriptor` returns the descriptor that a path names, and `open_descriptor` writes to it as the
shell has opened it: its position and its append mode stay, and no file is replaced.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import io
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TextIO

STDIN, STDOUT, STDERR = range(3)
_NAMES = ("standard input", "standard output", "standard error")

#: The standard descriptors that were closed when the process started.
_closed: set[int] = set()

#: The descriptor that standard output has been moved to.
_stdout = STDOUT

_PROCESS_DESCRIPTORS = re.compile(r"/proc/\d+(/task/\d+)?/fd")


class OutputFile(io.FileIO):
    """An unbuffered output whose errors name the file as the user did; without a name they say nothing of a file."""

    def __init__(self, descriptor: int, name: str | None, *, closefd: bool = True) -> None:
        super().__init__(descriptor, "wb", closefd)
        self._user_name = name

    def write(self, data: object) -> int:
        with named_errors(self._user_name):
            while (count := super().write(data)) is None:  # type: ignore[arg-type]
                # Another program has made the descriptor non-blocking.
                select.select([], [self], [])
            return count

    def close(self) -> None:
        with named_errors(self._user_name):
            super().close()


class StreamFile(OutputFile):
    """An output that is written in order: a descriptor, a pipe or a device.

    It cannot seek even if a regular file is behind it: the file may be in append mode, and its start belongs to others.
    """

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = 0) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


class _ClosedOutput(io.RawIOBase):
    """Standard output that was closed when the process started."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise OSError(errno.EBADF, f"{_NAMES[STDOUT]} is closed")


class _StandardInput(io.FileIO):
    """Standard input; its errors name it."""

    def readinto(self, buffer: object) -> int:
        with named_errors(_NAMES[STDIN]):
            while (count := super().readinto(buffer)) is None:  # type: ignore[arg-type]
                select.select([self], [], [])
            return count


class _StandardError(io.FileIO):
    """Standard error. A message that cannot be written is lost; it does not fail the command."""

    def write(self, data: object) -> int:
        with suppress(OSError):
            super().write(data)  # type: ignore[arg-type]
        return memoryview(data).nbytes  # type: ignore[arg-type]


@contextmanager
def named_errors(name: str | None) -> Iterator[None]:
    """Give OSErrors of the block the file name `name`."""
    try:
        yield
    except OSError as error:
        if name is None or error.errno is None:
            raise
        raise type(error)(error.errno, error.strerror, name) from None


def open_standard_streams() -> None:
    """Open /dev/null as those of the descriptors 0 to 2 that are closed, so that no data file takes their place.

    Standard output that is closed then fails when it is written; messages for a closed standard error are dropped.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number, which is this one
    if STDOUT in _closed:
        sys.stdout = _text_stream(_ClosedOutput())
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    raw = _StandardError(STDERR, "wb", closefd=False)
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=True)


def reserve_stdout() -> None:
    """Reserve standard output for data: what C libraries print on descriptor 1 goes to standard error."""
    global _stdout
    sys.stdout.flush()
    _stdout = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    if STDOUT not in _closed:
        sys.stdout = _text_stream(StreamFile(_stdout, None))


def _text_stream(raw: io.RawIOBase) -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8")


def close_stdout() -> None:
    """Write what is pending for standard output and close it: some file systems report errors only then."""
    if not sys.stdout.closed:
        sys.stdout.close()


@functools.cache
def standard_input() -> io.BufferedReader:
    """Standard input as a binary stream. Raises OSError if it is closed."""
    if STDIN in _closed or _access_mode(STDIN) == os.O_WRONLY:
        raise OSError(errno.EBADF, "it is closed", _NAMES[STDIN])
    return io.BufferedReader(_StandardInput(STDIN, "rb", closefd=False))


def named_descriptor(path: str) -> int | None:
    """The number of the descriptor of this process that `path` names, such as /dev/stdout or /dev/fd/63, or None.

    The path may be a symbolic link to such a name.
    """
    return next((int(name) for folder, name in _links(path) if name.isdecimal() and _is_own_folder(folder)), None)


def _is_own_folder(folder: str) -> bool:
    return folder in map(os.path.realpath, ("/dev/fd", "/proc/self/fd", "/proc/thread-self/fd"))


def names_other_process(path: str) -> bool:
    """Whether `path` names an open descriptor of another process, such as /proc/1/fd/1."""
    return any(_PROCESS_DESCRIPTORS.fullmatch(folder) for folder, _ in _links(path)) and named_descriptor(path) is None


def _links(path: str) -> Iterator[tuple[str, str]]:
    """The folder, without links, and the name in it of `path` and of each link that it leads to."""
    for _ in range(40):  # Linux's limit
        folder, name = os.path.split(path)
        folder = os.path.realpath(folder or ".")
        yield folder, name
        try:
            path = os.path.join(folder, os.readlink(os.path.join(folder, name)))  # noqa: PTH115, PTH118
        except OSError:
            return


def check_writable(number: int, name: str | None = None) -> int:
    """Return where the descriptor `number`, as the shell counts, is now. Raises OSError if it cannot be written."""
    if number in _closed:
        raise OSError(errno.EBADF, f"{_NAMES[number]} is closed")
    current = _stdout if number == STDOUT else number
    # A descriptor of this process that is closed by exec was not open when the process started.
    is_inherited = number <= STDERR or (_access_mode(current) is not None and os.get_inheritable(current))
    if not is_inherited or _access_mode(current) in (None, os.O_RDONLY):
        if number <= STDERR:
            raise OSError(errno.EBADF, f"{_NAMES[number]} is not open for writing")
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), name)
    return current


def _access_mode(descriptor: int) -> int | None:
    """O_RDONLY, O_WRONLY or O_RDWR; None if the descriptor is not open."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return None


@contextmanager
def open_descriptor(number: int, name: str) -> Iterator[BinaryIO]:
    """Open a stream that writes to the descriptor `number`; errors name it `name`. The descriptor stays open."""
    current = check_writable(number, name)
    if number == STDOUT:
        sys.stdout.flush()
    with open_stream(os.dup(current), name) as stream:
        yield stream


@contextmanager
def open_stream(descriptor: int, name: str) -> Iterator[BinaryIO]:
    """A buffered StreamFile, which is closed at the end of the block."""
    stream = io.BufferedWriter(StreamFile(descriptor, name))
    try:
        yield stream
        stream.close()
    except BaseException:
        with suppress(OSError, ValueError):  # the data that could not be written before cannot be written now
            stream.close()
        raise
