"""fa-align: detect the faces in photographs, write a crop per face as CelebA has them, and a face table on stdout."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facetools.commands.files import FoundImages, find_images
from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.options import (
    METHOD,
    OUTPUT,
    Null,
    Resume,
    Sources,
    Truncated,
    Wait,
    read_size_option,
    refuse_unused,
)
from facetools.commands.outputs import (
    STDOUT,
    check_distinct,
    check_image_output,
    check_images_stay,
    check_output,
    is_zip,
    open_images,
    sheet_suffix,
)
from facetools.commands.parts import check_parts, compute_parts, join_parts, open_parts
from facetools.commands.running import command

if TYPE_CHECKING:
    import numpy as np

    from facetools.images.output_folder import ImageOutput
    from facetools.photos.detection import Detector
    from facetools.photos.faces import AlignedPhoto, AlignmentSettings
    from facetools.table.columns import Table

#: Photographs on the contact sheet, and how many stand in a row.
SHEET_PHOTOS, SHEET_COLUMNS = 24, 4
#: The height of a row of the sheet, and the longer side of its photographs, in pixels.
SHEET_HEIGHT, SHEET_SIDE = 360, 720

#: Photographs per part of a table in parts, at least.
PART_PHOTOS = 16


@command
def fa_align(
    job: Job,
    sources: Sources,
    *,
    null: Null = False,
    truncated: Truncated = False,
    faces: Annotated[
        str,
        typer.Option(
            "--faces",
            metavar="all|largest|N",
            help="Faces per photograph: all, the largest one, or the N largest.",
            rich_help_panel=METHOD,
        ),
    ] = "all",
    min_face: Annotated[
        float,
        typer.Option(
            "--min-face",
            metavar="PIXELS",
            min=1,
            help="Leave out faces whose box is less high than this.",
            rich_help_panel=METHOD,
        ),
    ] = 40,
    min_score: Annotated[
        float | None,
        typer.Option(
            "--min-score",
            metavar="SCORE",
            min=0,
            max=1,
            help="Leave out faces of which the detector is less sure. By default 0.85 with mtcnn, 0.7 with YuNet.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    max_side: Annotated[
        int,
        typer.Option(
            "--max-side",
            metavar="PIXELS",
            min=32,
            help="The detector sees larger photographs reduced to this size. Crops have the full resolution.",
            rich_help_panel=METHOD,
        ),
    ] = 1280,
    detector: Annotated[
        str,
        typer.Option(
            "--detector",
            metavar="mtcnn|FILE.onnx",
            help="MTCNN, which needs the extra photos, or the ONNX file of a YuNet.",
            rich_help_panel=METHOD,
        ),
    ] = "mtcnn",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE.zip",
            help="Folder or zip archive for the crops.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    boxes_only: Annotated[
        bool, typer.Option("--boxes-only", help="Write the table without crops.", rich_help_panel=OUTPUT)
    ] = False,
    table: Annotated[
        str,
        typer.Option("--table", metavar="FILE", help="File for the face table; - is stdout.", rich_help_panel=OUTPUT),
    ] = "-",
    size: Annotated[
        str,
        typer.Option(metavar="SIZE", help="Size of the crops in pixels, N or HEIGHTxWIDTH.", rich_help_panel=OUTPUT),
    ] = "218x178",
    format: Annotated[
        Literal["jpg", "png"], typer.Option(help="File format of the crops.", rich_help_panel=OUTPUT)
    ] = "jpg",
    sheet: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png",
            help=f"Also write a contact sheet of the first {SHEET_PHOTOS} photographs, with boxes and landmarks.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    resume: Resume = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts", help="Leave the table in FILE.parts/*.jsonl; do not join the parts.", rich_help_panel=OUTPUT
        ),
    ] = False,
    wait: Wait = 300,
) -> None:
    """Detect the faces in photographs and crop them as CelebA does.

    The eyes and the mouth of every face are moved to where they are in CelebA's images, by rotation, scaling and shift.
    fa-predict expects such crops. Pixels beyond the border of a photograph repeat the nearest pixel.

    Writes a face table with one row per face, the largest of each photograph first. Its keys are described in
    facetools-formats(5). A photograph without a face is reported. A crop is called like its photograph, with -0, -1
    and so on; no file of others in DIR is replaced.

    Several processes, started by torchrun or srun, divide the photographs among themselves and write one table.
    \f
    Examples:
      fa-align photos/ -o crops/ | fa-predict - | fa-cluster -k 16 > clusters.jsonl
      fa-align photos/ -o crops.zip --faces largest --sheet sheet.png > crops.jsonl
      fa-align photos/ --boxes-only | jq .box
      srun --ntasks 8 fa-align photos.txt -o crops/ --table crops.jsonl --resume
    """
    from facetools.images.output_folder import EarlierImages, NestedNames
    from facetools.photos.detection import load_detector
    from facetools.photos.faces import AlignmentSettings
    from facetools.runtime.processes import join_processes, process_info
    from facetools.table import columns, streams

    limit = _read_limit(faces)
    shape = read_size_option("--size", size)
    assert shape is not None
    _check_outputs(job, sources, output, table, sheet, boxes_only=boxes_only)
    process = process_info()
    in_parts = process.world > 1 or resume or parts
    if in_parts:
        check_parts(process, table, "--table")
        for option, unusable in (("--output", output is not None and is_zip(output)), ("--sheet", sheet is not None)):
            if unusable:
                raise typer.BadParameter("several runs or processes cannot write it together", param_hint=option)
    job.process = process
    with join_processes(process, wait=wait, announce=job.announce) as group:
        model = load_detector(detector, job.device)
        images = output if output is not None else sheet
        earlier = None if images is None else EarlierImages(images, sources, sheet)
        photos = find_images(job, sources, null=null, exclude=earlier or (lambda path: False))
        if earlier is not None and earlier.count:
            job.say(f"passed over {pluralize(earlier.count, 'image')} that earlier runs have written")
        settings = AlignmentSettings(limit, min_face, min_score, max_side, shape, None if boxes_only else f".{format}")
        outputs = {"--table": table, "--output": output if output and is_zip(output) else None, "--sheet": sheet}
        check_images_stay([(option, path) for option, path in outputs.items() if path != "-"], photos.paths)
        names = NestedNames(photos.paths, [source for source in sources if source != "-"])
        with open_images(output, photos.paths, names) if output else nullcontext() as crops:
            run = _Alignment(job, photos, model, settings, crops, truncated=truncated, thumbnails=sheet is not None)
            unreadable = job.failures
            if in_parts:
                plan: dict[str, Any] = {key: str(value) for key, value in vars(settings).items()}
                plan |= {"detector": _identify(detector), "truncated": truncated, "output": output}
                plan["rows"] = photos.digest()
                table_parts = open_parts(
                    job,
                    group,
                    table,
                    photos.paths,
                    PART_PHOTOS,
                    plan,
                    resume=resume,
                    encoding="jsonl",
                    key="source",
                )
                compute_parts(job, group, table_parts, run.align, columns.Table(extras=[]), "photos")
                if process.is_first:
                    join_parts(table_parts, None if parts else table, "jsonl", run.count)
                    job.failures = unreadable + len(photos.paths) - run.photos
            else:
                with (
                    streams.open_output(sheet) if sheet else nullcontext() as sheet_stream,
                    streams.open_writer(table, "jsonl") as writer,
                    job.progress("photos", len(photos.paths)) as advance,
                ):
                    for block in run.align(range(len(photos.paths)), advance):
                        writer.write(block)
                        run.count(block)
                    if not run.faces:
                        raise CommandError(f"no face was found in {pluralize(len(photos.paths), 'photograph')}")
                    if sheet_stream is not None and sheet is not None:
                        sheet_stream.write(_encode_sheet(run.thumbnails, sheet))
            if crops is not None and crops.replaced:
                job.say(f"replaced {pluralize(crops.replaced, 'crop')} of an earlier run")
    job.done(f"{pluralize(run.faces, 'face')} in {pluralize(run.photos, 'photo')}")


class _Alignment:
    """Aligns the photographs of one run and counts what it finds."""

    def __init__(
        self,
        job: Job,
        photos: FoundImages,
        detector: Detector,
        settings: AlignmentSettings,
        crops: ImageOutput | None,
        *,
        truncated: bool,
        thumbnails: bool,
    ) -> None:
        self._job, self._photos, self._detector, self._settings, self._crops = job, photos, detector, settings, crops
        self._on_truncated = job.accept_truncated if truncated else None
        self._thumbnail_count = SHEET_PHOTOS if thumbnails else 0
        #: The first photographs, uint8 (height, width, 3), with the boxes and landmarks of their faces.
        self.thumbnails: list[np.ndarray] = []
        self.faces = self.photos = 0

    def align(self, positions: range, advance: Callable[[int], None]) -> Iterator[Table]:
        """Write the crops of the photographs at `positions`, and yield the rows of each."""
        from facetools.images.reading import ImageError
        from facetools.photos.drawing import draw_faces
        from facetools.photos.faces import align_photos

        results = align_photos(
            self._photos.paths[positions.start : positions.stop],
            self._detector,
            self._settings,
            jobs=self._job.jobs,
            on_truncated=self._on_truncated,
            thumbnails=self._thumbnail_count,
            thumbnail_side=SHEET_SIDE,
        )
        for position, (path, result) in zip(positions, results, strict=True):
            advance(1)
            if isinstance(result, ImageError):
                self._job.report_failure(path, str(result))
                continue
            if result.thumbnail is not None:
                self.thumbnails.append(draw_faces(result.thumbnail, result.size, result.faces))
            if not len(result.faces):
                self._job.report_failure(path, "no face was found")
                continue
            suffix = self._settings.suffix
            crop_paths = self._crops.write(path, result.crops, suffix) if self._crops and suffix else None
            yield self._photos.add_columns(_make_rows(path, result, crop_paths), [position] * len(result.faces))

    def count(self, block: Table) -> None:
        """Count the faces and the photographs in rows of the table."""
        self.faces += len(block)
        self.photos += sum(row["face"] == 0 for row in block.extras or [])


def _make_rows(path: str, aligned: AlignedPhoto, crops: Sequence[str] | None) -> Table:
    """Return the rows of the faces in the photograph `path`."""
    from facetools.table.columns import Table, encode_paths

    faces = aligned.faces
    corners, sizes = faces.boxes[:, :2], faces.boxes[:, 2:] - faces.boxes[:, :2]
    records: list[dict[str, Any]] = [
        {
            "source": path,
            "face": number,
            "box": [*corners[number].round(2).tolist(), *sizes[number].round(2).tolist()],
            "landmarks": faces.landmarks[number].round(2).tolist(),
            "detection": round(float(faces.scores[number]), 5),
            "transform": [[float(f"{value:.9g}") for value in row] for row in aligned.transforms[number]],
        }
        for number in range(len(faces))
    ]
    return Table(None if crops is None else encode_paths(crops), extras=records)


def _encode_sheet(photos: list[np.ndarray], sheet: str) -> bytes:
    from facetools.images import marks, sheets, writing

    rows = [photos[start : start + SHEET_COLUMNS] for start in range(0, len(photos), SHEET_COLUMNS)]
    return marks.add_mark(writing.encode_image(sheets.make_contact_sheet(rows, SHEET_HEIGHT), sheet_suffix(sheet)))


def _identify(detector: str) -> str:
    """What tells the detector from others: the hash of its file, or its name."""
    import hashlib

    if not detector.lower().endswith(".onnx"):
        return detector
    return hashlib.sha256(Path(detector).read_bytes()).hexdigest()


def _read_limit(faces: str) -> int | None:
    """Return the number of faces per photograph that --faces sets, None for all."""
    if faces == "all":
        return None
    if faces == "largest":
        return 1
    if not faces.isdecimal() or int(faces) < 1:
        raise typer.BadParameter(f"'{faces}' is not all, largest or a number from 1", param_hint="--faces")
    return int(faces)


def _check_outputs(
    job: Job, sources: list[str], output: str | None, table: str, sheet: str | None, *, boxes_only: bool
) -> None:
    """Raise an error if an output is missing, useless, cannot be written, or would replace a source."""
    if boxes_only:
        refuse_unused(job.given, ["output", "size", "format"], "with --boxes-only")
    elif output is None:
        raise typer.BadParameter("name a folder or zip archive for the crops, or give --boxes-only", param_hint="-o")
    else:
        check_image_output(output)
    if Path(table).suffix.lower() == ".npy":
        raise typer.BadParameter("NPY has no room for boxes and landmarks; name a .jsonl file", param_hint="--table")
    check_output(table, STDOUT if table == "-" else "--table", table=True)
    if sheet is not None:
        sheet_suffix(sheet)
    archive = output if output is not None and is_zip(output) else None
    check_distinct({STDOUT if table == "-" else "--table": table, "--output": archive, "--sheet": sheet}, sources)


main = fa_align

if __name__ == "__main__":
    main()
