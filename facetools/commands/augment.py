"""fa-augment: read images, write randomly warped copies, and one record per copy on stdout."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facetools.commands.files import find_images
from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.options import OUTPUT, Null, Sources, Truncated, read_size_option
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
from facetools.commands.running import command
from facetools.images.augmentation import Augmentation
from facetools.training.recipes import PAPER

if TYPE_CHECKING:
    import numpy as np

    from facetools.images.output_folder import EarlierImages

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
    truncated: Truncated = False,
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

    No source and no file of others in DIR is replaced: a copy whose name is taken gets ~2 in its name. A copy of an
    earlier run is replaced by that of the same source. If DIR lies in a source, copies are not copied again.
    \f
    Examples:
      fa-augment faces/ -o augmented/ --copies 4 > augmented.jsonl
      fa-augment faces.zip -o augmented.zip --size 224 --rotation 10 --shift 0.05
      fa-augment face.jpg -o out/ --copies 7 --sheet sheet.png
    """
    import numpy as np

    from facetools.images import batches, decoding, marks, output_folder, reading, sheets, transforms, writing
    from facetools.table import columns, jsonl, streams

    check_image_output(output)
    check_output("-")
    suffix = "" if sheet is None else sheet_suffix(sheet)
    archive = output if is_zip(output) else None
    check_distinct({STDOUT: "-", "--output": archive, "--sheet": sheet}, sources)
    try:
        limits = Augmentation(rotation, shift, shear, zoom, flip, brightness, contrast, saturation, grayscale)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    shape = read_size_option("--size", size)
    earlier = output_folder.EarlierImages(output, sources, sheet)
    try:
        images = find_images(job, sources, null=null, exclude=earlier)
    except CommandError as error:
        raise CommandError(f"{error}{_count_earlier(earlier, '; ')}") from None
    if earlier.count:
        job.say(_count_earlier(earlier))
    paths = images.paths
    check_images_stay([("--output", archive), ("--sheet", sheet)], paths)

    def augment(reader: reading.ImageReader, number: int, path: str) -> _Copies | reading.ImageError:
        pixels = decoding.load_image(reader, path, shape, job.accept_truncated if truncated else None)
        if isinstance(pixels, reading.ImageError):
            return pixels
        warped, drawn = transforms.augment_image(pixels, copies, limits, np.random.default_rng([job.seed, number]))
        sheet_row = [pixels, *warped] if sheet and number < SHEET_ROWS else []
        return _Copies([writing.encode_image(copy, f".{format}") for copy in warped], drawn.to_records(), sheet_row)

    sheet_rows: list[list[np.ndarray]] = []
    count = 0
    with (
        streams.open_output(sheet) if sheet else nullcontext() as sheet_stream,
        open_images(output, paths, output_folder.FlatNames()) as folder,
        job.progress("images", len(paths)) as advance,
    ):
        for number, (path, result) in enumerate(batches.map_images(paths, augment, jobs=job.jobs)):
            advance(1)
            if isinstance(result, reading.ImageError):
                job.report_failure(path, str(result))
                continue
            copy_paths = folder.write(path, result.contents, f".{format}")
            # The source of a face that fa-align has cropped stays its photograph.
            source_key = "original" if images.has_key(number, "source") else "source"
            records = [{source_key: path, **draws} for draws in result.draws]
            rows = columns.Table(columns.encode_paths(copy_paths), extras=records)
            jsonl.write_jsonl(sys.stdout.buffer, images.add_columns(rows, [number] * len(records)))
            if result.sheet_row:
                sheet_rows.append(result.sheet_row)
            count += copies
        if not count:
            raise CommandError(f"none of the {len(paths)} images could be read")
        if sheet and sheet_stream is not None:
            pixels = sheets.make_contact_sheet(sheet_rows, SHEET_HEIGHT)
            sheet_stream.write(marks.add_mark(writing.encode_image(pixels, suffix)))
    if folder.replaced:
        job.say(f"replaced {pluralize(folder.replaced, 'copy', 'copies')} of an earlier run")
    job.done(pluralize(count, "image"))


@dataclass(frozen=True)
class _Copies:
    """The copies of one image: the content of each file and the values drawn for it.

    `sheet_row` holds the pixels of the image and its copies, uint8 (height, width, 3), if it is on the contact sheet.
    """

    contents: list[bytes]
    draws: list[dict[str, float | bool]]
    sheet_row: list[np.ndarray]


def _count_earlier(earlier: EarlierImages, separator: str = "") -> str:
    """Return how many files in the sources are copies; nothing if there are none."""
    if not earlier.count:
        return ""
    return f"{separator}{pluralize(earlier.count, 'file is a copy', 'files are copies')} of earlier runs and not copied"


main = fa_augment

if __name__ == "__main__":
    main()
