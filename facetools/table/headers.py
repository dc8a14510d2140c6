"""Names of the columns of lists of images: which column holds the images, and which ones are not attributes."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Names of the column with the images, most specific first, as `normalize` returns them.
IMAGE_COLUMNS = (
    *("imagepath", "filepath", "imgpath", "path", "imagefilename", "filename", "imagefile", "imgfile", "imagename"),
    *("imgname", "file", "image", "img", "imageid", "imgid", "imageurl", "imgurl", "url", "picture", "photo"),
    *("name", "id"),
)

#: Names of the column with the numbers of a partition list and of an identity list.
NUMBER_COLUMNS = {
    "partition": ("partition", "evalpartition", "split", "set", "subset", "fold"),
    "identity": ("identity", "identityid", "person", "personid", "subject", "subjectid", "celebrity", "celebrityid"),
}

#: Words for the numbers of partitions.
PARTITION_WORDS = {"train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}

#: Columns that are not attributes: images, partitions, identities and numbers of rows.
OTHER_COLUMNS = frozenset(
    (*IMAGE_COLUMNS, *NUMBER_COLUMNS["partition"], *NUMBER_COLUMNS["identity"], "index", "rownames", "rownumber")
)


def normalize(name: str) -> str:
    """Return the name of a column in lower case, without blanks, hyphens, underscores and dots."""
    return re.sub(r"[-_. ]", "", name).lower()


def is_unnamed(name: str) -> bool:
    """Return whether a column has no name, or one that pandas gives to a column without a name."""
    return not name or re.fullmatch(r"Unnamed: \d+(\.\d+)*", name, re.ASCII) is not None


def find_image_column(header: Sequence[str], first_row: Sequence[str] | None) -> int | None:
    """Return the position of the column with the names of images, or None if there is no such column.

    Without a usual name, it is an unnamed first column that does not hold row numbers, or the only column whose cell in
    `first_row` has the form of a file name.
    """
    names = [normalize(name) for name in header]
    for name in IMAGE_COLUMNS:
        if name in names:
            return names.index(name)
    if first_row is None:
        return 0
    if is_unnamed(header[0]) and not re.fullmatch(r"\s*(0|[1-9]\d*)\s*", first_row[0], re.ASCII):
        return 0
    positions = [position for position, cell in enumerate(first_row) if re.search(r"\.[A-Za-z]\w{1,5}\s*$", cell)]
    return positions[0] if len(positions) == 1 else None
