"""Compressed input, text encodings, and descriptions of input that is no face table."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facetools.table.columns import TableError
from facetools.table.content import open_content, read_text
from facetools.table.errors import InputError
from tests.table.cases import assert_same, decode, decode_blocks, encode, random_table, to_jsonl

TABLE = random_table(300)
ROWS = to_jsonl({"path": "größe.jpg", "cluster": 1}, {"path": "b.jpg", "cluster": 0})
LIST = "image_id,Bald\r\ngröße.jpg,1\r\nb.jpg,-1\r\n"

Compress = Callable[[bytes], bytes]


@pytest.mark.parametrize("encoding", ["jsonl", "npy"])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_tables_are_read(compress: Compress, encoding: str) -> None:
    data = encode([TABLE], "jsonl" if encoding == "jsonl" else "npy")
    assert_same(decode(compress(data)), TABLE)
    half = data.index(b"\n") + 1 if encoding == "jsonl" else len(data) // 2
    assert_same(decode(compress(data[:half]) + compress(data[half:])), TABLE)
    assert_same(decode(gzip.compress(compress(data))), TABLE)


@pytest.mark.parametrize(
    ("compress", "name"), [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz")]
)
def test_damaged_compressed_data_is_rejected(compress: Compress, name: str) -> None:
    data = compress(encode([TABLE], "jsonl"))
    with pytest.raises(TableError, match=f"^faces: the {name} data is truncated$"):
        decode_blocks(data[:-20])
    with pytest.raises(TableError, match=f"^faces: the {name} data is damaged$"):
        decode_blocks(data[:40] + bytes(40) + data[80:])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x28\xb5\x2f\xfd", "it is compressed by zstd; decompress it first: zstdcat FILE | ..."),
        (b"\x04\x22\x4d\x18", "it is compressed by lz4; decompress it first: lz4cat FILE | ..."),
    ],
)
def test_other_compressed_formats_are_named(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$".replace("|", r"\|")):
        open_content(io.BufferedReader(io.BytesIO(data + bytes(20))))


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [ROWS.decode(), LIST], ids=["jsonl", "list"])
def test_tables_may_have_any_unicode_encoding(text: str, encoding: str, mark: str) -> None:
    data = (mark + text).encode(encoding)
    table = decode(data)
    assert [table.path(row) for row in range(2)] == ["größe.jpg", "b.jpg"]
    assert_same(decode(gzip.compress(data)), table)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_the_line_of_an_invalid_character_is_named(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes((LIST * 6000).encode(encoding) + b"\xff")
    with pytest.raises(
        InputError, match=f"^line 18001: the byte 0xff is not valid {encoding.upper()}; convert the text"
    ):
        read_text(path)
    path.write_bytes(b"a\r\nb\rc\n\xe4\n")
    with pytest.raises(InputError, match=r"^line 4: the byte 0xe4 is not valid UTF-8; convert the text to UTF-8"):
        read_text(path)


def archive(kind: str) -> bytes:
    """An archive with one file, or with one array."""
    stream = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=stream, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.jpg"))
    elif kind == "npz":
        np.savez(stream, scores=np.zeros(3))
    else:
        with zipfile.ZipFile(stream, "w") as packed:
            packed.writestr({"zip": "faces/a.jpg", "pt": "best/data.pkl", "xlsx": "[Content_Types].xml"}[kind], b"")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "description"),
    [
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "an image; fa-predict makes a table"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image"),
        (archive("zip"), "an archive; fa-predict makes a table of the images in one"),
        (archive("tar"), "an archive"),
        (gzip.compress(archive("tar")), "an archive"),
        (archive("npz"), "an .npz archive; save each array with numpy.save"),
        (archive("pt"), "a PyTorch file"),
        (archive("xlsx"), "an Office document; export the list as CSV"),
        (pickle.dumps({"scores": [0.5]}), "a Python pickle, which could run code; save arrays with numpy.save"),
        (pickle.dumps([0.5], protocol=2), "a Python pickle"),
        (b"PAR1\x15\x04\x15", "a Parquet file; a face table is JSONL or NPY"),
        (b"\x89HDF\r\n\x1a\n", "a data file of another program"),
        (b"<!DOCTYPE html>\n<html>", "an HTML or XML document; a download may have failed"),
        (b"\0" * 1000, "binary data of an unknown format"),
        (b"\x7fELF\x02\x01\x01\0", "binary data"),
        (bytes(range(256)), "binary data"),
    ],
)
def test_other_input_is_described(data: bytes, description: str) -> None:
    with pytest.raises(TableError, match=f"^faces: not a face table, but {description}"):
        decode_blocks(data)


def test_an_image_with_null_bytes_behind_the_first_line_of_text_is_no_reason_to_print_it() -> None:
    with pytest.raises(TableError) as caught:
        decode_blocks(b"a b c\n" + bytes(range(256)))
    assert str(caught.value).isprintable()
