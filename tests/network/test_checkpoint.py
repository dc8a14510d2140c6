"""Damaged and hostile checkpoints and weights: always a CheckpointError with the reason; no code, no excess memory."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from facetools.network.backbones import build_backbone
from facetools.network.checkpoint import CheckpointError, read_checkpoint
from facetools.network.model import load_checkpoint
from facetools.network.tensor_files import TensorFileError, read_tensor_file
from tests.conftest import Run

READERS: list[Callable[[Path], Any]] = [read_checkpoint, load_checkpoint]


def write_archive(path: Path, pickled: bytes, compression: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    """Write a file like torch.save's with the pickle `pickled`, and `members` as the numbers of tensors."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, content in members.items():
            archive.writestr(f"archive/data/{key}", content)
    return path


def assert_rejected(path: Path, reason: str) -> None:
    for read in READERS:
        with pytest.raises(CheckpointError, match=f"^{path}: [^\n]*{reason}[^\n]*$"):
            read(path)


# What is in a pickle


def text(value: str) -> bytes:
    return pickle.BINUNICODE + len(value.encode()).to_bytes(4, "little") + value.encode()


def tensor(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], key: str = "k", dtype: str = "Float"
) -> bytes:
    """The opcodes of a tensor."""

    def numbers(*values: int) -> bytes:
        encoded = [pickle.encode_long(value) for value in values]
        return b"".join(pickle.LONG1 + bytes([len(value)]) + value for value in encoded)

    storage = b"(" + text("storage") + f"ctorch\n{dtype}Storage\n".encode() + text(key) + text("cpu") + b"K\x01tQ"
    arguments = storage + numbers(offset) + b"(" + numbers(*shape) + b"t(" + numbers(*strides) + b"t\x89N"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def test_tensors_lie_within_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    numbers = np.arange(6, dtype="<f4").tobytes()
    for offset, shape, strides, expected in (
        (0, (2, 3), (3, 1), [[0, 1, 2], [3, 4, 5]]),
        (1, (2, 2), (1, 2), [[1, 3], [2, 4]]),
        (5, (), (), 5),
        (0, (0, 9), (9, 1), []),
    ):
        write_archive(path, b"\x80\x02" + tensor(offset, shape, strides) + b".", k=numbers)
        assert read_tensor_file(path).tolist() == expected
        assert torch.equal(read_tensor_file(path, torch.from_numpy), torch.tensor(expected).reshape(shape))
    for offset, shape, strides in (
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (-1, (2,), (1,)),
        (2, (2,), (-1,)),
        (0, (-1,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (2,), (2**62,)),
        (0, (2**62,), (0,)),
        (2**62, (1,), (1,)),
        (0, (1 << 40, 1 << 40), (0, 0)),
        (0, (2, 3), (3,)),
    ):
        write_archive(path, b"\x80\x02" + tensor(offset, shape, strides) + b".", k=numbers)
        with pytest.raises(
            TensorFileError, match=r"a tensor has (fewer numbers than its shape says|an impossible shape)"
        ):
            read_tensor_file(path)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    values = torch.tensor([1.5, -2.25, 3e38])
    torch.save({"a": values.bfloat16()}, tmp_path / "x.pt")
    read = read_tensor_file(tmp_path / "x.pt")["a"]
    assert read.dtype == np.float32
    assert read.tolist() == values.bfloat16().float().tolist()


@pytest.mark.parametrize(
    "value",
    [
        {"a": torch.arange(6).reshape(2, 3).t(), "b": [torch.ones(2, dtype=torch.float64), (1, None, True, -(2**80))]},
        {"half": torch.ones(3).half(), "parameter": torch.nn.Parameter(torch.ones(2)), "size": torch.ones(2, 3).shape},
        {1: {"x": 1.5}, "state": torch.nn.BatchNorm1d(3).state_dict()},
    ],
)
def test_files_of_torch_are_read_as_by_torch(value: dict[Any, Any], tmp_path: Path) -> None:
    torch.save(value, tmp_path / "x.pt")
    expected = torch.load(tmp_path / "x.pt", weights_only=True)
    read = read_tensor_file(tmp_path / "x.pt", torch.from_numpy)
    torch.testing.assert_close(flatten(read), flatten(expected), rtol=0, atol=0)


def flatten(value: Any) -> list[Any]:
    """The leaves of nested containers, as tensors or strings."""
    if isinstance(value, dict):
        return [leaf for key in value for leaf in (torch.tensor(hash(key) % 1000), *flatten(value[key]))]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in flatten(item)]
    return [value.detach() if isinstance(value, torch.Tensor) else torch.tensor(hash(repr(value)) % 1000)]


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (Call(eval, "__import__('pathlib').Path('{target}').touch()"), r"builtins\.eval|__builtin__\.eval|opcode"),
        (Call(Path.touch, Path("{target}")), r"pathlib\.Path|builtins\.getattr|__builtin__\.getattr|opcode"),
        (Call(torch.load, "x"), r"torch\.serialization\.load|opcode"),
        (Call(torch.nn.Linear, 1, 1), r"torch\.nn\.modules\.linear\.Linear|opcode"),
        (Call(torch.empty, 10**12), r"torch\.empty|builtins|__builtin__|torch\._C|opcode"),
    ],
)
def test_nothing_but_tensors_is_built(call: Call, name: str, protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "target"
    function, arguments = call.call
    call = Call(function, *(type(argument)(str(argument).format(target=target)) for argument in arguments))
    try:
        pickled = pickle.dumps({"format": "facetools checkpoint 1", "config": call}, protocol=protocol)
    except pickle.PicklingError:
        pytest.skip("not picklable by this protocol")
    assert_rejected(write_archive(tmp_path / "x.pt", pickled), f"not a readable checkpoint: .*({name})")
    assert not target.exists()


NESTED = b"\x80\x02})" + pickle.TUPLE1 * 100_000


@pytest.mark.parametrize(
    ("pickled", "reason"),
    [
        (b"\x80\x02N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f.", "does not hold a dictionary"),
        (b"\x80\x05" + pickle.BYTEARRAY8 + (2**40).to_bytes(8, "little") + b"x.", "opcode"),
        (b"\x80\x02" + pickle.BINUNICODE + b"\xff\xff\xff\xffx.", "it is damaged"),
        (b"\x80\x02" + pickle.LONG1 + b"\xffx.", "it is damaged"),
        (NESTED + b"Ns.", "keys that are neither strings nor integers"),
        (NESTED[:3] + b"(" + NESTED[3:] + b"Nu.", "keys that are neither strings nor integers"),
        (NESTED + b".", "does not hold a dictionary"),
        (b"\x80\x02}q\x00" + text("format") + b"h\x00s.", "not a facetools checkpoint"),
        (b"\x80\x02ccollections\nOrderedDict\n((N\x85\x85tR.", "it is damaged"),
        (b"\x80\x02ccollections\nOrderedDict\n)R" + text("x") + b"b.", "does not hold a dictionary|not a facetools"),
        (b"\x80\x02]" + text("x") + b"b.", "it sets attributes"),
        (b"\x80\x02ctorch\nSize\n)R" + text("x") + b"Ns.", "keys that are neither"),
        (b"\x80\x02NQ.", "it is damaged"),
        (b"\x80\x02", "it is damaged"),
        (b"", "it is damaged"),
        (b"\x80\x02" + tensor(0, (1,), (1,), key="missing") + b".", "the archive has no data/missing"),
        (b"\x80\x02" + tensor(0, (1,), (1,), dtype="Quantized") + b".", "torch.QuantizedStorage, which is not allowed"),
        (b"\x80\x02" + tensor(0, (1,), (1,), dtype="Float") + b"Ns.", "keys that are neither|damaged"),
    ],
)
def test_impossible_pickles_are_rejected(pickled: bytes, reason: str, tmp_path: Path) -> None:
    assert_rejected(write_archive(tmp_path / "x.pt", pickled, k=bytes(8)), reason)


def test_memory_is_bounded_by_the_file(tmp_path: Path) -> None:
    """Compressed members, members at the same place, and tensors that share their numbers take no more."""
    path = tmp_path / "x.pt"
    many = b"\x80\x02(" + tensor(0, (1 << 22,), (1,)) * 2000 + b"t."
    write_archive(path, many, k=bytes(4 << 22))
    script = (
        "import sys; from pathlib import Path; from facetools.network.tensor_files import read_tensor_file\n"
        "read_tensor_file(Path(sys.argv[1]))\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"  # in kB
    )
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, check=True)
    assert int(done.stdout) < 200_000
    write_archive(path, many, zipfile.ZIP_DEFLATED, k=bytes(4 << 22))
    assert_rejected(path, "it has compressed members")

    keys = [f"k{number}" for number in range(1000)]
    pickled = b"\x80\x02(" + b"".join(tensor(0, (1,), (1,), key=key) for key in keys) + b"t."
    write_archive(path, pickled, **dict.fromkeys(keys, b""), k=bytes(1 << 20))
    # Let all entries of the central directory point at the last member.
    data = bytearray(path.read_bytes())
    offset = data.rindex(b"PK\x03\x04", 0, data.index(b"PK\x01\x02"))
    crc, size = data[offset + 14 : offset + 18], (1 << 20).to_bytes(4, "little")
    for entry in re.finditer(rb"PK\x01\x02", bytes(data)):
        start = entry.start()
        if data[start + 46 :].startswith(b"archive/data/k") and data[start + 28 : start + 30] != b"\x0e\x00":
            data[start + 16 : start + 28] = crc + size + size
            data[start + 42 : start + 46] = offset.to_bytes(4, "little")
    path.write_bytes(data)
    assert_rejected(path, "overlapping or damaged|it is damaged")


