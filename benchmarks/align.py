"""Face detection and alignment: counts on photographs, exactness on composed pictures, speed and memory.

    python benchmarks/align.py --photos DIR --celeba DIR --yunet FILE.onnx --peer PYTHON

--photos: photographs with photos.csv, which gives the least and the largest number of faces in each.
--celeba: a folder in CelebA's layout, with a zip archive of images.
--yunet: the ONNX file of a YuNet, as a second detector.
--peer: the Python of an environment with facenet-pytorch, made by
    python -m venv peer && peer/bin/pip install torch torchvision pillow requests tqdm
    peer/bin/pip install --no-deps facenet-pytorch
--only PART measures photos, composites, speed or memory alone, and updates only that part of the results, which go to
results/align.json or to the file of --results; --stored prints them. --sheet FILE shows the worst cases of the composed
pictures: rows of missed faces, of false detections and of the largest errors, with the true alignment points in green
and those of the crop in red.

Composed pictures are described in composites.py. Faces choose among the detections, the highest first: a face takes the
nearest one whose center is within a quarter of the face's height, and no two take the same. Recall counts faces of at
least 40 pixels; smaller ones are neither required nor wrong. The boxes of a detector may be less high than the faces,
so it is asked for boxes of 32 pixels, and every detection that no face takes is false, also one of 32 to 40 pixels.
CelebA's images show other people too, whose faces are not known: most false detections are theirs, as the sheet shows.

Errors are those of the three alignment points, relative to the distance of the eyes, as the root mean square over the
points of a face. "Fitted" are the template's points mapped by the similarity fit, which the crop shows; "landmarks" are
the points of the detector before the fit. CelebA's own images match the template only after the fit, so the landmarks
differ from it even for a perfect detector.

Accuracy is that of the starter model on faces of the test partition, on which it was not trained: on CelebA's image
("original"), on the detector's crop of the picture ("aligned") and on the crop with the true transform ("true"). The
latter differs from the original by size, blur, darkness and compression alone, which no detector can undo. The
majority-class baseline gives every face the more frequent value of each attribute in the training partition.

The times are those of detection with decoding, after the networks have been loaded and have run once. A round of the
speed measurement counts only if other processes were idle during it, whatever its ratio. Faces of the
peer count if it is at least 90 % sure of them, as its users commonly ask, and if their boxes have at least 40 pixels.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from composites import Composer, PastedFace
from machine import machine
from PIL import Image, ImageDraw

from facetools.images.decoding import decode_image
from facetools.images.sheets import make_contact_sheet
from facetools.images.writing import encode_image
from facetools.network.checkpoint import STARTER_MODEL
from facetools.photos.alignment import (
    CROP_SIZE,
    TEMPLATE,
    alignment_points,
    apply_transforms,
    crop_face,
    fit_transforms,
    invert_transforms,
)
from facetools.photos.boxes import overlaps
from facetools.photos.detection import Detector, Faces, detect_faces, load_detector
from facetools.prediction.predictor import load_predictor
from facetools.runtime.threads import map_in_order
from facetools.table.celeba import CelebALayout
from facetools.table.labels import GroundTruth

RESULTS = Path(__file__).parent / "results" / "align.json"

#: Composed pictures, and the pictures per block, whose results give the spread.
PICTURES, BLOCK, SEED = 2000, 500, 0
MIN_FACE, MAX_SIDE = 40, 1280
#: What the detector is asked for on composed pictures.
SMALLEST_BOX = 32

#: Groups of faces and detections, by their records. False detections have no tilt.
GROUPS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "under 60 pixels": lambda record: record["height"] < 60,
    "60 to 120 pixels": lambda record: 60 <= record["height"] < 120,
    "over 120 pixels": lambda record: record["height"] >= 120,
    "blur 0": lambda record: record["blur"] == 0,
    "blur over 0.75": lambda record: record["blur"] > 0.75,
    "brightness 1": lambda record: record["brightness"] == 1,
    "brightness under 0.5": lambda record: record["brightness"] < 0.5,
    "quality under 50": lambda record: record["quality"] < 50,
    "quality over 75": lambda record: record["quality"] > 75,
    "tilt under 10": lambda record: record.get("tilt", 90) < 10,
    "tilt over 20": lambda record: record.get("tilt", 0) > 20,
    # As high as in CelebA's images.
    "over 112 pixels, neither blurred nor dark": lambda record: (
        record["height"] >= 112 and record["blur"] == 0 and record["brightness"] == 1
    ),
    "test partition": lambda record: record.get("tested", False),
}

#: Pictures per row of the sheet, and their height in pixels.
SHEET_COLUMNS, SHEET_HEIGHT = 12, 218

THREADS = len(os.sched_getaffinity(0))

#: Rounds of the speed measurement, and how many are tried. A round counts if other processes took less than this share
#: of the processors during each of its runs: the threads of the peer wait for each other, and are more than ten times
#: slower when one of them has no processor.
REPEATS, MAX_ROUNDS, QUIET = 5, 20, 0.1

#: The confidence that facenet-pytorch's users commonly ask for.
PEER_CONFIDENCE = 0.9

#: The longer side of the photographs of the speed and memory measurements, and the number of the latter.
SPEED_SIDE, MEMORY_SIDE, MEMORY_PHOTOS = 1024, 2048, (100, 300, 1000)

#: Detects the faces in the files named on stdin. Prints seconds per photo and the boxes.
PEER_PROGRAM = f"""
import json, sys, time, torch
from importlib.metadata import version
from PIL import Image
from facenet_pytorch import MTCNN
torch.set_num_threads({THREADS})
detector = MTCNN(min_face_size={MIN_FACE}, keep_all=True, device="cpu")
paths = sys.stdin.read().splitlines()
detector.detect(Image.open(paths[0]).convert("RGB"))
started, found = time.perf_counter(), []
for path in paths:
    boxes, scores = detector.detect(Image.open(path).convert("RGB"))
    found.append([] if boxes is None else [[*map(float, box), float(p)] for box, p in zip(boxes, scores)])
