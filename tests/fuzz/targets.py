"""What the fuzzer calls: one function per kind of input, and the errors that it may raise.

A target reads `data` as a command would and uses the result as far as the command does. It either returns or raises one
of its documented errors; an assertion checks the result. It may write below `folder`, its working directory, only.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from facetools.commands import cluster, predict, report
from facetools.commands.job import CommandError, Job
from facetools.images import archives, decoding, reading, sources
from facetools.network import checkpoint, onnx
from facetools.network.thresholds import recenter_scores
from facetools.report import build_report, render_html, render_text
from facetools.runtime.inference import create_session
from facetools.table import lists, parts, records, streams
from facetools.table.columns import AttributeColumns, Table, encode_paths
from facetools.table.errors import InputError
from tests.fuzz import mutations, seeds
from tests.images.cases import gray_png, make_zip
from tests.table.cases import encode as encode_table

#: The largest image, in pixels, so that no input takes long; the real limit permits images of 0.8 GB.
MAX_PIXELS = 2**22

#: A rendered page takes 0.2 s because of its charts, so only one of this many inputs is rendered.
PAGE_INTERVAL = 100


@dataclass(frozen=True)
class Target:
    """A kind of input: what to call, the documented errors, the structured mutation, and its share of all inputs."""

    run: Callable[[bytes, Path], object]
    errors: tuple[type[Exception], ...]
    structured: mutations.Mutation | None
    share: float


def prepare() -> None:
    """Make the network and the limits small. Called once per process."""
    decoding.MAX_PIXELS = MAX_PIXELS
    onnx.inverted_residuals = lambda: iter(seeds.BLOCKS)
    onnx.FIRST_CHANNELS, onnx.LAST_CHANNELS = seeds.FIRST_CHANNELS, seeds.LAST_CHANNELS


# Images and archives


def image(data: bytes, folder: Path) -> None:
    size = None if len(data) % 2 else (11, 14)
    pixels = decoding.decode_image(data, size, accept_truncated=len(data) % 3 == 0)
    assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
    assert size is None or pixels.shape[:2] == size


def zip_archive(data: bytes, folder: Path) -> None:
    _read_archive(data, "input.zip")


def tar_archive(data: bytes, folder: Path) -> None:
    _read_archive(data, "input.tar")


def _read_archive(data: bytes, name: str) -> None:
    Path(name).write_bytes(data)
    failures: list[tuple[str, str]] = []
    found = sources.find_images([name], on_failure=lambda path, reason: failures.append((path, reason)))
    paths = list(islice(found, 50))
    with reading.ImageReader() as reader:
        contents = [reading.try_read(reader, path) for path in paths]
    assert all(isinstance(content, bytes | reading.ImageError) for content in contents)


def path_list(data: bytes, folder: Path) -> None:
    # Paths out of the folder would make the search read the file system of the machine.
    data = re.sub(rb"(^|[\r\n\0])[\s\0]*/+", rb"\1", data.replace(b"..", b"__")).replace(b"//", b"/")
    if not Path("faces").exists():
        Path("faces").mkdir()
        for number in range(2):
            Path(f"faces/{number}.png").write_bytes(gray_png(number))
        make_zip(Path("faces.zip"), {"0.png": gray_png(0)})
    Path("input.txt").write_bytes(data)
    failures: list[tuple[str, str]] = []
    for source, null in (("input.txt", False), ("-", False), ("-", True)):
        stdin = io.BytesIO(data)
        found = sources.find_images([source], stdin, null=null, on_failure=lambda *failure: failures.append(failure))
        assert all(isinstance(path, str) for path in islice(found, 1000))
    assert all(reason for _, reason in failures)


# Tables and lists


def table(data: bytes, folder: Path) -> None:
    Path("input").write_bytes(data)
    faces, _ = streams.read_table("input")
    rows = [faces.path(row) for row in range(len(faces))]
    assert len(rows) == len(faces)
    encode_table([faces], "jsonl" if len(data) % 2 else "npy")


def number_list(data: bytes, folder: Path) -> None:
    Path("input.txt").write_bytes(data)
    numbers = lists.read_number_list(Path("input.txt"), ("partition", "identity")[len(data) % 2])
    assert len(numbers.files) == len(numbers.numbers)


def plan(data: bytes, folder: Path) -> None:
    Path("table.parts").mkdir(exist_ok=True)
    Path("table.parts/plan.json").write_bytes(data)
    inputs = ["a.jpg", "b.jpg"]
    table_parts = parts.TableParts.create(Path("table.parts"), inputs, 64, {"batch": 64}, resume=True)
    positions = [row for number in range(len(table_parts)) for row in table_parts.part_inputs(number)]
    assert positions == list(range(len(inputs)))


def attribute_weights(data: bytes, folder: Path) -> None:
    Path("weights.json").write_bytes(data)
    values = cluster._attribute_weights("weights.json", "celeba", ("Bald", "Smiling"), np.ones((1, 2), bool))
    assert values is not None and np.isfinite(values).all()


# Checkpoints


def model(data: bytes, folder: Path) -> None:
    Path("input.pt").write_bytes(data)
    content = checkpoint.read_checkpoint(Path("input.pt"))
    graph = onnx.build_onnx_model(content).SerializeToString()
    attributes = len(content.config.attributes)
    thresholds = predict._thresholds(content.entries, "accuracy", Path("input.pt"))
    scores = recenter_scores(np.full((2, attributes), 0.25, np.float32), thresholds)
    assert scores.shape == (2, attributes)
    if len(data) % 16 == 0:
        session = create_session(graph)
        height, width = content.config.image_size
        if height * width <= MAX_PIXELS:
            (scores,) = session.run(None, {"pixels": np.zeros((1, height, width, 3), np.uint8)})
            assert scores.shape == (1, attributes)


def torch_model(data: bytes, folder: Path) -> None:
    from torch import nn

    from facetools.network import model

    channels = seeds.LAST_CHANNELS
    model.build_backbone = lambda name: nn.Sequential(nn.Conv2d(3, channels, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    Path("input.pt").write_bytes(data)
    model.load_checkpoint(Path("input.pt"))


def onnx_model(data: bytes, folder: Path) -> None:
    """An exported network is no checkpoint."""
    Path("input.onnx").write_bytes(data)
    try:
        checkpoint.read_checkpoint(Path("input.onnx"))
    except checkpoint.CheckpointError:
        return
    raise AssertionError("an ONNX file was read as a checkpoint")


# Reports


def _faces() -> Table:
    labels = AttributeColumns(("Bald", "Young"), np.array([[0, 1], [1, 1]], np.uint8))
    return Table(encode_paths(["a.jpg", "b.jpg"]), None, labels, np.array([0, 1], np.int32))


def _render(data: bytes, **inputs: object) -> None:
    content = build_report(_faces(), **inputs)
    assert "Faces by attribute" in render_text(content)
    if len(data) % PAGE_INTERVAL == 0:
        assert "</html>" in render_html(content)


def comparison(data: bytes, folder: Path) -> None:
    Path("comparison.jsonl").write_bytes(data)
    content = records.read_records("comparison.jsonl", records.COMPARISON)
    _render(data, comparison=content)


def history(data: bytes, folder: Path) -> None:
    Path("history.jsonl").write_bytes(data)
    content = records.read_records("history.jsonl", records.HISTORY)
    _render(data, history=content)


def eigenfaces(data: bytes, folder: Path) -> None:
    Path("faces").mkdir(exist_ok=True)
    for number in range(2):
        Path(f"faces/{number}.png").write_bytes(gray_png(number))
    Path("eigenfaces.jsonl").write_bytes(data)
    _render(data, eigenfaces=report._read_eigenfaces(Job("fa-report"), "eigenfaces.jsonl"))


_IMAGE = (reading.ImageError,)
_ARCHIVE = (archives.ArchiveError, sources.SourceError)
_TABLE = (InputError,)
_RECORDS = (InputError, CommandError)
_CHECKPOINT = (checkpoint.CheckpointError, CommandError)

TARGETS: dict[str, Target] = {
    "JPEG": Target(image, _IMAGE, mutations.jpeg, 0.09),
    "PNG": Target(image, _IMAGE, mutations.png, 0.09),
    "GIF": Target(image, _IMAGE, None, 0.05),
    "WebP": Target(image, _IMAGE, None, 0.04),
    "AVIF": Target(image, _IMAGE, None, 0.03),
    "TIFF": Target(image, _IMAGE, mutations.tiff, 0.10),
    "JPEG 2000": Target(image, _IMAGE, None, 0.04),
    "BMP, PPM, TGA, ICO, DDS": Target(image, _IMAGE, None, 0.08),
    "other images": Target(image, _IMAGE, None, 0.05),
    "zip": Target(zip_archive, _ARCHIVE, mutations.zip_headers, 0.06),
    "tar": Target(tar_archive, _ARCHIVE, mutations.tar, 0.06),
    "NPY": Target(table, _TABLE, mutations.npy_header, 0.07),
    "JSONL": Target(table, _TABLE, mutations.json_value, 0.07),
    "attribute list": Target(table, _TABLE, mutations.text_list, 0.05),
    "number list": Target(number_list, _TABLE, mutations.text_list, 0.03),
    "path list": Target(path_list, _ARCHIVE, mutations.text_list, 0.02),
    "checkpoint": Target(model, _CHECKPOINT, mutations.zip_members, 0.02),
    "checkpoint, torch": Target(torch_model, _CHECKPOINT, mutations.zip_members, 0.004),
    "ONNX": Target(onnx_model, _CHECKPOINT, None, 0.006),
    "comparison": Target(comparison, _RECORDS, mutations.json_value, 0.01),
    "history": Target(history, _RECORDS, mutations.json_value, 0.01),
    "eigenface records": Target(eigenfaces, (*_RECORDS, ValueError), mutations.json_value, 0.01),
    "attribute weights": Target(attribute_weights, _RECORDS, mutations.json_value, 0.005),
    "plan of parts": Target(plan, (parts.PartsError,), mutations.json_value, 0.005),
}
