"""Drawn faces, written in CelebA's layout."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from facetools.runtime import files
from facetools.synthetic.canvas import SIZE
from facetools.synthetic.drawing import numbered_face
from facetools.table.attributes import CELEBA40


def write_celeba(
    folder: Path,
    count: int,
    seed: int,
    size: tuple[int, int] = SIZE,
    test_share: float = 0.1,
    valid_share: float = 0.1,
    jobs: int = 1,
) -> None:
    """Write `count` faces to `folder` as CelebA comes: a zip of JPEGs, the attribute list and the partition.

    The first faces are for training, the next `valid_share` of them for validation, the last `test_share` for the test.
    The same arguments give the same bytes with any number of `jobs`, the processes that draw.
    """
    names = [f"{index + 1:06d}.jpg" for index in range(count)]
    tested, validated = round(count * test_share), round(count * valid_share)
    if tested + validated > count:
        raise ValueError("test_share and valid_share leave less than nothing to train on")
    parts = [0] * (count - tested - validated) + [1] * validated + [2] * tested
    files.make_folder(folder)
    rows = []
    with files.atomic_writer(folder / "img_align_celeba.zip") as stream, zipfile.ZipFile(stream, "w") as archive:
        for name, (attributes, jpeg) in zip(names, _encoded_faces(count, seed, size, jobs), strict=True):
            # ZipInfo's own time is that of 1980, not that of the clock: equal faces make equal archives.
            archive.writestr(zipfile.ZipInfo(f"img_align_celeba/{name}"), jpeg)
            rows.append(f"{name} " + " ".join(f"{2 * int(value) - 1:2d}" for value in attributes))
    listing = "\n".join([str(count), " ".join(CELEBA40) + " ", *rows]) + "\n"
    files.write_atomically(folder / "list_attr_celeba.txt", listing.encode())
    partition = "".join(f"{name} {part}\n" for name, part in zip(names, parts, strict=True))
    files.write_atomically(folder / "list_eval_partition.txt", partition.encode())


def _encoded_faces(count: int, seed: int, size: tuple[int, int], jobs: int) -> Iterator[tuple[np.ndarray, bytes]]:
    encode = partial(_encoded_face, seed=seed, size=size)
    if jobs == 1:
        yield from map(encode, range(count))
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(encode, range(count), chunksize=32)


def _encoded_face(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, bytes]:
    attributes, image = numbered_face(index, seed, size)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=92)
    return attributes, jpeg.getvalue()
