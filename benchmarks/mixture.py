"""Attribute codes like those of real faces, in any number: a mixture of independent attributes.

    python benchmarks/mixture.py list_attr_celeba.txt    fits the mixture to real faces, writes mixture.json
    python benchmarks/mixture.py                         prints the share of distinct codes among drawn faces

A face belongs to one of COMPONENTS components and has each attribute with the frequency of its component (latent class
analysis, fitted by expectation maximization). The model holds no single face. The number of components is chosen so
that drawn codes repeat as often as real ones: 20 000 real faces have about 76 % distinct codes of the paper's 37
attributes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from facetools.clustering import codes
from facetools.table import streams
from facetools.table.attributes import select_attributes

MODEL = Path(__file__).parent / "mixture.json"
COMPONENTS = 100
#: Faces with the overall frequencies that are added to each component, so that no frequency is 0 or 1.
PRIOR = 0.5
STEP = 500_000


def fit(
    rows: np.ndarray, components: int, rng: np.random.Generator, rounds: int = 300
) -> tuple[np.ndarray, np.ndarray]:
    """Shares (components,) and frequencies (components, attributes) of the mixture fitted to `rows`, uint8 (n, a)."""
    present = rows.astype(np.float64)
    overall = present.mean(axis=0)
    frequency = 0.5 * overall + 0.5 * present[rng.choice(len(rows), components, replace=False)]
    share = np.full(components, 1 / components)
    for _ in range(rounds):
        likelihood = np.log(share) + present @ np.log(frequency).T + (1 - present) @ np.log1p(-frequency).T
        member = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
        member /= member.sum(axis=1, keepdims=True)
        size = member.sum(axis=0)
        share = size / len(rows)
        frequency = (member.T @ present + PRIOR * overall) / (size[:, None] + PRIOR)
    return share, frequency


def draw(count: int, attributes: str = "paper37") -> np.ndarray:
    """Packed codes, uint64 (count, 1): the first `count` faces of a fixed infinite sequence."""
    model = json.loads(MODEL.read_text())
    chosen = [model["attributes"].index(name) for name in select_attributes(attributes, tuple(model["attributes"]))]
    share, frequency = np.array(model["share"]), np.array(model["frequency"], np.float32)[:, chosen]
    parts = []
    for step in range(0, count, STEP):
        rng = np.random.default_rng([0, step])
        kind = rng.choice(len(share), STEP, p=share / share.sum())
        parts.append(codes.pack(rng.random((STEP, len(chosen)), np.float32) < frequency[kind]))
    return np.concatenate(parts)[:count] if parts else np.zeros((0, 1), np.uint64)


def distinct_share(packed: np.ndarray) -> float:
    return len(codes.distinct(packed).counts) / len(packed)


def main(sources: list[str]) -> None:
    for source in sources:
        labels = streams.read_table(source)[0].labels
        assert labels is not None, f"{source}: no labels"
        names, rows = labels.names, labels.values
        share, frequency = fit(rows, COMPONENTS, np.random.default_rng(0))
        model = {
            "attributes": names,
            "faces": len(rows),
            "share": np.round(share, 5).tolist(),
            "frequency": np.clip(np.round(frequency, 4), 0.0001, 0.9999).tolist(),
        }
        MODEL.write_text(json.dumps(model) + "\n")
        paper = np.ascontiguousarray(rows[:, [names.index(name) for name in select_attributes("paper37", names)]])
        print(f"real: {distinct_share(codes.pack(paper)):.1%} of {len(paper):,} are distinct")
    for count in (18_000, 20_000, 200_000, 1_000_000, 10_000_000):
        print(f"drawn: {distinct_share(draw(count)):.1%} of {count:,} are distinct")


if __name__ == "__main__":
    main(sys.argv[1:])
