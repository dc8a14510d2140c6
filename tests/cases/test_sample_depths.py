"""Samples of any type are scaled by what they contain, or named (python-pillow/Pillow #3159, #5991, #274)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.cases.faces import differing, draw_face, predict_folder
from tests.conftest import Run
from tests.images.cases import encode
from tests.images.files import deep_png, tiff_file


def test_samples_of_any_type_give_the_scores_of_8_bits(tmp_path: Path, run: Run) -> None:
    gray = np.asarray(draw_face().convert("L"))[:, :, None].astype(np.int64)
    color = np.repeat(gray, 3, axis=2)
    assert gray.max() > 200
    files = {"plain.png": encode(gray[:, :, 0].astype(np.uint8))}
    for channels, pixels in (("gray", gray), ("color", color)):
        for name, samples in {
            "float16-1": (pixels / 255).astype("f2"),
            "float32-1": (pixels / 255).astype("f4"),
            "float64-1": (pixels / 255).astype("f8"),
            "float32-255": pixels.astype("f4"),
            "float64-65535": (pixels * 257.0).astype("f8"),
            "int32-255": pixels.astype("i4"),
            "uint32-full": (pixels * 16843009).astype("u4"),
            "uint16-255": pixels.astype("u2"),
            "uint16-10-bit": (pixels * 1023 // 255).astype("u2"),
            "uint16-12-bit": (pixels * 4095 // 255).astype("u2"),
            "uint16-65535": (pixels * 257).astype("u2"),
            "int16": (pixels * 128).astype("i2"),
        }.items():
            files[f"{channels}-{name}.tif"] = tiff_file(samples)
            files[f"{channels}-{name}-compressed.tif"] = tiff_file(samples, order=">", compression=8, predictor=2)
            if name.startswith("uint16"):
                files[f"{channels}-{name}.png"] = deep_png(samples)
                maximum = {"255": 255, "10-bit": 1023, "12-bit": 4095, "65535": 65535}[name.removeprefix("uint16-")]
                magic = b"P5" if channels == "gray" else b"P6"
                for white in {maximum, 65535} - {255}:
                    header = b"%s %d %d %d\n" % (magic, *samples.shape[1::-1], white)
                    files[f"{channels}-{name}-of-{white}.pnm"] = header + samples.astype(">u2").tobytes()
        files[f"{channels}-float32.pfm"] = (b"Pf" if channels == "gray" else b"PF") + (
            b"\n%d %d\n-1.0\n" % pixels.shape[1::-1] + (pixels[::-1] / 255).astype("<f4").tobytes()
        )
    refused = {
        "14-bit.tif": tiff_file((gray * 64 + 1).astype("u2")),
        "negative.tif": tiff_file((gray * 200 - 30000).astype("i2")),
        "minus-1-to-1.tif": tiff_file((gray / 127.5 - 1).astype("f4")),
        "nan.tif": tiff_file(np.where(gray > 200, np.nan, gray / 255).astype("f4")),
    }
    for name, content in (files | refused).items():
        (tmp_path / name).write_bytes(content)
    scores, messages = predict_folder(run, tmp_path, check=3)
    reasons = dict(line.split(f"{tmp_path}/")[1].split(": ", 1) for line in messages.splitlines()[:-1])
    assert reasons.keys() == refused.keys()
    assert reasons["nan.tif"] == "its samples are not all finite numbers"
    assert "so that their range cannot be decided" in reasons["14-bit.tif"]
    assert scores.keys() == files.keys()
    assert differing(scores, "plain.png") == set()
