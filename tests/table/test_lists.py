"""Attribute, partition and identity lists as people, spreadsheets, pandas and R write them."""

import re
from pathlib import Path

import numpy as np
import pytest

from facetools.table.delimited import ListError
from facetools.table.errors import InputError
from facetools.table.lists import (
    NumberList,
    parse_attribute_list,
    parse_number_list,
    read_attribute_list,
    read_number_list,
)

FILES = ("000001.jpg", "000002.jpg", "000003.jpg")
VALUES = [[0, 1], [1, 1], [0, 0]]
TEXT = "3\nBald Young\n000001.jpg -1  1\n000002.jpg  1  1\n000003.jpg -1 -1\n"
CSV = "image_id,Bald,Young\n000001.jpg,-1,1\n000002.jpg,1,1\n000003.jpg,-1,-1\n"
ROWS = CSV.splitlines()


def csv_with(header: str) -> str:
    """The CSV list with another header."""
    return "\n".join([header, *ROWS[1:]]) + "\n"


def with_column(name: str, *values: str, first: bool = False) -> str:
    """The CSV list with another column, at its end or in front."""
    cells = (name, *values)
    pairs = [(cell, row) if first else (row, cell) for row, cell in zip(ROWS, cells, strict=True)]
    return "".join(f"{left},{right}\n" for left, right in pairs)


