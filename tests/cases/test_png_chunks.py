"""PNGs with long or odd chunks that are not pixels are scored (python-pillow/Pillow #8363, #2445, #5610)."""

from __future__ import annotations

import zlib
from pathlib import Path

from tests.cases.faces import differing, draw_face, predict_folder
from tests.conftest import Run
from tests.images.cases import encode
from tests.images.files import png_chunk


def test_chunks_that_are_not_pixels_cost_no_png(tmp_path: Path, run: Run) -> None:
    plain = encode(draw_face())
    long = zlib.compress(b"x" * 3_000_000)
    ancillary = {
        "zTXt": png_chunk(b"zTXt", b"parameters\0\0" + long),
        "iTXt": png_chunk(b"iTXt", b"prompt\0\1\0\0\0" + long),
        "many": png_chunk(b"zTXt", b"k\0\0" + zlib.compress(b"y" * 1_000_000)) * 80,
        "iCCP-long": png_chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(range(256)) * 8000)),
        "iCCP-rubbish": png_chunk(b"iCCP", b"icc\0\0rubbish"),
        "checksum": png_chunk(b"tEXt", b"a\0b", checksum=1),
        "length": png_chunk(b"tEXt", b"a\0b").replace(b"\0\0\0\3", b"\0\0\0\5"),
        "eXIf": png_chunk(b"eXIf", b"nothing of the kind"),
        **{kind: png_chunk(kind.encode(), b"\0") for kind in ("pHYs", "tRNS", "gAMA", "cHRM", "sRGB", "tIME", "acTL")},
    }
    files = {"plain": plain, "no-IEND": plain[:-12], "IEND": plain[:-4] + bytes(4), "junk": plain + bytes(1000)}
    for name, chunks in ancillary.items():
        files[name] = plain[:33] + chunks + plain[33:]
        files[f"{name}-after"] = plain[:-12] + chunks + plain[-12:]
    files["header"] = plain[:29] + bytes(4) + plain[33:]
    for name, content in files.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    scores, messages = predict_folder(run, tmp_path, check=3)
    reason = "the PNG is damaged: the checksum of its header or palette is wrong"
    assert messages.splitlines() == [
        f"fa-predict: left out {tmp_path}/header.png: {reason}",
        "fa-predict: 1 input was left out",
    ]
    assert scores.keys() == {f"{name}.png" for name in files} - {"header.png"}
    assert differing(scores, "plain.png") == set()
