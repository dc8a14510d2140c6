"""fa-augment: read images, write randomly warped copies, and one record per copy on stdout."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facetools.commands.files import find_image_paths
from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.options import OUTPUT, Null, Sources, read_size_option
from facetools.commands.running import command
from facetools.images.augmentation import Augmentation
from facetools.training.recipes import PAPER

if TYPE_CHECKING:
    import numpy as np

AUGMENTATION = "Augmentation options"
DEFAULTS = PAPER.augmentation

#: Images on the contact sheet, one per row, and the height of a row in pixels.
SHEET_ROWS, SHEET_HEIGHT = 8, 128


@command
def fa_augment(
    job: Job,
    sources: Sources,
    *,
    null: Null = False,
    copies: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of copies per image.", rich_help_panel=AUGMENTATION)
    ] = 1,
    rotation: Annotated[
        float,
        typer.Option(metavar="DEGREES", help="Largest rotation, in either direction.", rich_help_panel=AUGMENTATION),
    ] = DEFAULTS.rotation,
    shift: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Largest shift, as a share of the height and of the width.",
            rich_help_panel=AUGMENTATION,
        ),
    ] = DEFAULTS.shift,
    shear: Annotated[
        float,
        typer.Option(metavar="DEGREES", help="Largest shear angle, in either direction.", rich_help_panel=AUGMENTATION),
    ] = DEFAULTS.shear,
    zoom: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Largest zoom, in and out; 0.2 means 80 to 120 %.", rich_help_panel=AUGMENTATION
        ),
    ] = DEFAULTS.zoom,
    flip: Annotated[
        bool,
        typer.Option("--flip/--no-flip", help="Mirror half of the copies at random.", rich_help_panel=AUGMENTATION),
    ] = DEFAULTS.flip,
    brightness: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Largest relative change of brightness.", rich_help_panel=AUGMENTATION),
    ] = 0.0,
    contrast: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Largest relative change of contrast.", rich_help_panel=AUGMENTATION),
    ] = 0.0,
    saturation: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Largest relative change of saturation.", rich_help_panel=AUGMENTATION),
    ] = 0.0,
    grayscale: Annotated[
        float,
        typer.Option(metavar="SHARE", help="Share of copies that are converted to gray.", rich_help_panel=AUGMENTATION),
    ] = 0.0,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="DIR|FILE.zip", help="Folder or zip archive to create.", rich_help_panel=OUTPUT
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Size of the copies in pixels, N or HEIGHTxWIDTH. By default that of the image.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    format: Annotated[
        Literal["jpg", "png"], typer.Option(help="File format of the copies.", rich_help_panel=OUTPUT)
    ] = "jpg",
    sheet: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png",
            help="Also write a contact sheet of the first 8 images, each with its copies.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Make randomly warped copies of images.

    The defaults are the augmentations of the paper: rotation, shift, shear, zoom and flip. They are combined into one
    affine transform per copy, as in Keras' ImageDataGenerator. Pixels beyond the border repeat the nearest pixel.
    Changes of brightness, contrast, saturation and gray copies are off by default.

    One record per copy is written to stdout: its path, its source and the values drawn. A copy depends only on --seed
    and on the position of its source in the list of sources.
    \f
    Examples:
      fa-augment faces/ -o augmented/ --copies 4 > augmented.jsonl
      fa-augment faces.zip -o augmented.zip --size 224 --rotation 10 --shift 0.05
      fa-augment face.jpg -o out/ --copies 7 --sheet sheet.png
    """
    import numpy as np

    from facetools.images import archives, batches, decoding, reading, sheets, transforms, writing
    from facetools.runtime import files
    from facetools.table import jsonl

    if output.lower().endswith(tuple(set(archives.ARCHIVE_SUFFIXES) - {".zip"})):
        raise typer.BadParameter("images are written into a folder or a .zip archive", param_hint="--output")
    try:
        limits = Augmentation(rotation, shift, shear, zoom, flip, brightness, contrast, saturation, grayscale)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    shape = read_size_option("--size", size)
    paths = find_image_paths(sources, null=null)

    def augment(reader: reading.ImageReader, number: int, path: str) -> _Copies | reading.ImageError:
        pixels = decoding.load_image(reader, path, shape)
        if isinstance(pixels, reading.ImageError):
            return pixels
        warped, drawn = transforms.augment_image(pixels, copies, limits, np.random.default_rng([job.seed, number]))
        sheet_row = [pixels, *warped] if sheet and number < SHEET_ROWS else []
        return _Copies([writing.encode_image(copy, f".{format}") for copy in warped], drawn.to_records(), sheet_row)

    names: dict[str, int] = {}
    sheet_rows: list[list[np.ndarray]] = []
    count = 0
    with (
        files.atomic_writer(sheet) if sheet else nullcontext() as sheet_stream,
        _image_writer(output) as write,
        job.progress("images", len(paths)) as advance,
    ):
        for path, result in batches.map_images(paths, augment, jobs=job.jobs):
            advance(1)
            if isinstance(result, reading.ImageError):
                job.report_failure(path, str(result))
                continue
            stem = _unique_stem(path, names)
            for copy, (content, draws) in enumerate(zip(result.contents, result.draws, strict=True), start=1):
                copy_path = write(f"{stem}-{copy}.{format}", content)
                sys.stdout.buffer.write(jsonl.encode_record({"path": copy_path, "source": path, **draws}))
            if result.sheet_row:
                sheet_rows.append(result.sheet_row)
            count += copies
        if not count:
            raise CommandError(f"none of the {len(paths)} images could be read")
        if sheet and sheet_stream is not None:
            pixels = sheets.make_contact_sheet(sheet_rows, SHEET_HEIGHT)
            sheet_stream.write(writing.encode_image(pixels, Path(sheet).suffix.lower()))
    job.done(pluralize(count, "image"))


@dataclass(frozen=True)
class _Copies:
    """The copies of one image: the content of each file and the values drawn for it.

    `sheet_row` holds the pixels of the image and its copies, uint8 (height, width, 3), if it is on the contact sheet.
    """

    contents: list[bytes]
    draws: list[dict[str, float | bool]]
    sheet_row: list[np.ndarray]


def _unique_stem(path: str, names: dict[str, int]) -> str:
    """Return the file name of `path` without suffix; if it is taken, append ~2, ~3, ...

    `names` maps the stems in use to the last number appended to each.
    """
    name = stem = PurePosixPath(path).stem
    number = names.get(stem, 1)
    while name in names:
        number += 1
        name = f"{stem}~{number}"
    names[stem] = number
    names.setdefault(name, 1)
    return name


@contextmanager
def _image_writer(output: str) -> Iterator[Callable[[str, bytes], str]]:
    """Yield a function that writes a file, given name and content, and returns its path.

    It writes into the folder `output`, or, if `output` ends with .zip, into an archive that is complete or absent.
    """
    from facetools.runtime import files

    if not output.lower().endswith(".zip"):
        folder = files.make_folder(output)

        def write_file(name: str, content: bytes) -> str:
            files.write_atomically(folder / name, content)
            return str(folder / name)

        yield write_file
        return
    with files.atomic_writer(output) as stream, zipfile.ZipFile(stream, "w") as archive:

        def write_member(name: str, content: bytes) -> str:
            archive.writestr(zipfile.ZipInfo(name), content)
            return f"{output}/{name}"

        yield write_member


main = fa_augment

if __name__ == "__main__":
    main()