VARIANTS = {
    "text": TEXT,
    "CSV": CSV,
    "text, 0 and 1": TEXT.replace("-1", "0"),
    "CSV, 0 and 1": CSV.replace("-1", "0"),
    "floating-point values": CSV.replace("-1", "-1.0").replace(",1", ",1.000e+00"),
    "words": CSV.replace("-1", "False").replace(",1", ",True"),
    "words in capitals": CSV.replace("-1", "FALSE").replace(",1", ",TRUE"),
    "Windows line ends": CSV.replace("\n", "\r\n"),
    "old Mac line ends": CSV.replace("\n", "\r"),
    "text, old Mac line ends": TEXT.replace("\n", "\r"),
    "no line end at the end": CSV.rstrip(),
    "blank lines": "\n" + CSV.replace("\n", "\n\n"),
    "text, blank lines": "\n" + TEXT.replace("\n", "\n \n"),
    "empty rows of a spreadsheet": CSV + ",,\n,,\n",
    "semicolons": CSV.replace(",", ";"),
    "tabs": CSV.replace(",", "\t"),
    "bars": CSV.replace(",", "|"),
    "a hint for Excel": "sep=;\n" + CSV.replace(",", ";"),
    "blanks after commas": CSV.replace(",", ", "),
    "blanks around fields": CSV.replace(",", " , "),
    "quoted names": re.sub(r"([\w.]+)(?=,)|Young", r'"\g<0>"', CSV).replace('"-1"', "-1").replace('"1"', "1"),
    "quoted fields": re.sub(r"[-\w.]+", r'"\g<0>"', CSV),
    "quotes after blanks": re.sub(r"[-\w.]+", r' "\g<0>" ', CSV),
    "the index of pandas": with_column("", "0", "1", "2", first=True),
    "the index of pandas, read again": with_column("Unnamed: 0", "7", "8", "12", first=True),
    "the row names of R": with_column('""', '"1"', '"2"', '"3"', first=True),
    "the row names of R without a name": "\n".join([ROWS[0], *(f'"{n}",{row}' for n, row in enumerate(ROWS[1:]))]),
    "write.table of R": '"image_id" "Bald" "Young"\n' + "\n".join(f'"9" {row}' for row in ROWS[1:]).replace(",", " "),
    "an unnamed column of images": csv_with(",Bald,Young"),
    "no column name for the images": csv_with("Bald,Young"),
    "an unusual name": csv_with("Datei,Bald,Young"),
    "images in the last column": "Bald,Young,image_id\n-1,1,000001.jpg\n1,1,000002.jpg\n-1,-1,000003.jpg\n",
    "an image number beside a path": with_column("image_id", "1", "2", "3").replace("image_id", "path", 1),
    "a partition column": with_column("partition", "0", "1", "2"),
    "an identity column": with_column("Identity", "2880", "2937", "8692"),
    "a column without content": with_column("", "", "", ""),
    "a delimiter at the end of rows": "\n".join([ROWS[0], *(f"{row}," for row in ROWS[1:])]),
    "text, tabs": TEXT.replace("  ", "\t").replace(" ", "\t"),
    "text, blanks at the end of the header": TEXT.replace("Young", "Young "),
    "text without the number of rows": TEXT.partition("\n")[2],
    "text, the number of rows in words of a spreadsheet": TEXT.replace("3\n", "3,,\n", 1),
    "text with the name of the image column": TEXT.replace("Bald", "image_id Bald", 1),
    "a spreadsheet's CSV of the text list": "3,,\nBald,Young,\n" + "\n".join(ROWS[1:]),
}
for name in ("image", "Image", "filename", "File Name", "file_name", "file-name", "FILE", "path", "img_path", "id"):
    VARIANTS[f"the column {name}"] = csv_with(f"{name},Bald,Young")


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_attribute_lists_are_read(text: str) -> None:
    attributes = parse_attribute_list(text)
    assert attributes.files == FILES
    assert attributes.names == ("Bald", "Young")
    assert attributes.values.dtype == np.uint8
    assert attributes.values.tolist() == VALUES
    lines = re.split("\r\n|\r|\n", text)
    assert [FILES[row] in lines[line - 1] for row, line in enumerate(attributes.lines)] == [True] * 3


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [TEXT, CSV], ids=["text", "csv"])
def test_attribute_lists_may_have_any_unicode_encoding(text: str, encoding: str, mark: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes((mark + text.replace("000003", "größe")).encode(encoding))
    assert read_attribute_list(path).files == ("000001.jpg", "000002.jpg", "größe.jpg")


@pytest.mark.parametrize("space", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u3000", " "])
def test_only_line_ends_end_lines(space: str) -> None:
    name = f"a{space}b.jpg"
    assert parse_attribute_list(f"1\nBald Young\n{name} 1 -1\n").files == (name,)
    assert parse_attribute_list(f"image_id,Bald\n{name},1\n").files == (name,)
    assert parse_number_list(f"{name} 1\n", "partition").files == (name,)
    assert parse_number_list(f"image_id,partition\n{name},1\n", "partition").files == (name,)


def test_a_quoted_name_may_contain_delimiters_and_quotes() -> None:
    files = parse_attribute_list('image_id,Bald\n"Doe, J.jpg",1\n"a ""b"".jpg",-1\n').files
    assert files == ("Doe, J.jpg", 'a "b".jpg')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty or has no header line"),
        ("3\n", "the list is empty or has no header line"),
        ("image_id\n", "line 1: no attribute names"),
        ("image_id,partition\n", "line 1: no attribute names"),
        ("three\n1.jpg 1\n", "line 1: 'three' is neither a number of rows nor the names of columns"),
        (TEXT.replace("3\n", "4\n", 1), "line 1 says 4 rows, but 3 follow"),
        (TEXT.replace("3\n", "202,599\n", 1), "line 1 says 202599 rows, but 3 follow"),
        (TEXT.replace("000002.jpg  1  1", "000002.jpg 1"), "line 4: 1 values for 2 attributes"),
        (TEXT.replace("000002.jpg  1  1", "000002.jpg 1 1 1"), "line 4: 3 values for 2 attributes"),
        (TEXT.replace("000002.jpg", "photo 2"), "line 4: 3 values for 2 attributes"),
        (CSV.replace("000003.jpg,-1,-1", "000003.jpg,1,1,1"), "line 4: 4 fields for 3 columns"),
        (CSV.replace("000003.jpg,-1,-1", "000003.jpg,1"), "line 4: 2 fields for 3 columns"),
        (CSV.replace("000001.jpg,-1,1", "000001.jpg,1,1,1"), "line 2: 4 fields for 3 columns"),
        (CSV.replace("000003.jpg,-1,-1", "000003.jpg,-1,"), "line 4: the value of 'Young' is missing"),
        (CSV.replace("000003.jpg", " "), "line 4: the file name is missing"),
        (CSV.replace("000003.jpg", "a\0b"), "line 4: a file name contains NUL"),
        (CSV.replace("000002.jpg", '"000002.jpg'), "line 3: a quoted field has a line end, or its closing quote is"),
        (csv_with('image_id,"Bald,Young'), "line 1: a quoted field has a line end, or its closing quote is missing"),
        (CSV.replace("000002.jpg", "a" * 200_000), "line 3: field larger than field limit"),
        (csv_with("image_id,Bald,Bald"), "line 1: columns 2 and 3 are both called 'Bald'"),
        (csv_with("image_id,Big Lips,big_lips"), "line 1: columns 2 and 3 are both called 'big_lips'"),
        (csv_with("image_id,Bald,image_id"), "line 1: columns 1 and 3 are both called 'image_id'"),
        (csv_with("image_id,Bald,"), "line 2: 3 fields for 2 columns"),
        (csv_with("image_id,,Young"), "line 2: column 2 has no name, but the value '-1'"),
        (",Bald,Young\n0,1,1\n1,1,1\n", "not a valid .*: line 1: no column of images, such as .* among '', 'Bald', 'Y"),
        ("Hello world again\nand so on\n", "not a valid attribute list, and neither JSONL nor NPY: line 2: 2 values"),
        (CSV.replace("000002.jpg,1", "000002.jpg,0"), "line 3 has the value 0, but line 2 has -1, so 0 may mean abs"),
        (CSV.replace("000001.jpg,-1", "000001.jpg,0.5"), "line 2: 'Bald' is '0.5', not -1, 0 or 1; a table of scor"),
    ],
)  # fmt: skip
def test_invalid_lists_are_rejected(text: str, message: str) -> None:
    with pytest.raises(ListError, match=f"^{message}"):
        parse_attribute_list(text)


