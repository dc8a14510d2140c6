"""Time and memory of fa-cluster and fa-eigenface at three sizes each: python benchmarks/growth.py > growth.jsonl

Rows are the attributes of drawn faces (seed 0), packed as codes; faces are 200 drawn ones, repeated. Each line is one
run of a command as a process: its rows, distinct codes, seconds in all, and peak memory. The first line is the machine.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np

from facetools import codes, images, table
from facetools.synthetic import sample_attributes, write_celeba

ROWS = (100_000, 1_000_000, 10_000_000)
FACES = (2_000, 8_000, 32_000)
CLUSTERS = 16


def measured(name: str, *arguments: object) -> tuple[float, float]:
    """Seconds of a command, and its peak memory in MB, which its last line tells."""
    started = time.perf_counter()
    line = [sys.executable, "-m", f"facetools.commands.{name}", *map(str, arguments)]
    told = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True).stderr
    found = re.search(r"peak memory (\d+) MB$", told.strip())
    assert found is not None, told
    return round(time.perf_counter() - started, 2), int(found[1])


def show(**record: object) -> None:
    print(json.dumps(record), flush=True)


def cluster(folder: Path) -> None:
    step = 500_000
    parts = [codes.pack(sample_attributes(step, np.random.default_rng([0, at]))) for at in range(0, max(ROWS), step)]
    packed = np.concatenate(parts)
    for rows in ROWS:
        np.save(folder / "codes.npy", packed[:rows])
        for method in (("-k", 64, "--redo", 1), ("--method", "dbscan", "--eps", 1)):
            summary = folder / "summary.json"
            seconds, memory = measured(
                "cluster", folder / "codes.npy", *method, "--summary", summary, "-o", folder / "out.npy"
            )
            figures = json.loads(summary.read_text())
            assert figures["faces"] == rows
            kept = {key: figures[key] for key in ("method", "distinct_codes", "silhouette", "seconds")}
            show(command="fa-cluster", rows=rows, total_seconds=seconds, peak_mb=memory, **kept)


def eigenface(folder: Path) -> None:
    write_celeba(folder, 200, seed=0)
    paths = list(images.listed([str(folder / "img_align_celeba.zip")]))
    for faces in FACES:
        clusters = np.random.default_rng(0).integers(0, CLUSTERS, faces).astype(np.int32)
        with table.writing(str(folder / "table.npy"), "npy") as writer:
            writer.write(table.Table(table.encode_paths((paths * (faces // 200))[:faces]), cluster=clusters))
        seconds, memory = measured("eigenface", folder / "table.npy", "-o", folder / "eigenfaces", "--size", "80x64")
        show(command="fa-eigenface", faces=faces, clusters=CLUSTERS, total_seconds=seconds, peak_mb=memory)


if __name__ == "__main__":
    packages = {name: version(name) for name in ("facetools", "numpy", "torch")}
    show(machine=platform.platform(), cpus=os.cpu_count(), simd=codes.simd(), **packages)
    with tempfile.TemporaryDirectory() as scratch:
        eigenface(Path(scratch))
        cluster(Path(scratch))
