"""Mutations of inputs. `mutate` changes any bytes; the others change one format and keep its checksums.

Every function takes a random generator and the bytes of an input and returns changed bytes. The same state of the
generator gives the same result. A structured mutation returns its input if it does not have the format.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[Random, bytes], bytes]

#: Integers at which sizes, counts and offsets overflow or change their sign.
INTEGERS = (
    *(0, 1, 2, 3, 7, 8, 9, 15, 16, 31, 32, 63, 64, 100, 127, 128, 129, 255, 256, 257, 512, 1000, 4095, 4096),
    *(32767, 32768, 65534, 65535, 65536, 2**24 - 1, 2**24, 2**28, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1),
    *(2**40, 2**53, 2**63 - 1, 2**63, 2**64 - 1),
)

#: Values that a cell of a text list or a JSON string may have by mistake.
TEXTS = (
    *("", " ", "0", "-1", "1", "2", "-0", "1.0", "1e400", "nan", "inf", "-inf", "NULL", "None", "true", "\0", "\t"),
    *('"', "'", '""', '"a', ",", ";", "|", "\\", "\u2028", "\x85", "\x1c", "\x0b", "\ufeff", "\ud7ff", "é", "ß" * 300),
    *("a/b.jpg", "./a.jpg", "a.jpg/", "../a.jpg", "image_id", "path", "file", "partition", "identity", "Smiling"),
    *("9" * 25, "-" + "9" * 25, "1" * 5000, "0x10", "1_000", "١", "\x1b[31m", "<script>", "=1+1", "%s", "{}"),
)

#: Values that replace a JSON value, besides the texts.
JSON_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 1e-320, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30),
    *([], {}, [[]], [None], [1, "a"], {"": {}}, {"path": 1}, [1.5, True], {"k": None}),
)


def mutate(rng: Random, data: bytes, other: bytes, structured: Mutation | None) -> bytes:
    """Apply one to four mutations to `data`; some take bytes of `other`, an input of the same kind."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if structured is not None and rng.random() < 0.5:
            data = structured(rng, data)
        elif rng.random() < 0.08:
            data = splice(rng, data, other)
        else:
            data = rng.choice(GENERIC)(rng, data)
    return data


# Mutations of any bytes


