"""fa-eigenface: read a face table with clusters, write mean faces and eigenfaces, and one record per cluster."""

from __future__ import annotations

import errno
import io
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.options import METHOD, OUTPUT, TableInput, Truncated, read_size_option
from facetools.commands.outputs import STDOUT, check_distinct, check_folder, check_images_stay, check_output
from facetools.commands.running import command

if TYPE_CHECKING:
    from facetools.report.eigenfaces import Eigenface

#: The default size of the pictures: the longer side has at most this many pixels.
MAX_SIDE = 96

#: The file with the eigenfaces as numbers, and some of the arrays in it.
NPZ = "eigenfaces.npz"
NPZ_KEYS = ("cluster", "faces", "mean", "components", "explained_variance")


@command
def fa_eigenface(
    job: Job,
    source: TableInput = "-",
    *,
    truncated: Truncated = False,
    components: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Number of principal components per cluster.", rich_help_panel=METHOD),
    ] = 4,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Size of the pictures in pixels, N or HEIGHTxWIDTH. By default that of the first image, reduced to at "
            "most 96 pixels per side.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    color: Annotated[
        bool, typer.Option("--color/--gray", help="Use color or gray images.", rich_help_panel=METHOD)
    ] = True,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for the pictures and eigenfaces.npz.",
            rich_help_panel=OUTPUT,
        ),
    ],
) -> None:
    """Make the mean face and the eigenfaces of every cluster.

    The eigenfaces are the exact principal components of the flattened images of a cluster. Noise is left out.

    DIR receives a PNG per mean and component, and eigenfaces.npz with the same as numbers. One record per cluster is
    written to stdout: its size, its files and the variance that each component explains.
    \f
    Examples:
      fa-eigenface clusters.jsonl -o eigenfaces/ > eigenfaces.jsonl
      fa-cluster scores.npy -k 8 | fa-eigenface -o eigenfaces/ --components 8 --size 64 --gray | jq .faces
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    from facetools.images import batches, output_folder, reading, writing
    from facetools.report.eigenfaces import ImageSpool, compute_eigenfaces
    from facetools.runtime import files
    from facetools.runtime.hardware import choose_device, uses_gpu
    from facetools.table import jsonl, streams

    shape = read_size_option("--size", size)
    check_folder(output)
    check_output("-")
    check_distinct({STDOUT: "-"}, [source])
    faces, _ = streams.read_table(source)
    if faces.cluster is None or faces.paths is None:
        missing = "cluster" if faces.cluster is None else "path"
        raise CommandError(f"the table has no column '{missing}'; fa-cluster adds clusters to a table with paths")
    paths = [faces.path(row) for row in range(len(faces)) if faces.cluster[row] >= 0]
    clusters = faces.cluster[faces.cluster >= 0]
    if not paths:
        raise CommandError("no face in the table belongs to a cluster")
    numbers = np.unique(clusters).tolist()
    pictures = [Path(output) / name for number in numbers for name in _picture_names(number, components)]
    check_images_stay((("--output", picture) for picture in pictures), paths)
    output_folder.check_replaceable(pictures)
    _check_npz(Path(output) / NPZ)
    device = choose_device(job.device) if uses_gpu(job.device) else None
    on_truncated = job.accept_truncated if truncated else None
    shape = shape or _default_shape(paths, on_truncated)
    folder = files.make_folder(output)
    eigenfaces: list[Eigenface] = []
    with ImageSpool(np.bincount(clusters), (*shape, 3 if color else 1)) as spool:
        with job.progress("images", len(paths)) as advance:
            decoded = batches.decode_images(paths, shape, jobs=job.jobs, on_truncated=on_truncated)
            for (path, pixels), cluster in zip(decoded, clusters, strict=True):
                if isinstance(pixels, reading.ImageError):
                    job.report_failure(path, str(pixels))
                else:
                    spool.add(cluster, pixels if color else writing.to_gray(pixels))
                advance(1)
        with threadpool_limits(job.jobs), job.progress("clusters", len(numbers)) as advance:
            for eigenface in compute_eigenfaces(spool, numbers, components, device=device):
                sys.stdout.buffer.write(jsonl.encode_record(_write_pictures(eigenface, folder)))
                eigenfaces.append(eigenface)
                advance(1)
    if not eigenfaces:
        raise CommandError(f"none of the {len(paths)} images could be read")
    _write_npz(folder / NPZ, eigenfaces, components)
    _remove_other_pictures(job, folder, eigenfaces)
    total = sum(eigenface.faces for eigenface in eigenfaces)
    job.done(f"{pluralize(total, 'face')} in {pluralize(len(eigenfaces), 'cluster')}")


def _default_shape(paths: list[str], on_truncated: Callable[[str], None] | None) -> tuple[int, int]:
    """Return the shape of the first readable image, scaled down so that no side is over MAX_SIDE pixels."""
    from facetools.images import batches, reading

    first_error = ""
    for path, pixels in batches.decode_images(paths, None, jobs=1, on_truncated=on_truncated):
        if isinstance(pixels, reading.ImageError):
            first_error = first_error or f"{path}: {pixels}"
        else:
            scale = min(1.0, MAX_SIDE / max(pixels.shape))
            return max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    raise CommandError(f"none of the {len(paths)} images could be read; the first error is {first_error}")


def _write_pictures(eigenface: Eigenface, folder: Path) -> dict[str, Any]:
    """Write the mean and the components of a cluster as PNG, and return the record of the cluster."""
    import numpy as np

    from facetools.images import marks, writing
    from facetools.report.eigenfaces import eigenface_picture
    from facetools.runtime import files

    paths = [folder / name for name in _picture_names(eigenface.cluster, len(eigenface.components))]
    pictures = [np.rint(eigenface.mean).astype(np.uint8), *map(eigenface_picture, eigenface.components)]
    for path, picture in zip(paths, pictures, strict=True):
        files.write_atomically(path, marks.add_mark(writing.encode_image(picture, path.suffix)))
    mean, *components = paths
    return {
        "cluster": eigenface.cluster,
        "faces": eigenface.faces,
        "mean": str(mean),
        "components": [str(path) for path in components],
        "explained_variance": [round(float(value), 4) for value in eigenface.explained_variance],
        "explained_variance_ratio": [round(float(value), 6) for value in eigenface.explained_variance_ratio],
    }


def _picture_names(cluster: int, components: int) -> list[str]:
    """Return the file names of the mean and the components of a cluster."""
    stem = f"cluster-{cluster:04d}"
    return [f"{stem}-mean.png", *(f"{stem}-component-{number}.png" for number in range(1, components + 1))]


def _remove_other_pictures(job: Job, folder: Path, eigenfaces: list[Eigenface]) -> None:
    """Remove the pictures of an earlier run with more clusters or components: they belong to no record."""
    from facetools.images.marks import read_mark

    written = {name for face in eigenfaces for name in _picture_names(face.cluster, len(face.components))}
    for path in folder.glob("cluster-*.png"):
        is_picture = re.fullmatch(r"cluster-\d{4,}-(mean|component-\d+)\.png", path.name)
        if is_picture and path.name not in written and read_mark(path) is not None:
            path.unlink()
            job.detail(f"removed {path}, a picture of an earlier run")


def _check_npz(path: Path) -> None:
    """Raise FileExistsError if the file exists and was not written by this command."""
    from facetools.images.output_folder import NOT_OWN

    try:
        with zipfile.ZipFile(path) as archive:
            is_own = {f"{key}.npy" for key in NPZ_KEYS} <= set(archive.namelist())
    except FileNotFoundError:
        return
    except zipfile.BadZipFile:
        is_own = False
    if not is_own:
        raise FileExistsError(errno.EEXIST, NOT_OWN, str(path))


def _write_npz(path: Path, eigenfaces: list[Eigenface], components: int) -> None:
    """Write all clusters as stacked arrays. Components that a small cluster lacks are 0."""
    import numpy as np

    from facetools.runtime import files

    shape = eigenfaces[0].mean.shape
    stacked = np.zeros((len(eigenfaces), components, *shape), np.float32)
    variance, ratio = (np.zeros((len(eigenfaces), components)) for _ in range(2))
    for row, eigenface in enumerate(eigenfaces):
        count = len(eigenface.components)
        stacked[row, :count] = eigenface.components
        variance[row, :count] = eigenface.explained_variance
        ratio[row, :count] = eigenface.explained_variance_ratio
    content = io.BytesIO()
    np.savez(
        content,
        cluster=np.array([eigenface.cluster for eigenface in eigenfaces], np.int32),
        faces=np.array([eigenface.faces for eigenface in eigenfaces], np.int64),
        mean=np.stack([eigenface.mean for eigenface in eigenfaces]).astype(np.float32),
        components=stacked,
        explained_variance=variance,
        explained_variance_ratio=ratio,
    )
    files.write_atomically(path, content.getvalue())


main = fa_eigenface

if __name__ == "__main__":
    main()