# The entries of a checkpoint


@pytest.fixture(scope="module")
def content(shufflenet_checkpoint: Path) -> dict[str, Any]:
    return torch.load(shufflenet_checkpoint, weights_only=True)


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("attributes", [], "attributes are"),
        ("attributes", ["Bald", "Bald"], "some of them twice"),
        ("attributes", "Bald", "must be lists"),
        ("attributes", None, "must be lists"),
        ("attributes", [1], "attributes are"),
        ("attributes", [""], "attributes are"),
        ("attributes", ["\ud800"], "attributes are"),
        ("image_size", [0, 32], "image size is 0; it must be from 1 to 4096"),
        ("image_size", [32, 10**9], "image size is 1000000000"),
        ("image_size", [32.0, 32], "image size is 32.0"),
        ("image_size", [32], "not height and width"),
        ("image_size", 32, "must be lists"),
        ("head", -1, "head is -1"),
        ("head", 10**12, "head is 1000000000000"),
        ("head", True, "head is True"),
        ("head", "x", "head is x"),
        ("dropout", 1.5, "dropout is 1.5"),
        ("dropout", float("nan"), "dropout is nan"),
        ("first_stride", 3, "first stride is 3"),
        ("flip_average", 1, "flip_average is 1"),
        ("backbone", 1, "backbone is 1"),
        ("color", 1, "unknown entry color"),
    ],
)
def test_impossible_configurations_are_rejected(
    setting: str, value: Any, reason: str, content: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(content | {"config": content["config"] | {setting: value}}, tmp_path / "x.pt")
    assert_rejected(tmp_path / "x.pt", f"the checkpoint has missing or mismatched entries: .*{reason}")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("head.4.bias", torch.tensor([float("nan")]), "head.4.bias has values that are not finite"),
        ("head.4.bias", torch.tensor([float("inf")]), "head.4.bias has values that are not finite"),
        ("head.2.running_var", -torch.ones(4), "head.2.running_var has negative variances"),
        ("head.4.bias", None, "head.4.bias is no tensor"),
        ("head.4.bias", [1.0], "head.4.bias is no tensor"),
        (3, torch.ones(1), "dictionaries of named entries"),
    ],
)
def test_impossible_weights_are_rejected(
    name: Any, value: Any, reason: str, content: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(content | {"model": content["model"] | {name: value}}, tmp_path / "x.pt")
    assert_rejected(tmp_path / "x.pt", reason)


@pytest.mark.parametrize("value", [[0.5], {"accuracy": [0.5, 0.5]}, {"accuracy": "x"}, {"accuracy": [2.0]}, {1: [0.5]}])
def test_impossible_thresholds_are_rejected(value: Any, content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content | {"thresholds": value}, tmp_path / "x.pt")
    assert_rejected(tmp_path / "x.pt", "thresholds")


def test_a_checkpoint_without_weights_is_rejected(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save({name: value for name, value in content.items() if name != "model"}, tmp_path / "x.pt")
    assert_rejected(tmp_path / "x.pt", "it has no model")


def test_random_damage_is_a_checkpoint_error(shufflenet_checkpoint: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "x.pt", shufflenet_checkpoint.read_bytes()
    with zipfile.ZipFile(shufflenet_checkpoint) as archive:
        pickled = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    start = data.index(pickled)
    rng = np.random.default_rng(0)
    outcomes = set()
    for number in range(200):
        damaged = bytearray(data)
        # The pickle, where every byte counts, or the directory of the archive.
        first, last = (start, start + len(pickled)) if number % 2 else (len(data) - 3000, len(data))
        for position in rng.integers(first, last, 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_checkpoint(path)
        except CheckpointError as error:
            assert str(error).startswith(f"{path}: ")
            outcomes.add(str(error))
    assert outcomes


# Commands


@pytest.mark.parametrize("kind", ["exploit", "cut", "onnx", "pipe"])
def test_commands_refuse_what_is_no_checkpoint(
    kind: str, shufflenet_checkpoint: Path, run: Run, tmp_path: Path
) -> None:
    path, target = tmp_path / "x.pt", tmp_path / "target"
    if kind == "exploit":
        write_archive(path, pickle.dumps(Call(eval, f"open({str(target)!r}, 'w')"), protocol=2))
        reason = "it refers to __builtin__.eval, which is not allowed"
    elif kind == "cut":
        path.write_bytes(shufflenet_checkpoint.read_bytes()[:-100])
        reason = "it is cut off or damaged"
    elif kind == "onnx":
        path = tmp_path / "x.onnx"
        run("export", Path(__file__).parents[2] / "facetools/network/starter/starter.pt", "-o", path)
        reason = (
            "it is not a zip archive, as torch.save writes it; give the checkpoint that the ONNX model was exported"
        )
    else:
        path = Path("/dev/stdin")
        reason = "it is a pipe"
    options = {"input": shufflenet_checkpoint.read_bytes()} if kind == "pipe" else {}
    image = tmp_path / "face.png"
    Image.new("RGB", (32, 32)).save(image)
    done = run("predict", image, "--model", path, check=1, **options)
    assert f"fa-predict: {path}: not a readable checkpoint: {reason}" in done.stderr.decode()
    done = run("export", path, "-o", tmp_path / "out.onnx", check=1, **options)
    assert f"{path}: not a readable checkpoint: {reason}" in done.stderr.decode()
    assert not (tmp_path / "out.onnx").exists() and not target.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_weights_that_would_run_code_or_do_not_fit_are_refused(legacy: bool, tmp_path: Path) -> None:
    path, target = tmp_path / "weights.pth", tmp_path / "target"
    state: dict[Any, Any] = build_backbone("resnet18").state_dict()
    for content, reason in (
        ({"x": Call(eval, f"open({str(target)!r}, 'w')")}, "not a readable checkpoint: "),
        ({"conv1.weight": torch.ones(1)}, "not weights of resnet18: bn1.weight is missing"),
        (state | {"conv1.weight": torch.ones(1)}, "not weights of resnet18: conv1.weight has another shape"),
        (state | {"conv1.weight": "x"}, "conv1.weight is no tensor"),
        (state | {"conv1.weight": state["conv1.weight"] * torch.nan}, "conv1.weight has values that are not finite"),
        ([1], "not a checkpoint: it does not hold a dictionary"),
        ({1: 2}, "not a checkpoint: it does not hold a dictionary"),
        ({"model": 3}, "not a checkpoint: it does not hold a dictionary"),
    ):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(CheckpointError, match=f"^{path}: [^\n]*{reason}"):
            build_backbone("resnet18", str(path))
    assert not target.exists()
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    torch.testing.assert_close(build_backbone("resnet18", str(path)).state_dict(), state, rtol=0, atol=0)
