"""The progress of a training run, and the sum of its training losses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

#: Steps on a GPU between checks of the loss. Each check waits until the GPU has finished.
GPU_CHECK_INTERVAL = 32


class TrainingInterrupted(Exception):
    """Training has stopped on request, after a checkpoint."""


class DivergedError(ArithmeticError):
    """The training loss is NaN or infinite."""


@dataclass
class TrainingProgress:
    """How far a run has come. Checkpoints store these fields."""

    epoch: int = 0  # complete epochs
    step: int = 0  # complete steps of the current epoch
    loss_sum: float = 0.0  # sum of the losses of the images seen in the current epoch
    images: int = 0  # number of these images
    best: float = -math.inf  # best validation accuracy so far
    history: list[dict[str, Any]] = field(default_factory=list)  # one record per complete epoch

    def __post_init__(self) -> None:
        """Raise ValueError if a value is of the wrong type or out of range, as in a damaged checkpoint."""
        for name in ("epoch", "step", "images"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, not a number from 0")
        for name in ("loss_sum", "best"):
            if not isinstance(getattr(self, name), float | int) or math.isnan(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, not a number")
        if not isinstance(self.history, list) or not all(isinstance(record, dict) for record in self.history):
            raise ValueError("history is not a list of records")


class LossSum:
    """Sums the losses of steps and checks that they are finite: at every step on a CPU, every GPU_CHECK_INTERVAL steps
    on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._interval = 1 if device.type == "cpu" else GPU_CHECK_INTERVAL
        self._pending: list[Tensor] = []
        self._first_step = 0

    def add(self, loss: Tensor, step: int) -> float:
        """Add the `loss` () of `step`; returns the sum of the pending losses if they are due, else 0."""
        if not self._pending:
            self._first_step = step
        self._pending.append(loss)
        return self.flush() if len(self._pending) >= self._interval else 0.0

    def flush(self) -> float:
        """The sum of the pending losses, which are then no longer pending. Raises DivergedError, which names the first
        step whose loss is not finite."""
        if not self._pending:
            return 0.0
        values = torch.stack(self._pending).double().tolist()
        self._pending.clear()
        for step, value in enumerate(values, self._first_step + 1):
            if not math.isfinite(value):
                raise DivergedError(f"the loss at step {step} is {value}; try a lower --learning-rate or --amp off")
        return math.fsum(values)
