"""`Best` keeps the best rows of a table that is read block by block. Ties keep table order, and the result is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facetools.table.columns import Table, concatenate_tables
from facetools.table.scanning import Block


@dataclass(frozen=True)
class _Rows:
    table: Table
    keys: np.ndarray
    positions: np.ndarray
    figures: dict[str, np.ndarray]

    def take(self, rows: np.ndarray) -> _Rows:
        figures = {name: values[rows] for name, values in self.figures.items()}
        return _Rows(self.table.take(rows), self.keys[rows], self.positions[rows], figures)


class Best:
    """The `count` rows of largest key, or, with `group`, the best row of the `count` best groups.

    group: the key of a JSONL row whose value names its group. A row without it is its own group.
    """

    def __init__(self, count: int, group: str | None = None) -> None:
        self._count, self._group = count, group
        self._best: _Rows | None = None

    def add(self, block: Block, start: int, keys: np.ndarray, figures: dict[str, np.ndarray]) -> None:
        """Add the rows of a block, the first of which is row `start` of the table. Rows with the key -inf never match.

        keys: float64 (n,). figures: numbers to report per row, (n,) each.
        """
        is_candidate = keys > -np.inf
        if self._best is not None and len(self._best.keys) == self._count:
            is_candidate &= keys > self._best.keys[-1]  # on ties, earlier rows stay
        rows = np.flatnonzero(is_candidate)
        if self._group is None and len(rows) > self._count:
            rows = np.sort(rows[np.argsort(-keys[rows], kind="stable")[: self._count]])
        if not len(rows):
            return
        new = _Rows(block.take(rows), keys[rows], start + rows, {name: value[rows] for name, value in figures.items()})
        if self._best is not None:
            new = _concatenate(self._best, new)
        order = np.lexsort((new.positions, -new.keys))
        if self._group is not None:
            order = self._first_of_groups(new, order)
        self._best = new.take(order[: self._count])

    def _first_of_groups(self, rows: _Rows, order: np.ndarray) -> np.ndarray:
        extras, groups, first = rows.table.extras or [], set(), []
        for row in order.tolist():
            group = extras[row].get(self._group) if extras else None
            if isinstance(group, str):
                if group in groups:
                    continue
                groups.add(group)
            first.append(row)
        return np.array(first, np.int64)

    def result(self) -> tuple[Table, dict[str, np.ndarray]] | None:
        """Return the best rows, best first, and their figures; None if there are none."""
        return None if self._best is None else (self._best.table, self._best.figures)


def _concatenate(first: _Rows, second: _Rows) -> _Rows:
    figures: dict[str, Any] = {
        name: np.concatenate([values, second.figures[name]]) for name, values in first.figures.items()
    }
    return _Rows(
        concatenate_tables([first.table, second.table]),
        np.concatenate([first.keys, second.keys]),
        np.concatenate([first.positions, second.positions]),
        figures,
    )
