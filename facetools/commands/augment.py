"""fa-augment: images in, randomly warped copies out, a record an image."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from facetools.commands.files import image_paths
from facetools.commands.job import Failure, Job, pluralize
from facetools.commands.options import Null, Sources, parse_image_size
from facetools.commands.running import command
from facetools.images.augmentation import Augmentation
from facetools.training.recipes import PAPER

if TYPE_CHECKING:
    import numpy as np

REACH = PAPER.augmentation

#: Images on the contact sheet, and the height of each.
SHEET_ROWS, SHEET_HEIGHT = 8, 128


@command
def fa_augment(
    job: Job,
    sources: Sources,
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR|FILE.zip", help="Where the images go.")],
    copies: Annotated[int, typer.Option(metavar="N", min=1, help="Images to make of each.")] = 1,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Pixels, N or HEIGHTxWIDTH; by default as they are.")
    ] = None,
    rotation: Annotated[
        float, typer.Option(metavar="DEGREES", help="The largest rotation to either side.")
    ] = REACH.rotation,
    shift: Annotated[float, typer.Option(metavar="SHARE", help="The largest shift, of each side.")] = REACH.shift,
    shear: Annotated[
        float, typer.Option(metavar="DEGREES", help="The largest shear angle, as in Keras.")
    ] = REACH.shear,
    zoom: Annotated[float, typer.Option(metavar="SHARE", help="The largest zoom in and out.")] = REACH.zoom,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Mirror half of the images.")] = REACH.flip,
    brightness: Annotated[float, typer.Option(metavar="SHARE", help="The largest change of brightness.")] = 0.0,
    contrast: Annotated[float, typer.Option(metavar="SHARE", help="The largest change of contrast.")] = 0.0,
    saturation: Annotated[float, typer.Option(metavar="SHARE", help="The largest change of saturation.")] = 0.0,
    grayscale: Annotated[float, typer.Option(metavar="SHARE", help="Images that lose their colours.")] = 0.0,
    format: Annotated[Literal["jpg", "png"], typer.Option(help="The format of the images.")] = "jpg",
    sheet: Annotated[
        str | None, typer.Option(metavar="FILE.png", help="Also write a contact sheet: images, then their copies.")
    ] = None,
    null: Null = False,
) -> None:
    """Make randomly warped copies of images.

    The paper's augmentations as one affine warp an image, composed as Keras' ImageDataGenerator composes them:
    rotation, shift, shear (an angle in degrees), zoom, flip; what lies beyond the border shows the nearest pixel.
    Beyond the paper's, brightness, contrast, saturation and the share of grey images. A record an image goes to stdout:
    its path, its source and what was drawn. A copy depends on --seed and on the place of its source among the sources
    alone.
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
        reach = Augmentation(rotation, shift, shear, zoom, flip, brightness, contrast, saturation, grayscale)
        shape = parse_image_size(size) if size else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    paths = image_paths(sources, null=null)

    def make(reader: reading.ImageReader, number: int, path: str) -> _Copies | reading.ImageError:
        pixels = decoding.load_image(reader, path, shape)
        if isinstance(pixels, reading.ImageError):
            return pixels
        warped, draws = transforms.augmented_copies(pixels, copies, reach, np.random.default_rng([job.seed, number]))
        kept = [pixels, *warped] if number < SHEET_ROWS and sheet else []
        return _Copies([writing.encode_image(copy, f".{format}") for copy in warped], draws.records(), kept)

    names: dict[str, int] = {}
    rows: list[list[np.ndarray]] = []
    made = 0
    with (
        files.atomic_writer(sheet) if sheet else nullcontext() as overview,
        _images_to(output) as write,
        job.progress("images", len(paths)) as advance,
    ):
        for path, result in batches.map_images(paths, make, jobs=job.jobs):
            advance(1)
            if isinstance(result, reading.ImageError):
                job.report_failure(path, str(result))
                continue
            stem = _stem(path, names)
            for copy, (content, drawn) in enumerate(zip(result.contents, result.draws, strict=True), start=1):
                written = write(f"{stem}-{copy}.{format}", content)
                sys.stdout.buffer.write(jsonl.encode_record({"path": written, "source": path, **drawn}))
            if result.pixels:
                rows.append(result.pixels)
            made += copies
        if not made:
            raise Failure(f"none of the {len(paths)} images could be read")
        if overview is not None:
            overview.write(
                writing.encode_image(sheets.contact_sheet(rows, SHEET_HEIGHT), Path(sheet or "").suffix.lower())
            )
    job.done(pluralize(made, "image"))


@dataclass(frozen=True)
class _Copies:
    """What became of one image: the content of each copy's file, what was drawn for it, and, for the contact sheet, the
    pixels of the image and its copies, uint8 (height, width, 3)."""

    contents: list[bytes]
    draws: list[dict[str, float | bool]]
    pixels: list[np.ndarray]


def _stem(path: str, names: dict[str, int]) -> str:
    """The name of an image without suffix, made unique among those before it, each with the last number tried."""
    name = stem = PurePosixPath(path).stem
    number = names.get(stem, 1)
    while name in names:
        number += 1
        name = f"{stem}~{number}"
    names[stem] = number
    names.setdefault(name, 1)
    return name


@contextmanager
def _images_to(output: str) -> Iterator[Callable[[str, bytes], str]]:
    """Writes images by name and content into a folder, or into a zip archive that is complete or absent; gives the
    path of each."""
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
