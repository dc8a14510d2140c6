r"""Rows of lists of images in text or CSV form, with their line numbers: `split_attribute_list`, `split_number_list`.

The delimiter of a CSV list is the one of , ; tab and | that splits its header into the most fields. Without any of
these, blanks separate the fields, and only the first field, the name of an image, may contain blanks. Line ends are \n,
\r\n and \r; other characters that Unicode calls line separators may be part of a name.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from facetools.table.errors import InputError
from facetools.table.headers import IMAGE_COLUMNS, NUMBER_COLUMNS, PARTITION_WORDS, normalize

_DELIMITERS = ",;\t|"

#: A number of rows, perhaps with separators of thousands.
_COUNT = re.compile(r"\d{1,3}([,.'_]\d{3}){1,5}|\d{1,18}", re.ASCII)

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?", re.ASCII)

#: The line, from 1, and the fields of a row.
Row = tuple[int, list[str]]


class ListError(InputError):
    """The text is not a valid list; the message gives the line and the reason."""


@dataclass(frozen=True)
class DelimitedList:
    """The columns and rows of a list.

    `header` holds the names of the columns, '' for one without a name, and is empty if the list has no header;
    `header_line` is its line. `count` is the number of rows that line `count_line` announces, or None. `rows` raises
    ListError for a row that has not one field per column. `is_certain` means that the text is a list beyond doubt: it
    announces its rows or names the column of images.
    """

    header: list[str]
    header_line: int
    rows: Iterator[Row]
    count: int | None = None
    count_line: int = 0
    is_certain: bool = True


def split_attribute_list(text: str) -> DelimitedList:
    """Split a list with a header, which may follow a line with the number of rows.

    If the rows have one field more than the header, as in CelebA's text lists and those of R, the first column has no
    name. Raises ListError if there is no header.
    """
    lines = _numbered_lines(text)
    count, count_line = None, 0
    line, header = _next_line(lines)
    if _COUNT.fullmatch(bare := header.strip(" " + _DELIMITERS)):
        count, count_line = int(re.sub(r"\D", "", bare)), line
        line, header = _next_line(lines)
    if re.fullmatch(r"sep=.", header):  # tells Excel the delimiter
        line, header = _next_line(lines)
    delimiter = _find_delimiter(header)
    if delimiter is None:
        names = header.split()
        is_named = normalize(names[0]) in IMAGE_COLUMNS
        if len(names) == 1 and count is None and not is_named:
            raise ListError(f"line {line}: {shorten(names[0])} is neither a number of rows nor the names of columns")
        if not is_named:
            names.insert(0, "")
        rows = _split_at_blanks(lines, len(names) - 1)
        return DelimitedList(names, line, rows, count, count_line, is_named or count is not None)
    rows = _split_csv(chain([(line, header + "\n")], lines), delimiter)
    names, rows = _align(next(rows)[1], rows)
    is_named = any(normalize(name) in IMAGE_COLUMNS for name in names)
    return DelimitedList(names, line, rows, count, count_line, is_named or count is not None)


def split_number_list(text: str) -> DelimitedList:
    """Split a list with one number per image, with or without a header. Raises ListError if it is empty."""
    lines = _numbered_lines(text)
    line, first = _next_line(lines)
    lines = chain([(line, first + "\n")], lines)
    delimiter = _find_delimiter(first)
    # A name in a list without delimiters may contain one: Doe, J.jpg 0
    if delimiter is None or re.search(r"\S \S+$", first.rpartition(delimiter)[2]):
        rows = _split_at_blanks(lines, 1, "expected a file name and a number")
    else:
        rows = _split_csv(lines, delimiter)
    _, names = next(rows)
    if not _is_header(names):
        return DelimitedList([], line, _check_lengths(chain([(line, names)], rows), len(names)))
    header, rows = _align(names, rows)
    return DelimitedList(header, line, rows)


def _is_header(fields: list[str]) -> bool:
    """Return whether the first row of a list with numbers is a header: it has the name of a column and no number."""
    names = {*IMAGE_COLUMNS, *NUMBER_COLUMNS["partition"], *NUMBER_COLUMNS["identity"]}
    words = [field.strip() for field in fields]
    has_number = any(_NUMBER.fullmatch(word) or word.lower() in PARTITION_WORDS for word in words)
    return not has_number and any(normalize(word) in names for word in words)


def _numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of `text` with their numbers, from 1, and their line ends."""
    # newline="" recognizes all three line ends but does not translate them.
    return enumerate(io.StringIO(text, newline=""), start=1)


