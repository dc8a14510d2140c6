"""fa-eigenface: a face table with clusters in, mean faces and principal components out, a record a cluster."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facetools.commands.job import Failure, Job, pluralize
from facetools.commands.options import TableInput
from facetools.commands.running import command

if TYPE_CHECKING:
    from facetools.report.eigenfaces import Eigenface


@command
def fa_eigenface(
    job: Job,
    source: TableInput = "-",
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="The folder for pictures and eigenfaces.npz.")
    ],
    components: Annotated[int, typer.Option(metavar="N", min=0, help="Principal components of each cluster.")] = 4,
    size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Pixels, N or HEIGHTxWIDTH; by default the first image's shape, 96 at most."),
    ] = None,
    color: Annotated[bool, typer.Option("--color/--gray", help="Whether the pictures keep their colours.")] = True,
) -> None:
    """Make the mean face and the eigenfaces of every cluster.

    The principal components of the cluster's flattened images, exact; noise is left out. DIR gets a PNG for each mean
    and component and all of them as numbers in eigenfaces.npz; stdout gets a record a cluster: its size, its files and
    the variance that the components explain.
    \f
    Examples:
      fa-eigenface clusters.jsonl -o eigenfaces/ > eigenfaces.jsonl
      fa-cluster scores.npy -k 8 | fa-eigenface -o eigenfaces/ --components 8 --size 64 --gray | jq .faces
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    from facetools.commands.options import parse_image_size
    from facetools.images import batches, reading, writing
    from facetools.report.eigenfaces import ImageSpool, compute_eigenfaces
    from facetools.runtime import files
    from facetools.runtime.hardware import choose_device, uses_gpu
    from facetools.table import jsonl, streams

    try:
        shape = parse_image_size(size) if size else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--size") from None
    faces, _ = streams.read_table(source)
    if faces.cluster is None or faces.paths is None:
        missing = "cluster" if faces.cluster is None else "path"
        raise Failure(f"the table has no column '{missing}'; fa-cluster adds clusters to a table with paths")
    paths = [faces.path(row) for row in range(len(faces)) if faces.cluster[row] >= 0]
    clusters = faces.cluster[faces.cluster >= 0]
    if not paths:
        raise Failure("the table has no face in any cluster")
    device = choose_device(job.device) if uses_gpu(job.device) else None
    shape = shape or _first_shape(paths)
    folder = files.make_folder(output)
    done: list[Eigenface] = []
    with ImageSpool(np.bincount(clusters), (*shape, 3 if color else 1)) as spool:
        with job.progress("images", len(paths)) as advance:
            decoded = batches.decode_images(paths, shape, jobs=job.jobs)
            for (path, pixels), cluster in zip(decoded, clusters, strict=True):
                if isinstance(pixels, reading.ImageError):
                    job.report_failure(path, str(pixels))
                else:
                    spool.add(cluster, pixels if color else writing.to_gray(pixels))
                advance(1)
        with threadpool_limits(job.jobs), job.progress("clusters", int(clusters.max()) + 1) as advance:
            for found in compute_eigenfaces(spool, range(int(clusters.max()) + 1), components, device=device):
                sys.stdout.buffer.write(jsonl.encode_record(_written(found, folder)))
                done.append(found)
                advance(1)
    if not done:
        raise Failure(f"none of the {len(paths)} images could be read")
    _write_npz(folder / "eigenfaces.npz", done, components)
    job.done(f"{pluralize(sum(found.faces for found in done), 'face')} in {pluralize(len(done), 'cluster')}")


def _first_shape(paths: list[str]) -> tuple[int, int]:
    """The shape of the first image that can be read, made smaller where its longer side is over 96 pixels."""
    from facetools.images import batches, reading

    first = ""
    for path, pixels in batches.decode_images(paths, None, jobs=1):
        if isinstance(pixels, reading.ImageError):
            first = first or f"{path}: {pixels}"
        else:
            scale = min(1.0, 96 / max(pixels.shape))
            return max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    raise Failure(f"none of the {len(paths)} images could be read; the first is {first}")


def _written(found: Eigenface, folder: Path) -> dict[str, Any]:
    """Writes the pictures of a cluster; its record."""
    import numpy as np

    from facetools.images import writing
    from facetools.report.eigenfaces import eigenface_picture

    stem = folder / f"cluster-{found.cluster:04d}"
    mean = Path(f"{stem}-mean.png")
    writing.write_image(mean, np.rint(found.mean).astype(np.uint8))
    components = [Path(f"{stem}-component-{number}.png") for number in range(1, len(found.components) + 1)]
    for path, component in zip(components, found.components, strict=True):
        writing.write_image(path, eigenface_picture(component))
    return {
        "cluster": found.cluster,
        "faces": found.faces,
        "mean": str(mean),
        "components": [str(path) for path in components],
        "explained_variance": [round(float(value), 4) for value in found.explained_variance],
        "explained_variance_ratio": [round(float(value), 6) for value in found.explained_variance_ratio],
    }


def _write_npz(path: Path, done: list[Eigenface], components: int) -> None:
    """All clusters as arrays; components that a small cluster does not have are 0."""
    import numpy as np

    from facetools.runtime import files

    shape = done[0].mean.shape
    stacked = np.zeros((len(done), components, *shape), np.float32)
    variance, ratio = (np.zeros((len(done), components)) for _ in range(2))
    for row, found in enumerate(done):
        kept = len(found.components)
        stacked[row, :kept] = found.components
        variance[row, :kept] = found.explained_variance
        ratio[row, :kept] = found.explained_variance_ratio
    content = io.BytesIO()
    np.savez(
        content,
        cluster=np.array([found.cluster for found in done], np.int32),
        faces=np.array([found.faces for found in done], np.int64),
        mean=np.stack([found.mean for found in done]).astype(np.float32),
        components=stacked,
        explained_variance=variance,
        explained_variance_ratio=ratio,
    )
    files.write_atomically(path, content.getvalue())


main = fa_eigenface

if __name__ == "__main__":
    main()
