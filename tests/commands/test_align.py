"""fa-align: records, crops, names, outputs, tables in parts; faces are markers (see tests/photos/markers.py)."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facetools.network.graph import GraphBuilder
from facetools.photos.alignment import TEMPLATE, alignment_points, apply_transforms
from tests.conftest import Run, command, run_processes
from tests.photos.markers import CELL, LANDMARKS, draw_photo, marker_file, yunet_file

#: Cells and sides of the faces in the photographs of `photos`, largest first.
FACES = {"a": [(3, 4, 80), (1, 1, 50)], "b": [(2, 2, 60)], "c": [(1, 4, 44), (4, 1, 43), (1, 1, 42)]}


def parse(stdout: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def save(path: Path, faces: list[tuple[int, int, int]], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_photo(faces).save(path, **options)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with the detector `markers.onnx` and the photographs FACES in photos/."""
    marker_file(tmp_path / "markers.onnx")
    for name, faces in FACES.items():
        save(tmp_path / "photos" / f"{name}.png", faces)
    return tmp_path


@pytest.fixture
def align(run: Run, photos: Path) -> Any:
    """Run fa-align with the detector of markers in the folder of `photos`."""

    def run_align(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
        return run("align", *arguments, "--detector", "markers.onnx", cwd=photos, **options)

    return run_align


def test_records_and_crops_describe_the_faces(align: Any, photos: Path) -> None:
    records = parse(align("photos", "-o", "crops").stdout)
    assert [record["path"] for record in records] == [
        f"crops/{name}-{number}.jpg" for name, faces in FACES.items() for number in range(len(faces))
    ]
    expected = [(name, number, face) for name, faces in FACES.items() for number, face in enumerate(faces)]
    for record, (name, number, (column, row, side)) in zip(records, expected, strict=True):
        center = np.array((CELL * column, CELL * row))
        assert (record["source"], record["face"]) == (f"photos/{name}.png", number)
        assert record["box"] == pytest.approx([*(center - side / 2), side, side], abs=0.01)
        assert record["landmarks"] == pytest.approx(center + LANDMARKS, abs=0.01)
        assert record["detection"] == 1
        transform = np.array(record["transform"])
        mapped = apply_transforms(transform[None], alignment_points(np.array([record["landmarks"]])))[0]
        assert mapped.mean(axis=0) == pytest.approx(TEMPLATE.mean(axis=0), abs=0.01)
        assert np.ptp(mapped[:2, 0]) == pytest.approx(np.ptp(TEMPLATE[:2, 0]), rel=0.25)
        with Image.open(photos / record["path"]) as crop:
            assert crop.size == (178, 218) and crop.format == "JPEG"


def test_size_and_format(align: Any, photos: Path) -> None:
    (record,) = parse(align("photos/b.png", "-o", "crops", "--size", "109x89", "--format", "png").stdout)
    (full,) = parse(align("photos/b.png", "-o", "full").stdout)
    assert record["path"] == "crops/b-0.png"
    assert np.array(record["transform"]) == pytest.approx(np.array(full["transform"]) / 2)
    with Image.open(photos / record["path"]) as crop:
        assert crop.size == (89, 109) and crop.format == "PNG"


def test_crops_have_the_full_resolution_whatever_the_detector_sees(align: Any, photos: Path) -> None:
    """The detector finds the same marker in a photograph that is reduced to half, because each cell is one color."""
    pixels = np.asarray(draw_photo([(2, 2, 60)], (96, 96))).copy()
    pixels[64:96, 64:96] = (255, 28, 0)
    Image.fromarray(pixels).resize((192, 192), Image.Resampling.NEAREST).save(photos / "large.png")
    (record,) = parse(align("large.png", "-o", "crops", "--max-side", "96", "--format", "png").stdout)
    assert record["box"] == pytest.approx([2 * (64 - 30), 2 * (64 - 30), 120, 120], abs=0.05)
    (again,) = parse(align("large.png", "-o", "again", "--format", "png", "--faces", "largest").stdout)
    assert again["box"][2] == pytest.approx(60, abs=0.05)  # at full resolution the cell is a quarter of the square


def test_the_orientation_is_applied(align: Any, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright = draw_photo([(1, 3, 50)])
    upright.transpose(Image.Transpose.ROTATE_90).save(photos / "turned.png", exif=exif)
    upright.save(photos / "upright.png")
    record, expected = parse(align("turned.png", "upright.png", "-o", "crops", "--format", "png").stdout)
    assert record["box"] == pytest.approx([32 - 25, 96 - 25, 50, 50], abs=0.01)
    with Image.open(photos / record["path"]) as crop, Image.open(photos / expected["path"]) as other:
        assert crop.tobytes() == other.tobytes()


@pytest.mark.parametrize(("limit", "count"), [("largest", 1), ("2", 2), ("9", 3), ("all", 3)])
def test_the_largest_faces_are_chosen(limit: str, count: int, align: Any) -> None:
    records = parse(align("photos/c.png", "-o", "crops", "--faces", limit).stdout)
    assert [record["box"][2] for record in records] == pytest.approx([44, 43, 42][:count], abs=0.01)


def test_low_faces_and_uncertain_ones_are_left_out(align: Any) -> None:
    assert len(parse(align("photos/c.png", "--boxes-only", "--min-face", "43").stdout)) == 2
    assert len(parse(align("photos/c.png", "--boxes-only", "--min-face", "10").stdout)) == 3


@pytest.mark.parametrize(("options", "expected"), [((), [0.9, 0.75]), (("--min-score", "0.8"), [0.9])])
def test_uncertain_faces_are_left_out(options: tuple[str, ...], expected: list[float], run: Run, photos: Path) -> None:
    """The detector finds four faces in a photograph of 64 x 64 pixels, whatever it shows."""
    scores = np.array([0.9, 0.75, 0.65, 0.4]).reshape(1, 4, 1)
    points = np.tile((LANDMARKS / 32).reshape(1, 1, 10), (1, 4, 1))
    values = {"cls_32": scores, "obj_32": scores, "kps_32": points, "bbox_32": np.zeros((1, 4, 4))}
    yunet_file(photos / "constant.onnx", values)
    Image.new("RGB", (64, 64)).save(photos / "black.png")
    arguments = ("black.png", "--boxes-only", "--min-face", "1", "--detector", "constant.onnx", *options)
    records = parse(run("align", *arguments, cwd=photos).stdout)
    assert [record["detection"] for record in records] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photos",), b"--boxes-only"),
        (("photos", "--boxes-only", "-o", "crops"), b"--output"),
        (("photos", "--boxes-only", "--size", "64"), b"--size"),
        (("photos", "-o", "crops", "--faces", "none"), b"--faces"),
        (("photos", "-o", "crops", "--faces", "0"), b"--faces"),
        (("photos", "-o", "crops", "--faces", "-1"), b"--faces"),
        (("photos", "-o", "crops", "--faces", "1.5"), b"--faces"),
        (("photos", "-o", "crops", "--min-face", "nan"), b"--min-face"),
        (("photos", "-o", "crops", "--min-score", "1.1"), b"--min-score"),
        (("photos", "-o", "crops", "--max-side", "31"), b"--max-side"),
        (("photos", "-o", ""), b"is not a folder"),
        (("photos", "-o", "photos/a.png"), b"is not a folder"),
        (("photos", "--boxes-only", "--format", "png"), b"--format"),
        (("photos", "-o", "crops", "--size", "big"), b"--size"),
        (("photos", "-o", "crops", "--table", "t.npy"), b"NPY"),
        (("photos", "-o", "crops.tar"), b"--output"),
        (("photos", "-o", "crops", "--sheet", "sheet.txt"), b"--sheet"),
        (("photos", "-o", "crops", "--sheet", "photos/a.png"), b"would replace the image"),
        (("photos/a.png", "-o", "crops", "--table", "photos/a.png"), b"would replace the input"),
        (("photos", "-o", "crops", "--resume"), b"stdout"),
        (("photos", "-o", "crops", "--parts"), b"stdout"),
        (("photos", "-o", "crops.zip", "--table", "t.jsonl", "--resume"), b"--output"),
        (("photos", "-o", "crops", "--table", "t.jsonl", "--resume", "--sheet", "s.png"), b"--sheet"),
        (("photos", "t.jsonl", "-o", "crops"), b"only source"),
    ],
)
def test_usage_errors(arguments: tuple[str, ...], message: bytes, align: Any, photos: Path) -> None:
    (photos / "t.jsonl").write_text('{"path": "photos/a.png"}\n')
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    done = align(*arguments, check=2)
    assert message in done.stderr
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("detector", "code", "message"),
    [
        ("none.onnx", 1, b"none.onnx: No such file"),
        ("photos/a.png", 1, b"is not a detector"),
        ("haar", 1, b"is not a detector"),
        ("text.onnx", 1, b"cannot read it"),
        ("other.onnx", 1, b"not a YuNet"),
    ],
)
def test_what_is_no_detector(detector: str, code: int, message: bytes, run: Run, photos: Path) -> None:
    (photos / "text.onnx").write_text("text")
    graph = GraphBuilder()
    graph.node("Cast", "pixels", output="scores", to=1)
    (photos / "other.onnx").write_bytes(graph.model([1, 3, 64, 64], {"scores": None}).SerializeToString())
    done = run("align", "photos", "-o", "crops", "--detector", detector, cwd=photos, check=code)
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (photos / "crops").exists()