seconds = (time.perf_counter() - started) / len(paths)
print(json.dumps([seconds, found, {{name: version(name) for name in ("facenet-pytorch", "torch", "pillow")}}]))
"""

OUR_PROGRAM = f"""
import json, sys, time
from facetools.photos.detection import load_detector
from facetools.photos.faces import AlignmentSettings, align_photos
detector = load_detector(sys.argv[1], "cpu")
settings = AlignmentSettings(min_face={MIN_FACE}, suffix=None)
paths = sys.stdin.read().splitlines()
list(align_photos(paths[:1], detector, settings, jobs=1))
started = time.perf_counter()
found = [photo.faces for _, photo in align_photos(paths, detector, settings, jobs={THREADS})]
seconds = (time.perf_counter() - started) / len(paths)
print(json.dumps([seconds, [[[*box, score] for box, score in zip(faces.boxes.tolist(), faces.scores.tolist())]
                            for faces in found], {{}}]))
"""


def detect(detector: Detector, photo: np.ndarray, min_face: float) -> Faces:
    (faces,) = detect_faces(
        detector, [photo], max_side=MAX_SIDE, min_face=min_face, min_score=detector.default_min_score
    )
    return faces


def count_photos(photos: Path, detectors: dict[str, str]) -> dict[str, Any]:
    """The photographs whose number of faces is outside of the bounds."""
    with (photos / "photos.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    results = {}
    for name, source in detectors.items():
        detector = load_detector(source)
        counts = [len(detect(detector, decode_image((photos / row["file"]).read_bytes()), MIN_FACE)) for row in rows]
        wrong = [
            f"{row['file']} ({count} faces)"
            for row, count in zip(rows, counts, strict=True)
            if not int(row["faces_at_least"]) <= count <= int(row["faces_at_most"])
        ]
        print(f"{name}: wrong counts: {', '.join(wrong) or 'none'}", file=sys.stderr)
        results[name] = {"photos": len(rows), "wrong_counts": len(wrong)}
    return results


def measure_composites(
    celeba: Path, detectors: dict[str, str], pictures: int, sheet: Path | None = None
) -> dict[str, Any]:
    composer = Composer(celeba, SEED)
    layout = CelebALayout.find(celeba)
    assert layout is not None
    paths = [f"{layout.images}/{name}" for name in composer.names]
    tested, trained = (
        {path.removeprefix(f"{layout.images}/") for path in layout.select_partition(paths, partition)}
        for partition in ("test", "train")
    )
    predictor = load_predictor(STARTER_MODEL, "cpu", images=1)
    attributes = predictor.config.attributes
    truth = GroundTruth.read(str(celeba), attributes).match(composer.names)
    majority = truth.labels_for(sorted(trained), attributes).values.mean(axis=0) >= 0.5
    size = predictor.config.image_size

    def score(jpegs: list[bytes]) -> np.ndarray:
        return predictor.scores(np.stack([decode_image(jpeg, size) for jpeg in jpegs]))

    loaded = {name: load_detector(source) for name, source in detectors.items()}

    def compare(photo: np.ndarray, faces: list[PastedFace], detector: Detector) -> Iterator[dict[str, Any]]:
        """Yield a record per face, and per detection that is none."""
        found = detect(detector, photo, SMALLEST_BOX)
        landmarks = alignment_points(found.landmarks)
        transforms = fit_transforms(landmarks)
        fitted = apply_transforms(invert_transforms(transforms), np.repeat(TEMPLATE[None], len(found), axis=0))
        free = np.ones(len(found), bool)
        for face in sorted(faces, key=lambda face: -face.height):
            distances = np.linalg.norm(fitted.mean(axis=1) - face.points.mean(axis=0), axis=1)
            distances[~free] = np.inf
            about = {"height": face.height, "tilt": face.tilt, "face": face, "tested": face.name in tested}
            if not len(distances) or distances.min() >= face.height / 4:
                yield about | {"kind": "missed"}
                continue
            row = int(distances.argmin())
            free[row] = False
            errors = [relative_error(points[row], face.points) for points in (fitted, landmarks)]
            record = about | {"kind": "found", "error": errors[0], "landmark_error": errors[1], "points": fitted[row]}
            if about["tested"] and face.height >= MIN_FACE:
                crops = [encode_image(crop_face(photo, matrix), ".jpg") for matrix in (transforms[row], face.transform)]
                labels = truth.labels_for([face.name], attributes).values
                answers = np.concatenate((score([composer.read(face.name), *crops]) >= 0.5, majority[None]))
                record["right"] = (answers == labels).mean(axis=1).tolist()
            yield record
        heights = found.boxes[:, 3] - found.boxes[:, 1]
        for row in np.flatnonzero(free):
            yield {"kind": "false", "height": float(heights[row]), "box": found.boxes[row]}

    def evaluate(numbers: list[int]) -> list[dict[str, Any]]:
        records = []
        for number in numbers:
            picture = composer.compose(number)
            photo = decode_image(picture.jpeg)
            about = {
                "number": number,
                "blur": picture.blur,
                "brightness": picture.brightness,
                "quality": picture.quality,
            }
            for name, detector in loaded.items():
                records += [about | {"detector": name} | found for found in compare(photo, picture.faces, detector)]
        return records

    records: list[dict[str, Any]] = []
    for done in map_in_order(range(pictures), 4, evaluate, THREADS):
        records += done
    if sheet is not None:
        sheet.write_bytes(encode_image(draw_worst_cases(composer, records), sheet.suffix))
    return {
        name: summarize([record for record in records if record["detector"] == name], pictures) for name in detectors
    }


def draw_worst_cases(composer: Composer, records: Sequence[dict[str, Any]]) -> np.ndarray:
    """A sheet, uint8 (height, width, 3): for each detector, missed faces, false detections and the largest errors."""
    rows = []
    for name in dict.fromkeys(record["detector"] for record in records):
        for kind in ("missed", "false", "found"):
            cases = [
                record
                for record in records
                if record["detector"] == name and record["kind"] == kind and record["height"] >= MIN_FACE
            ]
            cases.sort(key=lambda record: -record.get("error", record["height"]))
            rows.append([draw_case(composer, record) for record in cases[:SHEET_COLUMNS]])
    return make_contact_sheet([row for row in rows if row] or [[np.full((1, 1, 3), 255, np.uint8)]], SHEET_HEIGHT)


def draw_case(composer: Composer, record: dict[str, Any]) -> np.ndarray:
    """The part of its picture that `record` is about, uint8 (*CROP_SIZE, 3)."""
    photo = decode_image(composer.compose(record["number"]).jpeg)
    if record["kind"] == "false":
        # The box in the middle half of the crop.
        left, top, right, bottom = record["box"]
        scale = CROP_SIZE[1] / (2 * max(right - left, bottom - top))
        middle = np.array((left + right, top + bottom)) / 2
        shift = np.array(CROP_SIZE[::-1]) / 2 - scale * middle
        return crop_face(photo, np.concatenate((scale * np.eye(2), shift[:, None]), axis=1))
    image = Image.fromarray(crop_face(photo, record["face"].transform))
    canvas = ImageDraw.Draw(image)
    fitted = apply_transforms(record["face"].transform[None], record["points"][None])[0] if "points" in record else []
    for points, color in ((TEMPLATE, (0, 255, 0)), (fitted, (255, 0, 0))):
        for x, y in points:
            canvas.ellipse((x - 2, y - 2, x + 2, y + 2), fill=color)
    return np.asarray(image)


def relative_error(points: np.ndarray, truth: np.ndarray) -> float:
    """The root mean square distance of three alignment points from the true ones, float (3, 2), in eye distances."""
    eye_distance = np.linalg.norm(truth[1] - truth[0])
    return float(np.sqrt(((points - truth) ** 2).sum(axis=1).mean()) / eye_distance)


def summarize(records: list[dict[str, Any]], pictures: int) -> dict[str, Any]:
    """Recall, precision, errors and accuracies of all records, of blocks and of groups."""

    def figures(chosen: list[dict[str, Any]]) -> dict[str, float]:
        counted = [record for record in chosen if record["height"] >= MIN_FACE]
        found = [record for record in counted if record["kind"] == "found"]
        missed = sum(record["kind"] == "missed" for record in counted)
        wrong = sum(record["kind"] == "false" for record in chosen)
        result: dict[str, float] = {
            "faces": len(found) + missed,
            "missed": missed,
            "false": wrong,
            "false_under_40": wrong - sum(record["kind"] == "false" for record in counted),
        }
        if not found:
            return result
        errors = np.array([record["error"] for record in found])
        landmark_errors = np.array([record["landmark_error"] for record in found])
        right = np.array([record["right"] for record in found if "right" in record])
        result |= {"recall": len(found) / (len(found) + missed), "precision": len(found) / (len(found) + wrong)}
        for kind, values in (("", errors), ("landmark_", landmark_errors)):
            result |= {
                f"{kind}rms_error": float(np.sqrt((values**2).mean())),
                f"{kind}median_error": float(np.median(values)),
                f"{kind}error_95_percent": float(np.quantile(values, 0.95)),
            }
        if len(right):
            kinds = ("original", "aligned", "true", "majority")
            result |= {"tested_faces": len(right)}
            result |= {f"accuracy_{kind}": float(mean) for kind, mean in zip(kinds, right.mean(axis=0), strict=True)}
            # Of the mean difference between aligned and original, over the faces.
            result["loss_standard_error"] = float((right[:, 0] - right[:, 1]).std() / np.sqrt(len(right)))
        return result

    blocks = [
        [record for record in records if start <= record["number"] < start + BLOCK]
        for start in range(0, pictures, BLOCK)
    ]
    return {
        "pictures": pictures,
        "seed": SEED,
        "all": figures(records),
        "blocks": [figures(block) for block in blocks],
        "groups": {name: figures([record for record in records if chosen(record)]) for name, chosen in GROUPS.items()},
    }


def measure_speed(photos: Path, peer: str, detectors: dict[str, str]) -> dict[str, Any]:
    """Seconds per photo of alternating runs, and how many faces of the peer are found."""
    with tempfile.TemporaryDirectory() as folder:
        paths = list(resize_photos(photos, Path(folder), SPEED_SIDE, None))
        names = "\n".join(paths)
        programs = {name: [sys.executable, "-c", OUR_PROGRAM, source] for name, source in detectors.items()}
        programs["facenet-pytorch"] = [peer, "-c", PEER_PROGRAM]
        rounds: list[dict[str, Any]] = []
        found: dict[str, list[list[list[float]]]] = {}
        versions: dict[str, str] = {}
        while len(rounds) < MAX_ROUNDS and sum(one["others"] < QUIET for one in rounds) < REPEATS:
            seconds: dict[str, float] = {}
            others = []
            for name, line in programs.items():
                environment = os.environ | {"OMP_NUM_THREADS": str(THREADS if name == "facenet-pytorch" else 1)}
                done, share = run_alone(line, names, environment)
                others.append(share)
                duration, found[name], packages = json.loads(done.stdout.splitlines()[-1])
                versions |= packages
                seconds[name] = round(duration, 4)
            rounds.append({"seconds": seconds, "others": round(max(others), 3)})
            print(f"round {len(rounds)}: {rounds[-1]}", file=sys.stderr)
    theirs = [
        [face for face in faces if face[4] >= PEER_CONFIDENCE and face[3] - face[1] >= MIN_FACE]
        for faces in found["facenet-pytorch"]
    ]
    results: dict[str, Any] = {
        "photos": len(paths),
        "threads": THREADS,
        "peer_faces": sum(map(len, theirs)),
        "peer_versions": versions,
        "rounds": rounds,
    }
    for name in detectors:
        best = [
            float(overlaps(np.array(face[:4]), np.array(ours)[:, :4]).max()) if ours else 0.0
            for faces, ours in zip(theirs, found[name], strict=True)
            for face in faces
        ]
        results[name] = {f"iou_{limit}": float(np.mean(np.array(best) > limit)) for limit in (0.5, 0.8)}
    return results


def run_alone(
    line: list[str], text: str, environment: dict[str, str]
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run a program, and return also the share of all processors, from 0 to 1, that others took in the meantime."""

    def others() -> float:
        # Seconds of user, nice, system, irq, softirq and steal.
        ticks = [int(value) for value in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return busy - sum(usage.ru_utime + usage.ru_stime for usage in own)

    started, before = time.perf_counter(), others()
    done = subprocess.run(line, input=text, capture_output=True, text=True, check=True, env=environment)
    return done, (others() - before) / ((time.perf_counter() - started) * (os.cpu_count() or 1))


def measure_memory(photos: Path) -> dict[str, Any]:
    """The peak memory of fa-align in MB, by the number of photographs."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in MEMORY_PHOTOS:
            target = Path(folder, str(count))
            target.mkdir()
            list(resize_photos(photos, target, MEMORY_SIDE, count))
            line = [sys.executable, "-m", "facetools.commands.align", str(target), "-o", f"{folder}/crops"]
            done = subprocess.run(line, capture_output=True, text=True, check=False)
            match = re.search(r"peak memory (\d+) MB$", done.stderr.strip())
            assert match is not None and done.returncode in (0, 3), done.stderr
            results[str(count)] = int(match[1])
    return {"threads": THREADS, "peak_mb": results}


def resize_photos(photos: Path, folder: Path, side: int, count: int | None) -> Iterator[str]:
    """Write photographs whose longer side is `side` pixels to `folder`: each once, or `count`, repeating them."""
    sources = sorted(path for path in photos.iterdir() if path.suffix in (".jpg", ".png"))
    for number, source in zip(range(len(sources) if count is None else count), cycle(sources), strict=False):
        path = folder / f"{number:05d}.jpg"
        if number < len(sources):
            image = Image.fromarray(decode_image(source.read_bytes()))
            scale = side / max(image.size)
            if count is not None or scale < 1:
                image = image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.LANCZOS)
            image.save(path, quality=92)
        else:
            path.symlink_to(folder / f"{number % len(sources):05d}.jpg")
        yield str(path)


def table(content: dict[str, Any]) -> Iterator[str]:
    """The lines of the tables of a stored measurement, as Markdown."""
    if "composites" in content:
        results = content["composites"]
        yield ("| detector | faces | recall | precision | fitted points: RMS, median, 95 % | landmarks: the same |")
        yield "|---|--:|--:|--:|--:|--:|"
        for name, result in results.items():
            whole, blocks = result["all"], result["blocks"]
            recall, precision, *errors = (
                spread(whole, blocks, key) for key in ("recall", "precision", "rms_error", "landmark_rms_error")
            )
            fitted, landmarks = (
                f"{error}, {whole[f'{kind}median_error']:.1%}, {whole[f'{kind}error_95_percent']:.1%}"
                for kind, error in zip(("", "landmark_"), errors, strict=True)
            )
            yield f"| {name} | {whole['faces']:,} | {recall} | {precision} | {fitted} | {landmarks} |"
        yield ""
        yield (
            "| detector | tested faces | original | true transform | aligned | loss (standard error) | majority class |"
        )
        yield "|---|--:|--:|--:|--:|--:|--:|"
        for name, result in results.items():
            whole = result["all"]
            if "tested_faces" not in whole:
                continue
            original, true, aligned, majority = (
                whole[f"accuracy_{kind}"] for kind in ("original", "true", "aligned", "majority")
            )
            yield (
                f"| {name} | {whole['tested_faces']} | {original:.1%} | {true:.1%} | {aligned:.1%} | "
                f"{100 * (original - aligned):.1f} ({100 * whole['loss_standard_error']:.1f}) points | {majority:.1%} |"
            )
        yield ""
    if "speed" in content:
        speed = content["speed"]
        yield "| detector | ms per photo | ratio (min to max) | faces of the peer, IoU over 0.8 (0.5) | wrong counts |"
        yield "|---|--:|--:|--:|--:|"
        quiet = [one["seconds"] for one in speed["rounds"] if one["others"] < QUIET]
        for name in speed["rounds"][0]["seconds"] if quiet else ():
            seconds, peer = ([one[key] for one in quiet] for key in (name, "facenet-pytorch"))
            ratio = shares = wrong = ""
            if name != "facenet-pytorch":
                ratios = sorted(theirs / ours for theirs, ours in zip(peer, seconds, strict=True))
                ratio = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
                shares = f"{speed[name]['iou_0.8']:.0%} ({speed[name]['iou_0.5']:.0%})"
                photos = content.get("photos", {}).get(name)
                wrong = f"{photos['wrong_counts']} of {photos['photos']}" if photos else ""
            yield f"| {name} | {1000 * statistics.median(seconds):.0f} | {ratio} | {shares} | {wrong} |"
        yield f"\n{len(quiet)} of {len(speed['rounds'])} rounds count; in the others the machine was busy."
        yield ""
    if "memory" in content:
        peaks = ", ".join(f"{peak} MB for {int(count):,}" for count, peak in content["memory"]["peak_mb"].items())
        yield f"Peak memory of `fa-align` by the number of photographs of {MEMORY_SIDE} pixels: {peaks}."
        yield ""
    hardware = content["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in hardware["versions"].items())
    yield f"{hardware['processor']}, {hardware['threads']} threads; {versions}."


def spread(whole: dict[str, float], blocks: list[dict[str, float]], key: str) -> str:
    """A share of all pictures, with the range over the blocks if there are several."""
    values = [block[key] for block in blocks if key in block]
    return f"{whole[key]:.1%}" + (f" ({min(values):.1%} to {max(values):.1%})" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, default=os.environ.get("FACETOOLS_PHOTOS"))
    parser.add_argument("--celeba", type=Path, default=os.environ.get("FACETOOLS_CELEBA"))
    parser.add_argument("--yunet", metavar="FILE.onnx")
    parser.add_argument("--peer", metavar="PYTHON")
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--only", choices=["photos", "composites", "speed", "memory"], action="append")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE.json")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png")
    parser.add_argument("--stored", action="store_true")
    options = parser.parse_args()
    if not options.stored:
        measured: dict[str, Any] = {}
        detectors = {"mtcnn": "mtcnn"} | ({"YuNet": options.yunet} if options.yunet else {})
        parts = options.only or ["photos", "composites", "speed", "memory"]
        if "photos" in parts:
            measured["photos"] = count_photos(options.photos, detectors)
        if "composites" in parts:
            measured["composites"] = measure_composites(options.celeba, detectors, options.pictures, options.sheet)
        if "speed" in parts:
            measured["speed"] = measure_speed(options.photos, options.peer, detectors)
        if "memory" in parts:
            measured["memory"] = measure_memory(options.photos)
        # Read only now: another part may have been measured in the meantime.
        content = json.loads(options.results.read_text()) if options.results.exists() else {}
        content |= {"machine": machine(), **measured}
        options.results.write_text(json.dumps(content, indent=1) + "\n")
    print(*table(json.loads(options.results.read_text())), sep="\n")


if __name__ == "__main__":
    main()
