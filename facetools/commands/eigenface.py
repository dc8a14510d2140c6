"""fa-eigenface: read a face table with clusters, write mean faces and eigenfaces, and one record per cluster."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetools.commands.job import CommandError, Job, pluralize
from facetools.commands.options import METHOD, OUTPUT, TableInput, read_size_option
from facetools.commands.running import command

if TYPE_CHECKING:
    from facetools.report.eigenfaces import Eigenface

#: The default size of the pictures: the longer side has at most this many pixels.
MAX_SIDE = 96


@command
def fa_eigenface(
    job: Job,
    source: TableInput = "-",
    *,
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

    from facetools.images import batches, reading, writing
    from facetools.report.eigenfaces import ImageSpool, compute_eigenfaces
    from facetools.runtime import files
    from facetools.runtime.hardware import choose_device, uses_gpu
    from facetools.table import jsonl, streams

    shape = read_size_option("--size", size)
    faces, _ = streams.read_table(source)
    if faces.cluster is None or faces.paths is None:
        missing = "cluster" if faces.cluster is None else "path"
        raise CommandError(f"the table has no column '{missing}'; fa-cluster adds clusters to a table with paths")
    paths = [faces.path(row) for row in range(len(faces)) if faces.cluster[row] >= 0]
    clusters = faces.cluster[faces.cluster >= 0]
    if not paths:
        raise CommandError("no face in the table belongs to a cluster")
    device = choose_device(job.device) if uses_gpu(job.device) else None
    shape = shape or _default_shape(paths)
    folder = files.make_folder(output)
    eigenfaces: list[Eigenface] = []
    with ImageSpool(np.bincount(clusters), (*shape, 3 if color else 1)) as spool:
        with job.progress("images", len(paths)) as advance:
            decoded = batches.decode_images(paths, shape, jobs=job.jobs)
            for (path, pixels), cluster in zip(decoded, clusters, strict=True):
                if isinstance(pixels, reading.ImageError):
                    job.report_failure(path, str(pixels))
                else:
                    spool.add(cluster, pixels if color else writing.to_gray(pixels))
                advance(1)
        numbers = range(int(clusters.max()) + 1)
        with threadpool_limits(job.jobs), job.progress("clusters", len(numbers)) as advance:
            for eigenface in compute_eigenfaces(spool, numbers, components, device=device):
                sys.stdout.buffer.write(jsonl.encode_record(_write_pictures(eigenface, folder)))
                eigenfaces.append(eigenface)
                advance(1)
    if not eigenfaces:
        raise CommandError(f"none of the {len(paths)} images could be read")
    _write_npz(folder / "eigenfaces.npz", eigenfaces, components)
    total = sum(eigenface.faces for eigenface in eigenfaces)
    job.done(f"{pluralize(total, 'face')} in {pluralize(len(eigenfaces), 'cluster')}")


def _default_shape(paths: list[str]) -> tuple[int, int]:
    """Return the shape of the first readable image, scaled down so that no side is over MAX_SIDE pixels."""
    from facetools.images import batches, reading

    first_error = ""
    for path, pixels in batches.decode_images(paths, None, jobs=1):
        if isinstance(pixels, reading.ImageError):
            first_error = first_error or f"{path}: {pixels}"
        else:
            scale = min(1.0, MAX_SIDE / max(pixels.shape))
            return max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    raise CommandError(f"none of the {len(paths)} images could be read; the first error is {first_error}")


def _write_pictures(eigenface: Eigenface, folder: Path) -> dict[str, Any]:
    """Write the mean and the components of a cluster as PNG, and return the record of the cluster."""
    import numpy as np

    from facetools.images import writing
    from facetools.report.eigenfaces import eigenface_picture

    stem = folder / f"cluster-{eigenface.cluster:04d}"
    mean = Path(f"{stem}-mean.png")
    writing.write_image(mean, np.rint(eigenface.mean).astype(np.uint8))
    components = [Path(f"{stem}-component-{number}.png") for number in range(1, len(eigenface.components) + 1)]
    for path, component in zip(components, eigenface.components, strict=True):
        writing.write_image(path, eigenface_picture(component))
    return {
        "cluster": eigenface.cluster,
        "faces": eigenface.faces,
        "mean": str(mean),
        "components": [str(path) for path in components],
        "explained_variance": [round(float(value), 4) for value in eigenface.explained_variance],
        "explained_variance_ratio": [round(float(value), 6) for value in eigenface.explained_variance_ratio],
    }


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