def test_photos_without_a_face_are_reported(align: Any, photos: Path) -> None:
    save(photos / "photos" / "empty.png", [])
    (photos / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    done = align("photos", "-o", "crops", check=3)
    assert len(parse(done.stdout)) == 6
    assert b"photos/empty.png: no face was found" in done.stderr and b"broken.jpg" in done.stderr
    assert b"2 inputs were left out" in done.stderr
    assert b"6 faces in 3 photos" in done.stderr
    align("photos", "-o", "crops", "--on-error", "skip")
    done = align("photos", "-o", "crops", "--on-error", "stop", "--table", "t.jsonl", check=1)
    assert done.stderr.splitlines()[-1].startswith(b"fa-align: photos/broken.jpg: ")
    assert not (photos / "t.jsonl").exists()


def test_truncated_photos_are_left_out_unless_accepted(align: Any, photos: Path) -> None:
    content = (photos / "photos" / "b.png").read_bytes()
    (photos / "cut.png").write_bytes(content[: len(content) * 7 // 10])  # the marker is in the first half
    done = align("cut.png", "photos/b.png", "--boxes-only", check=3)
    assert [record["source"] for record in parse(done.stdout)] == ["photos/b.png"]
    done = align("cut.png", "photos/b.png", "--boxes-only", "--truncated")
    assert [record["source"] for record in parse(done.stdout)] == ["cut.png", "photos/b.png"]
    assert b"1 truncated image was accepted" in done.stderr


def test_an_error_message_under_the_name_of_a_photo_is_no_table(align: Any, run: Run, photos: Path) -> None:
    (photos / "failed.jpg").write_text('{"error": "not found"}')
    for name, arguments in (("align", ("--boxes-only", "--detector", "markers.onnx")), ("predict", ())):
        done = run(name, "photos/b.png", "failed.jpg", *arguments, cwd=photos, check=3)
        assert len(parse(done.stdout)) == 1
        assert b"left out failed.jpg: not an image" in done.stderr


def test_without_any_face_nothing_is_written(align: Any, photos: Path) -> None:
    save(photos / "empty.png", [])
    done = align("empty.png", "-o", "crops", "--table", "t.jsonl", "--sheet", "s.png", check=1)
    assert b"no face was found in 1 photograph" in done.stderr
    assert not (photos / "t.jsonl").exists() and not (photos / "s.png").exists()
    assert not done.stdout and not list((photos / "crops").iterdir())
    align("empty.png", "-o", "crops.zip", check=1)
    assert not (photos / "crops.zip").exists()


def test_the_table_goes_to_a_file(align: Any, photos: Path) -> None:
    expected = align("photos", "--boxes-only").stdout
    assert all("path" not in record for record in parse(expected))
    assert not align("photos", "--boxes-only", "--table", "t.jsonl").stdout
    assert (photos / "t.jsonl").read_bytes() == expected
    align("photos", "--boxes-only", "--table", "none/t.jsonl", check=1)


def test_the_sheet_shows_the_photos(align: Any, photos: Path) -> None:
    align("photos", "-o", "crops", "--sheet", "sheet.png")
    with Image.open(photos / "sheet.png") as sheet:
        assert sheet.width > sheet.height > 300
        colors = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    is_yellow = (colors[:, :2] > 180).all(axis=1) & (colors[:, 2] < 90)
    assert is_yellow.sum() > 500


def test_zip_output(align: Any, photos: Path) -> None:
    records = parse(align("photos", "-o", "crops.zip").stdout)
    folder = parse(align("photos", "-o", "crops").stdout)
    with zipfile.ZipFile(photos / "crops.zip") as archive:
        assert archive.namelist() == [record["path"].removeprefix("crops.zip/") for record in records]
        for record, other in zip(records, folder, strict=True):
            member = archive.read(record["path"].removeprefix("crops.zip/"))
            with Image.open(io.BytesIO(member)) as crop, Image.open(photos / other["path"]) as file:
                assert crop.tobytes() == file.tobytes()


def test_names_keep_folders_and_do_not_collide(align: Any, photos: Path) -> None:
    for name in ("x/a.png", "y/a.png", "y/a.bmp", "y/ä b.c.png", "y/new\nline.png", f"y/{'n' * 250}.png"):
        save(photos / "tree" / name, [(2, 2, 60)])
    paths = [record["path"] for record in parse(align("tree", "-o", "crops").stdout)]
    assert paths == [
        "crops/x/a-0.jpg",
        "crops/y/a-0.jpg",
        "crops/y/a~2-0.jpg",
        "crops/y/new\nline-0.jpg",
        f"crops/y/{'n' * 220}-0.jpg",
        "crops/y/ä b.c-0.jpg",
    ]
    assert all((photos / path).exists() for path in paths)
    assert [record["path"] for record in parse(align("./tree/", "-o", "crops").stdout)] == paths


@pytest.mark.parametrize("output", ["crops", "crops.zip"])
def test_no_crop_lies_outside_of_the_output(output: str, align: Any, photos: Path) -> None:
    """The root of a path may be two slashes, and members of archives may have any names."""
    before = set(photos.rglob("*.jpg"))
    content = (photos / "photos" / "b.png").read_bytes()
    with zipfile.ZipFile(photos / "members.zip", "w") as archive:
        for name in ("../up.png", f"/{photos}/abs.png", "x/../../y.png"):
            archive.writestr(name, content)
    sources = (f"/{photos}/photos/a.png", "photos", "photos/../photos/c.png", "members.zip")
    records = parse(align(*sources, "-o", output, "--faces", "1").stdout)
    assert len(records) == len({record["path"] for record in records}) == 1 + 3 + 1 + 3
    assert all(record["path"].startswith(f"{output}/") for record in records)
    assert not any(".." in record["path"] or "//" in record["path"] for record in records)
    written = set(photos.rglob("*.jpg")) - before
    assert written == (set() if output == "crops.zip" else {photos / record["path"] for record in records})


def test_a_photo_that_is_named_twice_has_one_crop(align: Any, photos: Path) -> None:
    done = align("photos/b.png", "photos/b.png", "-o", "crops")
    assert [record["path"] for record in parse(done.stdout)] == ["crops/b-0.jpg"] * 2
    assert b"replaced" not in done.stderr
    assert b"replaced 1 crop of an earlier run" in align("photos/b.png", "photos/b.png", "-o", "crops").stderr
    align("photos/b.png", "photos/b.png", "-o", "crops.zip")
    with zipfile.ZipFile(photos / "crops.zip") as archive:
        assert archive.namelist() == ["b-0.jpg"]


def test_names_of_files_lists_and_archives(align: Any, photos: Path) -> None:
    save(photos / "more" / "a.png", [(2, 2, 60)])
    (photos / "list.txt").write_text("photos/a.png\nmore/a.png\nphotos/a.png\n")
    records = parse(align("list.txt", "-o", "crops", "--faces", "1").stdout)
    assert [record["path"] for record in records] == [
        "crops/photos/a-0.jpg",
        "crops/more/a-0.jpg",
        "crops/photos/a-0.jpg",
    ]
    with zipfile.ZipFile(photos / "photos.zip", "w") as archive:
        archive.write(photos / "more" / "a.png", "deep/a.png")
    (record,) = parse(align("photos.zip", "-o", "from-zip").stdout)
    assert (record["path"], record["source"]) == ("from-zip/deep/a-0.jpg", "photos.zip/deep/a.png")
    (record,) = parse(align(photos / "more" / "a.png", "-o", "single").stdout)
    assert record["path"] == "single/a-0.jpg"


def test_a_second_run_replaces_its_own_crops_only(align: Any, photos: Path) -> None:
    (photos / "crops").mkdir()
    (photos / "crops" / "b-0.jpg").write_bytes(b"of others")
    first = align("photos", "-o", "crops").stdout
    files = {path.name: path.read_bytes() for path in (photos / "crops").iterdir()}
    assert align("photos", "-o", "crops").stdout == first
    assert {path.name: path.read_bytes() for path in (photos / "crops").iterdir()} == files
    assert files["b-0.jpg"] == b"of others" and "b~2-0.jpg" in files


def test_crops_inside_the_source_are_no_photos(align: Any) -> None:
    first = align("photos", "-o", "photos/crops").stdout
    second = align("photos", "-o", "photos/crops")
    assert second.stdout == first
    assert b"passed over 6 images that earlier runs have written" in second.stderr


def test_archives_sheets_and_tables_inside_the_source_are_no_photos(align: Any, photos: Path) -> None:
    outputs = ("--sheet", "photos/sheet.png", "--table", "photos/t.jsonl")
    for options in (("-o", "photos/crops.zip"), ("--boxes-only",)):
        tables = []
        for _ in range(2):
            align("photos", *outputs, *options)
            tables.append((photos / "photos" / "t.jsonl").read_bytes())
        assert len(parse(tables[0])) == 6
        assert tables[0] == tables[1]


# Tables in parts


def test_resuming_gives_the_table_of_an_uninterrupted_run(align: Any, photos: Path) -> None:
    for number in range(40):
        save(
            photos / "many" / f"{number:02d}.png", [] if number % 7 == 0 else [(2, 2, 60), (4, 4, 44)][: 1 + number % 2]
        )
    expected = align("many", "-o", "crops", check=3)
    align("many", "-o", "crops", "--table", "t.jsonl", "--resume", "--parts", check=3)
    parts = photos / "t.jsonl.parts"
    assert not (photos / "t.jsonl").exists()
    assert b"".join(path.read_bytes() for path in sorted(parts.glob("*.jsonl"))) == expected.stdout
    (parts / "000001.jsonl").unlink()
    done = align("many", "-o", "crops", "--table", "t.jsonl", "--resume", check=3)
    assert (photos / "t.jsonl").read_bytes() == expected.stdout
    assert b"6 inputs were left out" in done.stderr and not parts.exists()
    align("many", "-o", "crops", "--table", "t.jsonl", "--parts", check=3)
    done = align("many", "-o", "crops", "--table", "t.jsonl", "--resume", "--faces", "1", check=1)
    assert b"parts of another table, with different max_faces" in done.stderr


def test_resuming_after_a_kill_gives_the_table_and_crops_of_an_uninterrupted_run(align: Any, photos: Path) -> None:
    for number in range(80):
        save(photos / "many" / f"{number:02d}.png", [] if number == 2 else [(2, 2, 60)])
    expected = align("many", "-o", "crops", check=3)
    crops = {path.name: path.read_bytes() for path in (photos / "crops").iterdir()}
    (photos / "crops").rename(photos / "uninterrupted")
    arguments = ("many", "-o", "crops", "--table", "t.jsonl", "--resume", "--detector", "markers.onnx", "-j", "1")
    with subprocess.Popen(command("align", *arguments), cwd=photos, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (photos / "t.jsonl.parts" / "000000.jsonl").exists():
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL and not (photos / "t.jsonl").exists()
    done = align("many", "-o", "crops", "--table", "t.jsonl", "--resume", check=3)
    assert b"left out many/02.png: was left out by an earlier run" in done.stderr
    assert (photos / "t.jsonl").read_bytes() == expected.stdout
    assert {path.name: path.read_bytes() for path in (photos / "crops").iterdir()} == crops
    assert not list(photos.glob("t.jsonl.*"))


def test_parts_of_another_detector_are_not_resumed(align: Any, photos: Path) -> None:
    align("photos", "-o", "crops", "--table", "t.jsonl", "--parts")
    yunet_file(photos / "markers.onnx", {})
    done = align("photos", "-o", "crops", "--table", "t.jsonl", "--resume", check=1)
    assert b"parts of another table, with different detector" in done.stderr


def test_two_processes_write_the_table_of_one(align: Any, photos: Path) -> None:
    """Although a photograph is named twice, each share has one without a face, and a crop's name is taken by others."""
    for number in range(68):
        save(photos / "many" / f"{number:02d}.png", [] if number in (5, 20, 66) else [(2, 2, 60)])
    for folder in ("crops", "shared"):
        (photos / folder).mkdir()
        (photos / folder / "60-0.jpg").write_bytes(b"of others")
    sources = ("many", "many/60.png")
    expected = align(*sources, "-o", "crops", check=3).stdout
    line = command("align", *sources, "-o", "shared", "--detector", "markers.onnx", "--table", "t.jsonl", "-j", "1")
    first, second = run_processes(2, line, cwd=photos)
    assert (first.returncode, second.returncode) in ((3, 0), (3, 3)), first.stderr + second.stderr
    assert (photos / "t.jsonl").read_bytes() == expected.replace(b'"crops/', b'"shared/')
    assert expected.count(b'"crops/60~2-0.jpg"') == 2
    messages = first.stderr + second.stderr
    assert messages.count(b"no face was found") == 3
    assert all(b"no face was found" in process.stderr for process in (first, second))
    assert b"3 inputs were left out" in first.stderr and b"66 faces in 66 photos" in first.stderr
    contents = [{path.name: path.read_bytes() for path in (photos / name).iterdir()} for name in ("crops", "shared")]
    assert contents[0] == contents[1] and len(contents[0]) == 66


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "crops"), b"one of 2 processes"),
        (("-o", "crops.zip", "--table", "t.jsonl"), b"several runs or processes"),
        (("-o", "crops", "--table", "t.jsonl", "--sheet", "s.png"), b"several runs or processes"),
    ],
)
def test_outputs_that_several_processes_cannot_share(
    options: tuple[str, ...], message: bytes, align: Any, photos: Path
) -> None:
    environment = {**os.environ, "RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    assert message in b" ".join(align("photos", *options, check=2, env=environment).stderr.split())
    assert not (photos / "crops").exists()


def test_a_missing_extra_is_named(photos: Path) -> None:
    program = (
        "import sys; sys.modules['mtcnn'] = None; sys.argv = ['fa-align', 'photos', '-o', 'crops']; "
        "from facetools.commands.align import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=photos, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'facetools[photos]'" in done.stderr and len(done.stderr.splitlines()) == 1


def test_real_photos_have_the_number_of_faces_that_people_count(photo_folder: Path, run: Run, tmp_path: Path) -> None:
    rows = [line.split(",") for line in (photo_folder / "photos.csv").read_text().split()[1:]]
    records = parse(run("align", photo_folder, "-o", tmp_path / "crops", check=3).stdout)
    counts = {name: sum(record["source"].endswith(f"/{name}") for record in records) for name, *_ in rows}
    assert not [row for row in rows if not int(row[1]) <= counts[row[0]] <= int(row[2])]
