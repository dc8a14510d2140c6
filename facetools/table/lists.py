"""Lists of images: attribute lists such as CelebA's, partition lists and identity lists.

- `list_attr_celeba.txt`: the number of rows, the attribute names, then one row per image with values -1 or 1
- `list_eval_partition.txt`: rows like `000001.jpg 0` (0 train, 1 valid, 2 test)
- `identity_CelebA.txt`: rows like `000001.jpg 2880`
- CSV: the same columns with a header line, as spreadsheets, pandas and R write them

`delimited` splits lists into rows; `headers` knows which column holds the images and which ones are not attributes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from facetools.table.content import read_text
from facetools.table.delimited import DelimitedList, ListError, shorten, split_attribute_list, split_number_list
from facetools.table.errors import InputError
from facetools.table.headers import (
    NUMBER_COLUMNS,
    OTHER_COLUMNS,
    PARTITION_WORDS,
    find_image_column,
    is_unnamed,
    normalize,
)

#: The values -1, 0 and 1 of an attribute, also as floating-point numbers, and their words.
_VALUE = re.compile(r"(-1|0|1)(\.0*)?([eE][-+]?0+)?")
_VALUE_WORDS = {"true": 1, "false": 0}


@dataclass(frozen=True)
class AttributeList:
    """An attribute list: file names, attribute names, `values` as uint8 0 or 1 (files, attributes), and the line of
    each file, from 1."""

    files: tuple[str, ...]
    names: tuple[str, ...]
    values: np.ndarray
    lines: tuple[int, ...]


@dataclass(frozen=True)
class NumberList:
    """A partition list or identity list: file names, the number of each, and the line of each, from 1."""

    files: tuple[str, ...]
    numbers: tuple[int, ...]
    lines: tuple[int, ...]


def read_attribute_list(path: Path) -> AttributeList:
    """Read the attribute list in the file `path`. ListErrors start with the path."""
    try:
        return parse_attribute_list(read_text(path))
    except InputError as error:
        raise ListError(f"{path}: {error}") from None


def read_number_list(path: Path, kind: Literal["partition", "identity"]) -> NumberList:
    """Read a partition list or identity list in the file `path`. ListErrors start with the path."""
    try:
        return parse_number_list(read_text(path), kind)
    except InputError as error:
        raise ListError(f"{path}: {error}") from None


def parse_attribute_list(text: str) -> AttributeList:
    """Parse an attribute list in text or CSV form.

    A value is 1 or True if the attribute is present, and -1, 0 or False if it is absent. Raises ListError, with the
    line, if a value is missing or different, if the list has both -1 and 0, because 0 may mean unknown, if a column
    occurs twice, or if the number of rows is not the announced one.
    """
    table = split_attribute_list(text)
    rows = iter(table.rows)
    files: list[str] = []
    lines: list[int] = []
    try:
        first = next(rows, None)
        columns = _AttributeColumns(table, None if first is None else first[1])
        values = _Values(columns.names)
        for line, row in chain([] if first is None else [first], rows):
            columns.check_unnamed(row, line)
            values.add([row[position] for position in columns.attributes], line)
            files.append(_file_name(row[columns.image], line))
            lines.append(line)
    except ListError as error:
        if lines or table.is_certain:
            raise
        raise ListError(f"not a valid attribute list, and neither JSONL nor NPY: {error}") from None
    if table.count is not None and table.count != len(files):
        raise ListError(f"line {table.count_line} says {table.count} rows, but {len(files)} follow")
    return AttributeList(tuple(files), columns.names, values.to_array(len(files)), tuple(lines))


def parse_number_list(text: str, kind: Literal["partition", "identity"]) -> NumberList:
    """Parse a partition list or identity list in text or CSV form, with or without a header line.

    Partitions are 0, 1 and 2, or words such as `train`. Raises ListError, with the line, if a row is not a file name
    and such a number, or if it is not clear which column holds the numbers.
    """
    table = split_number_list(text)
    rows = iter(table.rows)
    first = next(rows, None)
    if first is None:
        raise ListError("the list has no rows")
    image, column = _number_columns(table, first[1], kind)
    words = PARTITION_WORDS if kind == "partition" else {}
    files: list[str] = []
    numbers: list[int] = []
    lines: list[int] = []
    for line, row in chain([first], rows):
        file, word = _file_name(row[image], line), row[column].strip()
        match = re.fullmatch(r"(\d{1,18})(\.0*)?", word, re.ASCII)
        number = int(match[1]) if match else words.get(word.lower())
        if number is None or (kind == "partition" and number > 2):
            expected = "0, 1 or 2" if kind == "partition" else "a number"
            raise ListError(f"line {line}: the {kind} of {shorten(file)} is {shorten(word)}, not {expected}")
        files.append(file)
        numbers.append(number)
        lines.append(line)
    return NumberList(tuple(files), tuple(numbers), tuple(lines))


def _file_name(field: str, line: int) -> str:
    name = field.strip()
    if not name or "\0" in name:
        raise ListError(f"line {line}: {'a file name contains NUL' if name else 'the file name is missing'}")
    return name


class _AttributeColumns:
    """The columns of an attribute list: the positions of the images and of the attributes, and the attribute names."""

    def __init__(self, table: DelimitedList, first_row: list[str] | None) -> None:
        self.image = _image_column(table, first_row)
        header = table.header
        self.unnamed = [position for position, name in enumerate(header) if position != self.image and is_unnamed(name)]
        self.attributes = [
            position
            for position, name in enumerate(header)
            if position not in (self.image, *self.unnamed) and normalize(name) not in OTHER_COLUMNS
        ]
        self.names = tuple(header[position] for position in self.attributes)
        if not self.names:
            raise ListError(f"line {table.header_line}: no attribute names")
        positions: dict[str, int] = {}
        for position, name in enumerate(header):
            if position not in self.unnamed and position != positions.setdefault(normalize(name), position):
                first = positions[normalize(name)]
                raise ListError(
                    f"line {table.header_line}: columns {first + 1} and {position + 1} are both called {shorten(name)}"
                )

    def check_unnamed(self, row: list[str], line: int) -> None:
        """Raise ListError if a column without a name is neither empty nor a column of row numbers before the images."""
        for position in self.unnamed:
            cell = row[position].strip()
            if cell and not (position < self.image and cell.isdecimal()):
                raise ListError(f"line {line}: column {position + 1} has no name, but the value {shorten(cell)}")


def _image_column(table: DelimitedList, first_row: list[str] | None) -> int:
    position = find_image_column(table.header, first_row)
    if position is None:
        names = ", ".join(map(shorten, table.header[:4])) + (", ..." if len(table.header) > 4 else "")
        raise ListError(
            f"line {table.header_line}: no column of images, such as image_id, filename or path, among {names}"
        )
    return position


class _Values:
    """Collects the values of attributes. They are -1 and 1, or 0 and 1."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        #: The value plus 1 of each field that occurs, and of each row.
        self._known = {"-1": 0, "0": 1, "1": 2}
        self._codes = bytearray()
        #: The first line with -1 (key 0) and with 0 (key 1).
        self._lines: dict[int, int] = {}

    def add(self, fields: list[str], line: int) -> None:
        """Add the values of a row."""
        try:
            codes = bytes(map(self._known.__getitem__, fields))
        except KeyError:
            codes = bytes(self._parse(field, name, line) for field, name in zip(fields, self._names, strict=True))
        for code in (0, 1):
            if code not in self._lines and code in codes:
                self._lines[code] = line
        if len(self._lines) == 2:
            raise ListError(
                f"line {self._lines[1]} has the value 0, but line {self._lines[0]} has -1, so 0 may mean absent or"
                " unknown; give either -1 and 1, or 0 and 1"
            )
        self._codes += codes

    def _parse(self, field: str, name: str, line: int) -> int:
        word = field.strip()
        match = _VALUE.fullmatch(word)
        value = int(match[1]) if match else _VALUE_WORDS.get(word.lower())
        if value is None:
            raise ListError(f"line {line}: {_describe_invalid(name, word)}")
        self._known[field] = value + 1
        return value + 1

    def to_array(self, rows: int) -> np.ndarray:
        """Return the values as uint8 0 or 1 (rows, attributes)."""
        codes = np.frombuffer(self._codes, np.uint8).reshape(rows, len(self._names))
        return (codes == 2).astype(np.uint8)


def _describe_invalid(name: str, word: str) -> str:
    """Return what is wrong with the value `word` of the attribute `name`."""
    if not word:
        return f"the value of {shorten(name)} is missing"
    message = f"{shorten(name)} is {shorten(word)}, not -1, 0 or 1"
    if re.fullmatch(r"-?\d*[.,]\d+([eE][-+]?\d+)?", word, re.ASCII):
        return message + "; a table of scores must be JSONL or NPY"
    return message


def _number_columns(table: DelimitedList, first_row: list[str], kind: str) -> tuple[int, int]:
    """Return the positions of the images and of the numbers among the columns of a partition or identity list."""
    if not table.header:
        if len(first_row) != 2:
            raise ListError(f"line {table.header_line}: expected a file name and a number")
        return 0, 1
    image = _image_column(table, first_row)
    names = [normalize(name) for name in table.header]
    for name in NUMBER_COLUMNS[kind]:
        if names.count(name) == 1:
            return image, names.index(name)
    others = [
        position for position in range(len(names)) if position != image and not is_unnamed(table.header[position])
    ]
    if len(others) != 1:
        raise ListError(f"line {table.header_line}: none of the columns is called {kind}")
    return image, others[0]
