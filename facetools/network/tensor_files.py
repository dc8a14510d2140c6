"""Read files of torch.save without torch, and without trusting them.

Such a file is a zip archive that holds one object as a pickle (`data.pkl`) and the numbers of each tensor as a member
(`data/KEY`), uncompressed. `read_tensor_file` builds dictionaries, lists, plain values and tensors; a file cannot make
it do anything else. Every tensor lies within its numbers, and memory is bounded by the size of the file.

torch.load is not used for these files: importing torch takes longer than scoring one face, and torch.load, also with
weights_only, reads as many numbers of a tensor as the pickle says, whether the file has them or not.
"""

from __future__ import annotations

import errno
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

#: The largest pickle. Those of checkpoints have some 200 bytes per tensor.
MAX_PICKLE_BYTES = 8 << 20

#: How zip archives start.
ZIP_MAGIC = b"PK\x03\x04"

#: The dtype of a tensor's numbers, by the name of torch's storage class.
_DTYPES: dict[str, np.dtype[Any]] = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "ShortStorage": np.dtype("<i2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
    "BFloat16Storage": np.dtype("<u2"),  # NumPy has no bfloat16; the numbers are converted to float32
}

#: The opcodes that torch.save writes by default, with protocol 2.
_OPCODES = (
    *(pickle.PROTO, pickle.STOP, pickle.MARK),
    *(pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
    *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
    *(pickle.BINFLOAT, pickle.BINUNICODE),
    *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
    *(pickle.GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.BINPERSID),
)


class TensorFileError(ValueError):
    """The content of a file is not what torch.save writes; the message is the reason."""


def read_tensor_file(path: Path, make_tensor: Callable[[np.ndarray], Any] = lambda array: array) -> Any:
    """Return the object in the file. Each tensor is the result of `make_tensor`, by default the array itself.

    Keys of dictionaries are strings or integers; OrderedDict becomes dict. Tensors of bfloat16 become float32. Raises
    TensorFileError, or OSError if the file cannot be read.
    """
    with path.open("rb") as stream:
        if not stream.seekable():
            raise TensorFileError("it is a pipe, which cannot be read in any order; give a file")
        try:
            return _read(stream, make_tensor)
        except TensorFileError:
            raise
        except OSError as error:
            if error.errno in (None, errno.EINVAL):  # the archive names positions outside of the file
                raise TensorFileError("it is damaged") from None
            raise OSError(error.errno, error.strerror, str(path)) from None
        except MemoryError:  # a damaged pickle may ask for any amount
            raise TensorFileError("it is damaged, or there is too little memory") from None
        except Exception:  # a damaged archive or pickle can raise anything
            raise TensorFileError("it is damaged") from None


def _read(stream: BinaryIO, make_tensor: Callable[[np.ndarray], Any]) -> Any:
    start = stream.read(len(ZIP_MAGIC))
    if not start:
        raise TensorFileError("it is empty")
    if start != ZIP_MAGIC:
        raise TensorFileError("it is not a zip archive, as torch.save writes it")
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile:
        raise TensorFileError("it is cut off or damaged") from None
    with archive:
        members = _Members(archive, stream.seek(0, io.SEEK_END))
        if members.has("byteorder") and members.read("byteorder").tobytes() != b"little":
            raise TensorFileError("its numbers are big-endian")
        return _TensorUnpickler(members, make_tensor).load()


class _Members:
    """The members of an archive beside `data.pkl`. Together they are never larger than the archive."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self._archive = archive
        self._bytes_left = size
        self._infos = {info.filename: info for info in archive.infolist()}
        name = next((name for name in self._infos if name.endswith("/data.pkl")), None)
        if name is None:
            raise TensorFileError("the archive has no data.pkl")
        self._folder = name.removesuffix("data.pkl")

    def has(self, name: str) -> bool:
        return self._folder + name in self._infos

    def read(self, name: str) -> np.ndarray:
        """Return the content of a member, writable uint8 (n,)."""
        info = self._infos.get(self._folder + name)
        if info is None:
            raise TensorFileError(f"the archive has no {name[:100]}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise TensorFileError("it has compressed members, which torch.save does not write")
        self._bytes_left -= info.file_size
        if self._bytes_left < 0 or info.compress_size != info.file_size:
            raise TensorFileError("it has overlapping or damaged members")
        content = bytearray(self._archive.read(info))
        if len(content) != info.file_size:
            raise TensorFileError("it is damaged")
        return np.frombuffer(content, np.uint8)


def _empty_dict() -> dict[Any, Any]:
    """Return a dictionary; unlike dict, this takes no items whose keys are not checked."""
    return {}


class _Opcodes(dict[int, Callable[[Any], None]]):
    """The methods of an unpickler by opcode."""

    def __missing__(self, opcode: int) -> Callable[[Any], None]:
        raise TensorFileError(f"its pickle has the opcode {bytes([opcode])!r}, which torch.save does not write")


class _TensorUnpickler(pickle._Unpickler):
    """Builds plain values and tensors, and nothing else.

    Unlike the unpickler in C, that in Python does not allocate as much memory as a few bytes of the pickle ask for.
    """

    # Attributes of pickle._Unpickler.
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    dispatch = _Opcodes({opcode[0]: pickle._Unpickler.dispatch[opcode[0]] for opcode in _OPCODES})

    def __init__(self, members: _Members, make_tensor: Callable[[np.ndarray], Any]) -> None:
        content = members.read("data.pkl")
        if len(content) > MAX_PICKLE_BYTES:
            raise TensorFileError(f"its pickle is larger than {MAX_PICKLE_BYTES >> 20} MB")
        super().__init__(io.BytesIO(content.tobytes()))
        self._members = members
        self._make_tensor = make_tensor
        self._storages: dict[tuple[str, str], np.ndarray] = {}
        self._allowed: dict[tuple[str, str], Any] = {
            ("torch._utils", "_rebuild_tensor_v2"): self._rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            ("torch", "Size"): tuple,
            ("collections", "OrderedDict"): _empty_dict,
        }

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) not in self._allowed:
            raise TensorFileError(f"it refers to {module[:100]}.{name[:100]}, which is not allowed")
        return self._allowed[module, name]

    def persistent_load(self, storage: Any) -> np.ndarray:
        """Return the numbers of a tensor, (n,): all that the file has, whatever the pickle says."""
        _, dtype, key, *_ = storage
        if (key, dtype) not in self._storages:
            numbers = self._members.read(f"data/{key}").view(_DTYPES[dtype])
            if dtype == "BFloat16Storage":  # the upper half of a float32
                numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
            self._storages[key, dtype] = numbers
        return self._storages[key, dtype]

    def _rebuild_tensor(self, numbers: np.ndarray, offset: int, shape: Any, strides: Any, *_: Any) -> Any:
        """Return a view of `numbers`; `offset` and `strides` count numbers, not bytes."""
        values = (offset, *shape, *strides)
        if len(shape) != len(strides) or any(type(value) is not int or value < 0 for value in values):
            raise TensorFileError("a tensor has an impossible shape")
        last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
        if math.prod(shape) > len(numbers) or (0 not in shape and last >= len(numbers)):
            raise TensorFileError("a tensor has fewer numbers than its shape says")
        size = numbers.itemsize
        array = np.ndarray(shape, numbers.dtype, numbers, offset * size, [stride * size for stride in strides])
        return self._make_tensor(array)

    def load_setitem(self) -> None:
        value = self.stack.pop()
        self._set_items([self.stack.pop(), value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        # The hash of deeply nested tuples would overflow the stack.
        if type(self.stack[-1]) is not dict or any(type(key) not in (str, int) for key in items[::2]):
            raise TensorFileError("a dictionary has keys that are neither strings nor integers")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def load_build(self) -> None:
        """Ignore the attributes of an OrderedDict: PyTorch stores the versions of modules there."""
        self.stack.pop()
        if type(self.stack[-1]) is not dict:
            raise TensorFileError("it sets attributes, which is not allowed")

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.BUILD[0]] = load_build
