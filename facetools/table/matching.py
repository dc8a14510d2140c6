r"""Match the names in a list with image paths: exact paths first, then the longest common suffix of whole components.

A list may call `n1/1.jpg` what the command line calls `faces/n1/1.jpg`. `NameList.match` finds the row of each image.
The rules, in this order:

1. A name that equals the path of an image belongs to it.
2. Any other image takes the name that shares the most trailing components with its path, at least the file name. If
   several share equally many, it takes the one that lies wholly within its path. If none does, the match is refused.
3. If several images take a name, the one that shares the most components with it gets it, and the others get none. If
   several share equally many, the match is refused.
4. A name and an image in different folders do not match if another name in the same folder of the list shares more
   components with its image. With n1/1.jpg and n1/2.jpg in the list, images n1/1.jpg and n3/2.jpg, only n1/1.jpg
   matches.
5. Names and images that are left match by the same rules without the suffix of the file.

Leading `./` and doubled slashes do not count. Unless a path is equal, a backslash is a slash too, and composed and
decomposed characters are the same. Time and memory are O(total length of names and paths).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from facetools.table.columns import Table

#: The suffix of a file name, such as `.jpg` or `.jpg_large`; not the `.5` of `face1.5`.
_SUFFIX = re.compile(r"(?<=[^/])\.[A-Za-z]\w{0,9}\Z", re.ASCII)

#: The kinds of matches, weakest first.
_KINDS = ("by file name without suffix", "by file name", "by path suffix", "exactly")
_BY_STEM, _BY_FILE_NAME, _BY_PATH_SUFFIX, _EXACT = range(4)


class MatchError(ValueError):
    """Names and images can only be matched by guessing, or not at all. The message gives names and images."""


class Matches(NamedTuple):
    """The result of matching.

    rows: the row in the list of each path, int64 (paths,); -1 where the list has none.
    summary: one line on the number of matches, with an example if not all are exact.
    """

    rows: np.ndarray
    summary: str


@dataclass(frozen=True)
class NameList:
    """The names of a list or table, and where they stand.

    source: the list in messages.
    names: one path per row.
    lines: the line of each row, from 1; None for a table, whose rows are numbered in messages, also from 1.
    """

    source: str
    names: Sequence[str]
    lines: Sequence[int] | np.ndarray | None = None

    @classmethod
    def of_table(cls, source: str, table: Table) -> NameList:
        """Return the paths of a table that was read from `source`."""
        return cls(source, [table.path(row) for row in range(len(table))], table.lines)

    def check_repetitions(self, values: np.ndarray, noun: str) -> None:
        """Raise MatchError if a name occurs twice with different `values` (rows, ...). `noun` is what they are called,
        such as `labels`."""
        first_rows: dict[str, int] = {}
        for row, name in enumerate(self.names):
            first = first_rows.setdefault(_normalize(name), row)
            if first != row and not np.array_equal(values[first], values[row], equal_nan=values.dtype.kind == "f"):
                unit = "rows" if self.lines is None else "lines"
                raise MatchError(
                    f"{self.source}: {unit} {self._line(first)} and {self._line(row)} give {name} different {noun}"
                )

    def match(self, paths: Sequence[str]) -> Matches:
        """Find the row of each of `paths`. A path that occurs several times is one image.

        Raises MatchError if two names fit an image equally well, if two images fit a name equally well, or if no path
        matches.
        """
        return _Matching(self, paths).run()

    def describe(self, row: int) -> str:
        """Return the name of a row with its line."""
        return f"{self.names[row]} ({'row' if self.lines is None else 'line'} {self._line(row)})"

    def _line(self, row: int) -> int:
        return row + 1 if self.lines is None else int(self.lines[row])


class _Matching:
    """The matching of a list with some images: its rules, and what is matched so far."""

    def __init__(self, names: NameList, paths: Sequence[str]) -> None:
        self._list = names
        self._keys = [_normalize(path) for path in paths]
        #: The number of each image, by its key, and its path.
        self._images: dict[str, int] = {}
        self._paths: list[str] = []
        for key, path in zip(self._keys, paths, strict=True):
            if self._images.setdefault(key, len(self._paths)) == len(self._paths):
                self._paths.append(path)
        #: The row of each name, by its key.
        self._names: dict[str, int] = {}
        for row, name in enumerate(names.names):
            self._names.setdefault(_normalize(name), row)
        #: The row and the kind of match of each image; -1 for none.
        self._rows = [-1] * len(self._paths)
        self._kinds = [-1] * len(self._paths)
        #: Whether each row has an image, and how well an image fits it.
        self._is_taken = bytearray(len(names.names))
        self._best_fits = [0] * len(names.names)

    def run(self) -> Matches:
        self._match_exactly()
        self._match_by_suffix(_normalize_loosely, _normalize_loosely)
        # A list may have 000001 or 000001.png for 000001.jpg.
        self._match_by_suffix(_normalize_loosely, _remove_suffix, _BY_STEM)
        self._match_by_suffix(_remove_suffix, _remove_suffix, _BY_STEM)
        if self._paths and max(self._kinds) < 0:
            raise MatchError(self._explain_no_match())
        rows = np.array([self._rows[self._images[key]] for key in self._keys], np.int64)
        return Matches(rows, self._summarize())

    def _match_exactly(self) -> None:
        for key, image in self._images.items():
            row = self._names.get(key)
            if row is not None:
                self._assign(image, row, _EXACT)
                self._best_fits[row] = _fit(key.count("/") + 1, is_whole=True)

    def _match_by_suffix(
        self, key_of_name: Callable[[str], str], key_of_image: Callable[[str], str], kind: int | None = None
    ) -> None:
        """Match the images that are left by rules 2 to 4. The matches are of `kind` if it is given."""
        images = {image: key_of_image(self._paths[image]) for image, row in enumerate(self._rows) if row < 0}
        if not images:
            return
        names = {row: key_of_name(self._list.names[row]) for row in self._names.values()}
        self._match_whole_names(names, images, kind)
        images = {image: key for image, key in images.items() if self._rows[image] < 0}
        if not images:
            return
        # In the order of the images, so that messages name the first of those that cannot be matched.
        nodes = sorted(_find_longest_suffixes(names, images), key=lambda node: min(node.images))
        if not nodes:
            return
        for node in nodes:
            fit = _fit(node.depth, is_whole=bool(node.whole_names and node.whole_images))
            for row in node.candidates:
                self._best_fits[row] = max(self._best_fits[row], fit)
        folders = {row: key.rpartition("/")[0] for row, key in names.items()}
        # The most components that a name in each folder of the list shares with an image.
        agreement: dict[str, int] = {}
        for row, folder in folders.items():
            agreement[folder] = max(agreement.get(folder, 0), self._best_fits[row] // 2)

        takers: dict[int, int] = {}
        for node in nodes:
            near = [row for row in node.candidates if node.whole_names or agreement[folders[row]] <= node.depth]
            for group, rows, is_whole in ((node.whole_images, node.candidates, True), (node.inner_images, near, False)):
                if not group:
                    continue
                fit = _fit(node.depth, is_whole=is_whole and bool(node.whole_names))
                free = [row for row in rows if not self._is_taken[row] and self._best_fits[row] <= fit]
                if not free:
                    continue
                if len(free) > 1 or (len(node.candidates) > 1 and not node.whole_names):
                    raise MatchError(self._explain_two_names(group[0], free, node.candidates))
                for image in group:
                    if takers.setdefault(free[0], image) != image:
                        raise MatchError(self._explain_two_images(free[0], takers[free[0]], image))
        for row, image in takers.items():
            self._assign(image, row, min(self._best_fits[row] // 2, _BY_PATH_SUFFIX) if kind is None else kind)

    def _match_whole_names(self, names: dict[int, str], images: dict[int, str], kind: int | None) -> None:
        """Match most images in most lists faster: those that end with a name of as many components as any name has.

        No other name can share more components with them. Names that several images end with are left out here.
        """
        depth = max((key.count("/") for key in names.values()), default=0) + 1
        rows = {key: row for row, key in names.items() if key.count("/") == depth - 1 and not self._is_taken[row]}
        contested = {key for key, count in Counter(names.values()).items() if count > 1}
        takers: dict[int, int] = {}
        for image, key in images.items():
            suffix = "/".join(key.rsplit("/", depth)[-depth:])
            row = rows.get(suffix)
            if row is not None and takers.setdefault(row, image) != image:
                contested.add(suffix)
        for row, image in takers.items():
            if names[row] not in contested:
                self._best_fits[row] = _fit(depth, is_whole=images[image] == names[row])
                self._assign(image, row, min(depth, _BY_PATH_SUFFIX) if kind is None else kind)

    def _assign(self, image: int, row: int, kind: int) -> None:
        self._rows[image], self._kinds[image], self._is_taken[row] = row, kind, 1

    def _explain_two_names(self, image: int, free: Sequence[int], candidates: Sequence[int]) -> str:
        first, second = [*free, *(row for row in candidates if row not in free[:1])][:2]
        return (
            f"{self._list.source}: {self._paths[image]} fits both {self._list.describe(first)} and "
            f"{self._list.describe(second)}; name the folders of the images as the list does"
        )

    def _explain_two_images(self, row: int, first: int, second: int) -> str:
        return (
            f"{self._list.source}: {self._list.describe(row)} fits both {self._paths[first]} and "
            f"{self._paths[second]}; the list must name the folder, too"
        )

    def _explain_no_match(self) -> str:
        if not self._list.names:
            return f"{self._list.source}: it has no rows"
        return (
            f"{self._list.source}: no name fits any of the images, such as {self._paths[0]}; the first name is "
            f"{self._list.describe(0)}"
        )

    def _summarize(self) -> str:
        matched = [image for image, row in enumerate(self._rows) if row >= 0]
        text = f"{self._list.source}: {len(matched):,} of {len(self._paths):,} images matched"
        weakest = min((self._kinds[image] for image in matched), default=_EXACT)
        if weakest == _EXACT:
            return text
        alike = [image for image in matched if self._kinds[image] == weakest]
        part = "" if len(alike) == len(matched) else f"{len(alike):,} of them "
        image = alike[0]
        return f"{text}, {part}{_KINDS[weakest]} ({self._paths[image]} by {self._list.names[self._rows[image]]})"


class _Node(NamedTuple):
    """A path suffix of `depth` components for which no image with it shares one more component with a name.

    names: all names with this suffix.
    whole_names: those that have no more components.
    whole_images, inner_images: the images whose longest common suffix it is, without and with more components.
    """

    depth: int
    names: Sequence[int]
    whole_names: Sequence[int]
    whole_images: Sequence[int]
    inner_images: Sequence[int]

    @property
    def images(self) -> list[int]:
        """The images whose longest common suffix it is."""
        return [*self.whole_images, *self.inner_images]

    @property
    def candidates(self) -> Sequence[int]:
        """The names that fit the images of the node best."""
        return self.whole_names or self.names


def _find_longest_suffixes(names: dict[int, str], images: dict[int, str]) -> Iterator[_Node]:
    """Yield the longest common suffixes of each of `images` with `names`: paths by number."""
    names, images = _keep_files(names, images), _keep_files(images, names)
    # Where the components that are not compared yet end; -1 if there are none.
    name_ends = {number: len(path) for number, path in names.items()}
    image_ends = {number: len(path) for number, path in images.items()}
    nodes: list[tuple[int, Iterable[int], Iterable[int]]] = [(0, names, images)]
    while nodes:
        depth, node_names, node_images = nodes.pop()
        names_by_component = _split_last(names, name_ends, node_names)
        whole_names = names_by_component.pop(None, [])
        images_by_component = _split_last(images, image_ends, node_images)
        whole_images, inner_images = images_by_component.pop(None, []), []
        for component, group in images_by_component.items():
            if component in names_by_component:
                nodes.append((depth + 1, names_by_component[component], group))
            else:
                inner_images += group
        if depth and (whole_images or inner_images):
            yield _Node(depth, list(node_names), whole_names, whole_images, inner_images)


def _keep_files(paths: dict[int, str], others: dict[int, str]) -> dict[int, str]:
    """Return those of `paths` whose last component occurs among the `others`."""
    files = {path.rpartition("/")[2] for path in others.values()}
    return {number: path for number, path in paths.items() if path.rpartition("/")[2] in files}


def _split_last(paths: dict[int, str], ends: dict[int, int], numbers: Iterable[int]) -> dict[str | None, list[int]]:
    """Group the `numbers` of paths by the component before `ends`, None for no component, and move `ends` before it."""
    groups: dict[str | None, list[int]] = defaultdict(list)
    for number in numbers:
        end = ends[number]
        if end < 0:
            groups[None].append(number)
        else:
            path = paths[number]
            slash = path.rfind("/", 0, end)
            ends[number] = slash
            groups[path[slash + 1 : end]].append(number)
    return groups


def _fit(components: int, *, is_whole: bool) -> int:
    """How well a name fits an image that shares `components` with it, and everything if `is_whole`."""
    return 2 * components + is_whole


def _normalize(path: str) -> str:
    """Return a path without `./` and doubled slashes."""
    if "//" not in path and "./" not in path:
        return path
    components = [component for component in path.split("/") if component not in ("", ".")]
    return ("/" if path.startswith("/") else "") + "/".join(components)


def _normalize_loosely(path: str) -> str:
    """Return a path with slashes for backslashes and composed characters."""
    path = _normalize(path.replace("\\", "/"))
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _remove_suffix(path: str) -> str:
    return _SUFFIX.sub("", _normalize_loosely(path))
