"""The commands that write, with small inputs, and what complete outputs are.

Every run has a working directory of its own and names its outputs relative to it, so all runs of a case write the same.
"""

from __future__ import annotations

import io
import json
import subprocess
import xml.etree.ElementTree
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facetools.network.checkpoint import STARTER_MODEL, read_checkpoint
from facetools.table.attributes import PAPER10
from tests.conftest import TINY, command
from tests.photos.markers import draw_photo, marker_file


@dataclass(frozen=True)
class Case:
    """A command that writes.

    name: what the table of results calls it.
    arguments: the command and its arguments; `{inputs}` stands for the folder of make_inputs.
    grows: whether files that a run leaves before its end may differ from those at the end: epochs, parts.
    """

    name: str
    arguments: tuple[str, ...]
    grows: bool = False

    def command_line(self, inputs: Path) -> list[str]:
        name, *arguments = (argument.format(inputs=inputs) for argument in self.arguments)
        return command(name, *arguments, "--jobs", "2", "--quiet")


def _case(name: str, line: str, *more: str, grows: bool = False) -> Case:
    return Case(name, (*line.split(), *more), grows)


#: fa-align on photographs with one or two markers.
_ALIGN = "align {inputs}/photos --detector {inputs}/yunet.onnx"

CASES = (
    _case("fa-align, folder", f"{_ALIGN} -o crops --sheet sheet.png --table crops.jsonl"),
    _case("fa-align, zip", f"{_ALIGN} -o crops.zip --table crops.jsonl"),
    _case("fa-align --resume", f"{_ALIGN} -o crops --table crops.jsonl --resume", grows=True),
    _case("fa-augment, folder", "augment {inputs}/faces -o copies --copies 2 --sheet sheet.png"),
    _case("fa-augment, zip", "augment {inputs}/faces -o copies.zip --copies 2"),
    _case("fa-train --resume", "train {inputs}/drawn -o run --epochs 2 --resume", *TINY, grows=True),
    _case("fa-predict", "predict {inputs}/faces -o scores.jsonl"),
    _case("fa-predict --resume", "predict {inputs}/faces -o scores.npy --batch 4 --resume", grows=True),
    _case("fa-predict --parts", "predict {inputs}/faces -o scores.npy --batch 4 --parts --resume", grows=True),
    _case("fa-cluster", "cluster {inputs}/clusters.jsonl -k 3 -o clusters.npy --summary summary.json"),
    _case("fa-cluster --compare", "cluster {inputs}/clusters.jsonl --compare 2:5 -o comparison.jsonl"),
    _case("fa-eigenface", "eigenface {inputs}/clusters.jsonl -o eigenfaces"),
    _case("fa-report", "report {inputs}/clusters.jsonl -o report.html --figures figures --faces 2"),
    _case("draw", "draw drawn --faces 12 --size 40x32"),
    _case("export", f"export {STARTER_MODEL} -o model.onnx"),
)


def make_inputs(folder: Path) -> None:
    """Write faces in CelebA's layout, a folder of faces and a table with scores and clusters to `folder`."""
    line = command(
        "draw", "drawn", "--faces", "24", "--size", "40x32", "--valid-share", "0.25", "--test-share", "0", "-q"
    )
    subprocess.run(line, cwd=folder, check=True)
    marker_file(folder / "yunet.onnx")
    (folder / "photos").mkdir()
    (folder / "faces").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    with zipfile.ZipFile(folder / "drawn" / "img_align_celeba.zip") as archive:
        for number, name in enumerate(sorted(archive.namelist())[:12]):
            path = folder / "faces" / f"{number}.jpg"
            path.write_bytes(archive.read(name))
            scores = dict(zip(PAPER10, rng.random(len(PAPER10)).round(3).tolist(), strict=True))
            rows.append({"path": str(path), "scores": scores, "cluster": number % 2})
    for number in range(40):
        draw_photo([(1, 1, 50), (3, 4, 60)][: 1 + number % 2], seed=number).save(folder / "photos" / f"{number}.png")
    (folder / "clusters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def output_files(folder: Path) -> dict[str, Path]:
    """The files below `folder`, by their relative paths, sorted."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def is_temporary(name: str) -> bool:
    """Whether a file is one of those that are renamed when they are complete."""
    return name.endswith(".part")


def find_damage(case: Case, folder: Path, reference: Path, *, finished: bool) -> Iterator[str]:
    """Yield what is wrong with the outputs in `folder`, compared with those of an undisturbed run.

    With `finished`, all of them have to be there; otherwise each is absent or complete.
    """
    expected, actual = output_files(reference), output_files(folder)
    if finished:
        yield from (f"{name} is missing" for name in expected if name not in actual)
        yield from (f"{name} is left" for name in actual if name not in expected)
    for name, path in actual.items():
        if is_temporary(name):
            continue
        if name not in expected and not case.grows:
            yield f"{name} is no output"
            continue
        # A file that grows is compared with its final state only when the command has finished.
        complete = expected.get(name) if finished or not case.grows else None
        try:
            content = _content(path)
        except Exception as error:
            yield f"{name} is damaged: {type(error).__name__}: {error}"
            continue
        if complete is not None and path.read_bytes() != complete.read_bytes() and content != _content(complete):
            yield f"{name} differs"


def _content(path: Path) -> object:
    """What an output says apart from times and command lines. Raises any exception if it is not complete."""
    suffix, data = path.suffix, path.read_bytes()
    if suffix == ".npy":
        return np.load(io.BytesIO(data)).tolist()
    if suffix == ".npz":
        return {key: array.tolist() for key, array in np.load(io.BytesIO(data)).items()}
    if suffix == ".pt":
        return {key: array.tobytes() for key, array in read_checkpoint(path).weights.items()}
    if suffix in (".json", ".jsonl"):
        assert data.endswith(b"\n")
        records = [json.loads(data)] if suffix == ".json" else [json.loads(line) for line in data.splitlines()]
        return [
            {key: value for key, value in record.items() if key not in ("seconds", "made_by", "images_per_second")}
            for record in records
        ]
    if suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {member.filename: archive.read(member) for member in archive.infolist()}
    if suffix in (".png", ".jpg"):
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size, picture.tobytes()
    if suffix == ".svg":
        return xml.etree.ElementTree.fromstring(data).tag
    if suffix == ".html":
        assert data.rstrip().endswith(b"</html>")
        return len(data) // 1000
    return data