@pytest.mark.parametrize(
    "value", ["01", "+1", "-0", "2", "999", "yes", "nan", "None", "--1", "1e1", "١", "\x1b[1m", "x" * 100]
)
def test_other_values_are_rejected(value: str) -> None:
    text = repr(value if len(value) <= 60 else value[:57] + "...")
    with pytest.raises(ListError, match=f"^line 3: 'Bald' is {re.escape(text)}, not -1, 0 or 1$"):
        parse_attribute_list(CSV.replace("000002.jpg,1", f"000002.jpg,{value}"))


def test_errors_start_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(b"image_id,Bald\n1.jpg,1\n\xfc.jpg,1\n")
    message = "line 3: the byte 0xfc is not valid UTF-8; convert the text to UTF-8, for example with iconv"
    with pytest.raises(InputError, match=f"^{path}: {message}$"):
        read_attribute_list(path)
    with pytest.raises(InputError, match=f"^{path}: {message}$"):
        read_number_list(path, "partition")


# Partition and identity lists


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("1.jpg 0\n2 b.jpg 2\n", (1, 2)),
        ("1.jpg 0\r\n2 b.jpg 2", (1, 2)),
        ("\ufeff1.jpg 0\n2 b.jpg 2\n", (1, 2)),
        ("1.jpg\t0\n2 b.jpg\t2\n", (1, 2)),
        ("1.jpg, 0\n2 b.jpg, 2\n", (1, 2)),
        ("1.jpg train\n\n2 b.jpg TEST\n", (1, 3)),
        ("image_id partition\n1.jpg 0\n2 b.jpg 2\n", (2, 3)),
        ("image_id,partition\n1.jpg,0.0\n2 b.jpg,2.0\n", (2, 3)),
        ("File Name;Split\n1.jpg;train\n2 b.jpg;testing\n", (2, 3)),
        (",image_id,partition\n0,1.jpg,0\n1,2 b.jpg,2\n", (2, 3)),
        ("image_id,Bald,partition,identity\n1.jpg,-1,0,7\n2 b.jpg,1,2,8\n", (2, 3)),
        ('"image_id","group"\n"1.jpg","0"\n"2 b.jpg","2"\n', (2, 3)),
    ],
)
def test_partition_lists_are_read(text: str, lines: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(text, "utf-8", newline="")
    assert read_number_list(path, "partition") == NumberList(("1.jpg", "2 b.jpg"), (0, 2), lines)


def test_identity_lists_are_read() -> None:
    expected = NumberList(("1.jpg", "2.jpg"), (2880, 1), (2, 3))
    assert parse_number_list("image_id,partition,identity\n1.jpg,0,2880\n2.jpg,0,1\n", "identity") == expected
    assert parse_number_list("1.jpg 2880\n2.jpg 1\n", "identity").numbers == (2880, 1)


def test_names_of_files_are_not_taken_for_a_header() -> None:
    assert parse_number_list("image 0\nname train\n", "partition").files == ("image", "name")
    assert parse_number_list("name train\nimage 0\n", "partition").files == ("name", "image")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the list is empty"),
        ("image_id,partition\n", "the list has no rows"),
        ("1.jpg 0\n3.jpg\n", "line 2: expected a file name and a number"),
        ("1.jpg 0\n3.jpg 1 2\n", "line 2: expected a file name and a number"),
        ("1.jpg,0,0\n", "line 1: expected a file name and a number"),
        ("1.jpg 0\n3.jpg one\n", "line 2: the partition of '3.jpg' is 'one', not 0, 1 or 2"),
        ("1.jpg 0\n3.jpg -1\n", "line 2: the partition of '3.jpg' is '-1', not 0, 1 or 2"),
        ("1.jpg 0\n3.jpg 3\n", "line 2: the partition of '3.jpg' is '3', not 0, 1 or 2"),
        ("image_id,partition\n1.jpg,\n", "line 2: the partition of '1.jpg' is '', not 0, 1 or 2"),
        ("image_id,a,b\n1.jpg,1,1\n", "line 1: none of the columns is called partition"),
    ],
)
def test_invalid_partition_lists_are_rejected(text: str, message: str) -> None:
    with pytest.raises(ListError, match=f"^{message}"):
        parse_number_list(text, "partition")
