"""Write a data set of drawn faces in CelebA's layout."""

from __future__ import annotations

import errno
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

import numpy as np

from facetools.images.marks import ZIP_COMMENT, is_marked_zip
from facetools.images.output_folder import NOT_OWN
from facetools.runtime import files
from facetools.synthetic.canvas import SIZE
from facetools.synthetic.drawing import draw_numbered_face
from facetools.table.attributes import CELEBA40

#: The files of a data set.
IMAGES, ATTRIBUTES, PARTITION = "img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt"


def write_celeba(
    folder: Path,
    count: int,
    seed: int,
    size: tuple[int, int] = SIZE,
    test_share: float = 0.1,
    valid_share: float = 0.1,
    jobs: int = 1,
) -> None:
    """Write `count` faces to `folder` as CelebA is distributed: a zip archive of JPEGs, attribute list and partition.

    The first faces are the training set, then `valid_share` of all faces are the validation set, and the last
    `test_share` the test set. Raises ValueError if these shares add up to more than 1. `jobs` processes draw; the bytes
    that are written do not depend on their number.
    """
    names = [f"{index + 1:06d}.jpg" for index in range(count)]
    test, valid = round(count * test_share), round(count * valid_share)
    if test + valid > count:
        raise ValueError(f"test_share {test_share:g} and valid_share {valid_share:g} add up to more than 1")
    partition = [0] * (count - test - valid) + [1] * valid + [2] * test
    files.make_folder(folder)
    rows = []
    with files.atomic_writer(folder / IMAGES) as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.comment = ZIP_COMMENT
        for name, (attributes, jpeg) in zip(names, _draw_jpegs(count, seed, size, jobs), strict=True):
            # The default date of ZipInfo is constant, so equal faces give equal archives.
            archive.writestr(zipfile.ZipInfo(f"img_align_celeba/{name}"), jpeg)
            rows.append(f"{name} " + " ".join(f"{2 * int(value) - 1:2d}" for value in attributes))
    attribute_list = "\n".join([str(count), " ".join(CELEBA40) + " ", *rows]) + "\n"
    files.write_atomically(folder / ATTRIBUTES, attribute_list.encode())
    partition_list = "".join(f"{name} {part}\n" for name, part in zip(names, partition, strict=True))
    files.write_atomically(folder / PARTITION, partition_list.encode())


def check_replaceable(folder: Path) -> None:
    """Raise FileExistsError if `folder` holds a data set, or a file of one, that was not drawn."""
    archive = folder / IMAGES
    if archive.exists() and is_marked_zip(archive):
        return
    for name in (IMAGES, ATTRIBUTES, PARTITION):
        if os.path.lexists(folder / name):
            raise FileExistsError(errno.EEXIST, NOT_OWN, str(folder / name))


def _draw_jpegs(count: int, seed: int, size: tuple[int, int], jobs: int) -> Iterator[tuple[np.ndarray, bytes]]:
    draw = partial(_draw_jpeg, seed=seed, size=size)
    if jobs == 1:
        yield from map(draw, range(count))
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_end_with_parent) as pool:
        yield from pool.map(draw, range(count), chunksize=32)


def _end_with_parent() -> None:
    """Let this process end when its parent does: it would wait forever for work from a parent that was killed."""

    def wait_for_end(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    parent = parent_process()
    if parent is not None:
        threading.Thread(target=wait_for_end, args=[parent.sentinel], daemon=True).start()


def _draw_jpeg(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, bytes]:
    attributes, image = draw_numbered_face(index, seed, size)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=92)
    return attributes, jpeg.getvalue()