def _next_line(lines: Iterator[tuple[int, str]]) -> tuple[int, str]:
    """Return the next line that is not blank, without surrounding blanks and line end."""
    for number, line in lines:
        if line.strip():
            return number, line.strip(" \r\n")
    raise ListError("the list is empty or has no header line")


def _find_delimiter(header: str) -> str | None:
    """Return the delimiter of a CSV list; None if blanks separate its fields and none are quoted."""
    counts = {delimiter: len(_parse_header(header, delimiter)) for delimiter in _DELIMITERS}
    best = max(counts, key=lambda delimiter: counts[delimiter])
    if counts[best] > 1:
        return best
    return " " if '"' in header else None


def _parse_header(header: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return []


def _split_csv(lines: Iterator[tuple[int, str]], delimiter: str) -> Iterator[Row]:
    """Yield the fields of each row that is not empty. Raises ListError for a field that is not closed."""
    line = 0
    #: The number of lines that the reader has taken for the current row.
    taken = 0

    def take_lines() -> Iterator[str]:
        nonlocal line, taken
        for line, content in lines:  # noqa: B007
            taken += 1
            yield content

    problem = "a quoted field has a line end, or its closing quote is missing"
    try:
        for fields in csv.reader(take_lines(), delimiter=delimiter, skipinitialspace=True):
            if taken > 1 and any("\n" in field or "\r" in field for field in fields):
                raise ListError(f"line {line - taken + 1}: {problem}")
            taken = 0
            if fields:
                yield line, fields
    except csv.Error as error:
        reason = problem if taken > 1 else str(error)
        raise ListError(f"line {line - taken + 1}: {reason}") from None


def _split_at_blanks(lines: Iterator[tuple[int, str]], values: int, problem: str | None = None) -> Iterator[Row]:
    """Yield the name and the `values` fields after it of each row that is not blank.

    Raises ListError, with the reason `problem` or the number of values, for any other row.
    """
    for number, line in lines:
        fields = line.rsplit(None, values)
        if len(fields) <= values:
            if not fields:
                continue
            raise ListError(f"line {number}: {problem or f'{len(fields) - 1} values for {values} attributes'}")
        # The name may contain blanks, but a number at its end may be a value too many.
        words = fields[0].split()
        if len(words) > 1 and _NUMBER.fullmatch(words[-1]):
            raise ListError(f"line {number}: {problem or f'{len(line.split()) - 1} values for {values} attributes'}")
        yield number, fields


def _align(header: list[str], rows: Iterator[Row]) -> tuple[list[str], Iterator[Row]]:
    """Return the names of the columns, and rows of that width.

    The first name is '' if the first row has one field more: the name of an image, or a row number before a column of
    images.
    """
    names = _strip_end([name.strip() for name in header])
    first = next(rows, None)
    if first is not None:
        rows = chain([first], rows)
        fields = _strip_end(first[1])
        has_images = any(normalize(name) in IMAGE_COLUMNS for name in names)
        if len(fields) == len(names) + 1 and (not has_images or fields[0].strip().isdecimal()):
            names.insert(0, "")
    return names, _check_lengths(rows, len(names))


def _strip_end(fields: list[str]) -> list[str]:
    """Return `fields` without empty ones at the end."""
    return fields[: max((position + 1 for position, field in enumerate(fields) if field.strip()), default=0)]


def _check_lengths(rows: Iterator[Row], width: int) -> Iterator[Row]:
    """Yield `rows` without empty rows and without empty fields after the first `width`."""
    for line, fields in rows:
        if len(fields) != width or not fields[0]:
            if not any(map(str.strip, fields)):  # a spreadsheet writes empty rows as delimiters
                continue
            if len(fields) < width or any(map(str.strip, fields[width:])):
                raise ListError(f"line {line}: {len(fields)} fields for {width} columns")
            fields = fields[:width]
        yield line, fields


def shorten(text: str) -> str:
    """Return a text of the input for a message: quoted, with control characters escaped, and not too long."""
    return repr(text) if len(text) <= 60 else repr(text[:57] + "...")