def flip_bits(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8)) if data else 0):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def change_bytes(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4)) if data else 0):
        changed[rng.randrange(len(data))] = rng.choice((0, 1, 0x20, 0x2F, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
    return bytes(changed)


def write_integer(rng: Random, data: bytes) -> bytes:
    size = rng.choice((1, 2, 2, 4, 4, 8))
    if len(data) < size:
        return data
    value = (rng.choice(INTEGERS) + rng.choice((0, 0, 0, -1, 1))) % 256**size
    # Headers decide how the rest is read, so half of the integers go there.
    at = rng.randrange(min(len(data) - size, 64) + 1 if rng.random() < 0.5 else len(data) - size + 1)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def insert_bytes(rng: Random, data: bytes) -> bytes:
    at, size = rng.randrange(len(data) + 1), rng.choice((1, 1, 2, 4, 16, 100))
    return data[:at] + rng.choice((rng.randbytes(size), bytes([rng.randrange(256)]) * size)) + data[at:]


def delete_bytes(rng: Random, data: bytes) -> bytes:
    first, last = _range(rng, data)
    return data[:first] + data[last:]


def repeat_bytes(rng: Random, data: bytes) -> bytes:
    first, last = _range(rng, data)
    return data[:last] + data[first:last] * rng.choice((1, 1, 2, 10)) + data[last:]


def move_bytes(rng: Random, data: bytes) -> bytes:
    first, last = _range(rng, data)
    rest = data[:first] + data[last:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + data[first:last] + rest[at:]


def truncate(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def splice(rng: Random, data: bytes, other: bytes) -> bytes:
    """The start of `data` and the end of `other`, or `data` with a piece of `other` inside."""
    if rng.random() < 0.5:
        return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    first, last = _range(rng, other)
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[first:last] + data[at:]


def _range(rng: Random, data: bytes) -> tuple[int, int]:
    """First and last position of a piece, mostly a short one."""
    first = rng.randrange(len(data) + 1)
    return first, min(len(data), first + rng.choice((1, 2, 4, 16, 64, 512, len(data))))


GENERIC: tuple[Mutation, ...] = (
    *(flip_bits, flip_bits, change_bytes, change_bytes, write_integer, write_integer),
    *(insert_bytes, delete_bytes, repeat_bytes, move_bytes, truncate),
)


def generic(rng: Random, data: bytes) -> bytes:
    return rng.choice(GENERIC)(rng, data)


# Images


def png(rng: Random, data: bytes) -> bytes:
    """Change, drop, repeat or move a chunk, or rename its type; all checksums are right."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    chunks: list[tuple[bytes, bytes]] = []
    at = 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return data
    number = rng.randrange(len(chunks))
    kind, content = chunks[number]
    action = rng.randrange(8)
    if action == 0:
        del chunks[number]
    elif action == 1:
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, content))
    elif action == 2:
        chunks.insert(rng.randrange(len(chunks)), chunks.pop(number))
    elif action == 3:
        types = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"pHYs")
        chunks[number] = (rng.choice((*types, b"gAMA", b"cHRM", b"sRGB", b"acTL", b"fcTL", b"fdAT", b"vpAg")), content)
    elif action == 4 and kind == b"IDAT":
        try:
            chunks[number] = (kind, zlib.compress(generic(rng, zlib.decompress(content))))
        except zlib.error:
            return data
    else:
        chunks[number] = (kind, generic(rng, content))
    parts = [data[:8]]
    for kind, content in chunks:
        parts += [struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(kind + content))]
    return b"".join(parts)


def jpeg(rng: Random, data: bytes) -> bytes:
    """Change, drop or repeat a segment before the scan, with the right length."""
    segments: list[bytes] = []
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at : at + 2 + size])
        at += 2 + size
    if not data.startswith(b"\xff\xd8") or not segments:
        return data
    number = rng.randrange(len(segments))
    segment = segments[number]
    action = rng.randrange(6)
    if action == 0:
        segments[number] = b""
    elif action == 1:
        segments[number] = segment * 2
    elif action == 2:
        segments[number] = b"\xff" + bytes([rng.randrange(0xC0, 0xFF)]) + segment[2:]
    else:
        content = generic(rng, segment[4:])[:65000]
        segments[number] = segment[:2] + (len(content) + 2).to_bytes(2, "big") + content
    return data[:2] + b"".join(segments) + data[at:]


def tiff(rng: Random, data: bytes) -> bytes:
    """Change tag, type, count or value of an entry of the first directory."""
    if len(data) < 8 or data[:2] not in (b"II", b"MM"):
        return data
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    if start + 2 > len(data):
        return data
    (count,) = struct.unpack_from(order + "H", data, start)
    entry = start + 2 + 12 * rng.randrange(max(1, min(count, 64)))
    if entry + 12 > len(data):
        return data
    changed = bytearray(data)
    field = rng.randrange(4)
    if field == 0:  # image size, depth, compression, color, strips, samples, predictor, tiles, sample format
        tags = (256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 317, 320, 322, 323, 324, 325, 338, 339)
        struct.pack_into(order + "H", changed, entry, rng.choice((*tags, 347, 530, 34675, rng.randrange(65536))))
    elif field == 1:
        struct.pack_into(order + "H", changed, entry + 2, rng.choice((0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 16, 99)))
    else:
        struct.pack_into(order + "I", changed, entry + 4 * field - 4, rng.choice(INTEGERS) % 2**32)
    return bytes(changed)


# Archives and checkpoints


def zip_headers(rng: Random, data: bytes) -> bytes:
    """Change a field of a local header, of the central directory or of its end; or a member, with the right CRC."""
    if rng.random() < 0.3:
        return zip_members(rng, data)
    headers = [match.start() for match in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06|\x06\x06|\x06\x07)", data)]
    if not headers:
        return data
    at = rng.choice(headers) + 4 + 2 * rng.randrange(21)
    size = rng.choice((2, 2, 4))
    value = rng.choice((*INTEGERS, len(data), 8, 12, 14, 93, 99)) % 256**size
    return (data[:at] + value.to_bytes(size, "little") + data[at + size :])[: max(len(data), 4)]


def zip_members(rng: Random, data: bytes) -> bytes:
    """Change name or content of a member, repeat or drop it, or compress it in another way."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info), info.compress_type) for info in archive.infolist()]
    except Exception:  # what an earlier mutation has damaged cannot be read
        return data
    if not members:
        return data
    # The pickle of a checkpoint decides how all other members are read.
    pickles = [number for number, member in enumerate(members) if member[0].endswith(".pkl")]
    number = rng.choice(pickles) if pickles and rng.random() < 0.7 else rng.randrange(len(members))
    name, content, method = members[number]
    action = rng.randrange(8)
    if action == 0:
        name = rng.choice(("", "/", "a/", "../a.png", "/a.png", "a\\b.png", "C:\\a.png", "a" * 300 + ".png", "\n.png"))
    elif action == 1:
        members.append((name, generic(rng, content), method))
    elif action == 2:
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    else:
        content = generic(rng, content)
    members[number] = (name, content, method)
    if action == 3:
        del members[number]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content, method in members:
            # Without writestr, which warns about names that occur twice.
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.NameToInfo.clear()
            archive.writestr(info, content)
    return stream.getvalue()


def tar(rng: Random, data: bytes) -> bytes:
    """Change a field of a header, with the right checksum; then perhaps compress the archive."""
    blocks = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    if not blocks:
        return data
    at = rng.choice(blocks)
    header = bytearray(data[at : at + 512])
    fields = {
        (0, 100): (b"", b"/", b"../a.png", b"/a.png", b"a/", b"a\\b.png", b"\xff\xfe.png", b"x" * 100),
        (124, 12): (b"", b"0", b"7" * 11, b"-1", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"8", b"1_0", b" 1"),
        (136, 12): (b"", b"7" * 11, b"\xff" * 12, b"x"),
        (156, 1): tuple(bytes([byte]) for byte in b"\x000123456789LKxgSDMNVX"),
        (157, 100): (b"", b"a.png", b"../a.png", b"/etc/passwd", b"faces/0.png", b"x" * 100),
        (257, 8): (b"ustar\x0000", b"ustar  \0", b"\0" * 8, b"ustar\0\xff\xff"),
        (345, 155): (b"", b"..", b"/", b"a/" * 77, b"\xff"),
    }
    (first, size), values = rng.choice(list(fields.items()))
    header[first : first + size] = rng.choice(values)[:size].ljust(size, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    data = data[:at] + bytes(header) + data[at + 512 :]
    compress = rng.choice((None, None, None, gzip_without_time, bz2.compress, lzma.compress))
    return compress(data) if compress else data


def gzip_without_time(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


# Tables, records and lists


def npy_header(rng: Random, data: bytes) -> bytes:
    """Change the text of the first header, with the right length."""
    if len(data) < 10 or data[:6] != b"\x93NUMPY":
        return data
    width = 2 if data[6] == 1 else 4
    end = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    text, content = data[8 + width : end], data[end:]
    tokens = re.findall(rb"'[^']*'|\d+|\w+|\s+|.", text)
    replacements = (
        *(b"'<f4'", b"'<f8'", b"'|u1'", b"'>i4'", b"'|S5'", b"'|S0'", b"'<U3'", b"'|O'", b"'<M8[s]'", b"'|V8'", b"'?'"),
        *(b"'path'", b"'scores'", b"'labels'", b"'cluster'", b"'descr'", b"'shape'", b"''", b"'\xe9'", b"'<f4', (2,)"),
        *(b"True", b"None", b"-1", b"0", b"1", b"3", b"1e9", b"(", b")", b"[", b"]", b",", b"{", b"}", b"(" * 300),
        *(str(number).encode() for number in INTEGERS),
    )
    for _ in range(rng.choice((1, 1, 2, 3))):
        number = rng.randrange(len(tokens) or 1)
        tokens[number : number + 1] = rng.choice(
            ([], tokens[number : number + 1] * 2, [rng.choice(replacements)], tokens[-1:])
        )
    header = b"".join(tokens)[: 256**width - 1]
    return data[:8] + len(header).to_bytes(width, "little") + header + content


def json_value(rng: Random, data: bytes) -> bytes:
    """Replace, drop, repeat or rename a value of one of the JSON lines, or write it in another form."""
    lines = data.split(b"\n")
    candidates = [number for number, line in enumerate(lines) if line.strip()]
    if not candidates:
        return data
    number = rng.choice(candidates)
    try:
        document = json.loads(lines[number])
    except (ValueError, RecursionError):
        return data
    action = rng.randrange(10)
    if action == 0:
        lines[number] = json.dumps(document, indent=rng.choice((1, 2)), ensure_ascii=rng.random() < 0.5).encode()
    elif action == 1:
        lines = [line if line.strip() else b"[]" for line in lines]
        return b"[" + b",\n".join(lines[:-1]) + b"]"
    elif action == 2:
        lines[number] = rng.choice((b"[" * 5000, b'{"a":' * 5000, b'{"a":' * 300 + b"1" + b"}" * 300))
    elif action == 3:
        lines[number] = json.dumps(rng.choice((*JSON_VALUES, *TEXTS))).encode()
    else:
        lines[number] = json.dumps(_change_json(rng, document), ensure_ascii=rng.random() < 0.7).encode(
            "utf-8", "surrogatepass"
        )
    return b"\n".join(lines)


def _change_json(rng: Random, value: Any) -> Any:
    """`value` with a change at a random place of it."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        action = rng.randrange(8)
        if action == 0:
            return {name: item for name, item in value.items() if name != key}
        if action == 1:
            return {(rng.choice(TEXTS) if name == key else name): item for name, item in value.items()}
        if action == 2:
            return value | {rng.choice((*TEXTS, "cluster", "scores", "labels", "k", "epoch")): value[key]}
        return value | {key: _change_json(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        number = rng.randrange(len(value))
        changed = rng.choice(([], [value[number]] * 2, [_change_json(rng, value[number])]))
        return [*value[:number], *changed, *value[number + 1 :]]
    return rng.choice(JSON_VALUES) if rng.random() < 0.7 else rng.choice(TEXTS)


def text_list(rng: Random, data: bytes) -> bytes:
    """Change a cell, a line or a column of a list, or write the list with other delimiters, line ends or encoding."""
    delimiter = b"," if data.count(b",") > data.count(b" ") else b" "
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    action = rng.randrange(9)
    if action < 3:
        cells = lines[number].split(delimiter)
        column = rng.randrange(len(cells))
        cell = rng.choice((rng.choice(TEXTS).encode(), rng.choice(cells), b'"' + cells[column] + b'"'))
        cells[column : column + 1] = rng.choice(([], [cell], [cell], [cell], [cells[column], cell]))
        lines[number] = delimiter.join(cells)
    elif action == 3:
        lines[number : number + 1] = rng.choice(([], [lines[number]] * 2, [b""], [b"#" + lines[number]]))
    elif action == 4:
        lines.insert(rng.randrange(len(lines)), lines.pop(number))
    elif action == 5:
        column = rng.randrange(4)
        rows = [line.split(delimiter) for line in lines]
        lines = [delimiter.join(row[:column] + row[column + 1 :]) for row in rows]
    elif action == 6:
        return data.replace(delimiter, rng.choice((b",", b";", b"\t", b" ", b"  ", b"|", b", ")))
    elif action == 7:
        return data.replace(b"\n", rng.choice((b"\r", b"\r\n", b"\n\n", b"\r\r\n", b"\0", b"\xe2\x80\xa8", b"\x0c")))
    else:
        encodings = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp500", "latin-1")
        return data.decode("utf-8", "replace").encode(rng.choice(encodings), "replace")
    return b"\n".join(lines)
