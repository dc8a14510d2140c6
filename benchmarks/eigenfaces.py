"""Time and memory of fa-eigenface on 2 000, 8 000 and 32 000 faces: python benchmarks/eigenfaces.py > eigenfaces.jsonl

The faces are 200 drawn ones (seed 0), repeated, at 80 x 64 pixels in 16 random clusters. The first output line
describes the machine; each other line is one run of the command as a process, with its seconds and peak memory.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine

from facetools.images import sources
from facetools.synthetic import write_celeba
from facetools.table import columns, streams

FACES = (2_000, 8_000, 32_000)
CLUSTERS = 16


def measure(*arguments: object) -> tuple[float, float]:
    """Seconds of fa-eigenface, and its peak memory in MB, from its last line on stderr."""
    started = time.perf_counter()
    line = [sys.executable, "-m", "facetools.commands.eigenface", *map(str, arguments)]
    stderr = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True).stderr
    match = re.search(r"peak memory (\d+) MB$", stderr.strip())
    assert match is not None, stderr
    return round(time.perf_counter() - started, 2), int(match[1])


def main(folder: Path) -> None:
    print(json.dumps(machine()), flush=True)
    write_celeba(folder, 200, seed=0)
    paths = list(sources.find_images([str(folder / "img_align_celeba.zip")]))
    for faces in FACES:
        clusters = np.random.default_rng(0).integers(0, CLUSTERS, faces).astype(np.int32)
        with streams.open_writer(str(folder / "table.npy"), "npy") as writer:
            writer.write(columns.Table(columns.encode_paths((paths * (faces // 200))[:faces]), cluster=clusters))
        seconds, memory = measure(folder / "table.npy", "-o", folder / "eigenfaces", "--size", "80x64")
        print(json.dumps({"faces": faces, "clusters": CLUSTERS, "seconds": seconds, "peak_mb": memory}), flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
