"""One training step: forward, backward, optimizer and moving average. On a GPU a CUDA graph replays it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from facetools.network.cuda import GraphedFunction, upload
from facetools.network.model import AttributeNet
from facetools.runtime.hardware import supports_bfloat16
from facetools.training.averaging import MovingAverage
from facetools.training.losses import LOSSES
from facetools.training.optimizers import build_optimizer
from facetools.training.recipes import Recipe


class TrainingStep:
    """The training steps of a model by a recipe.

    `average` is the moving average of the model, or None if the recipe has none. `eval_model` is the network that is
    validated, saved as the best and used as teacher: the module of the average, or else the model itself.
    `learning_rate` is that of the last step, `bfloat16` whether forward passes compute in bfloat16.

    Weights, optimizer and average change while `lock` is held. On a CPU the rest of the step, which may take many
    seconds, is computed without it, so that another thread can save the state before the step. Only the buffers of the
    model change earlier.
    """

    def __init__(
        self, model: AttributeNet, recipe: Recipe, device: torch.device, lock: AbstractContextManager[Any]
    ) -> None:
        self._model, self._loss, self._device, self._lock = model, LOSSES[recipe.loss], device, lock
        self.average = MovingAverage(model, recipe.averaging) if recipe.averaging else None
        self.eval_model = model if self.average is None else cast(AttributeNet, self.average.module)
        self.learning_rate = recipe.peak_learning_rate
        # On a CPU the backward pass of depthwise convolutions in bfloat16 costs more than the rest gains.
        is_faster = device.type == "cuda" and supports_bfloat16(device)
        self.bfloat16 = recipe.amp == "bf16" or (recipe.amp == "auto" and is_faster)
        self._optimizer = build_optimizer(model, recipe)
        self._graphed: tuple[Any, GraphedFunction] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The state of the optimizer and of the average, for a checkpoint."""
        state = {"optimizer": self._optimizer.state_dict()}
        return state if self.average is None else state | {"average": self.average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`, which may come from another kind of device."""
        optimizer, groups = state["optimizer"], self._optimizer.param_groups
        self.learning_rate = float(optimizer["param_groups"][0]["lr"])
        # Keep this device's options, such as `capturable`: they decide on which device the state has to be.
        param_groups = [
            saved | {name: value for name, value in group.items() if name != "params"}
            for saved, group in zip(optimizer["param_groups"], groups, strict=True)
        ]
        self._optimizer.load_state_dict(optimizer | {"param_groups": param_groups})
        for parameter, values in self._optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                    raise ValueError(f"{name} of the optimizer has another shape than its weights")
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @contextmanager
    def run(
        self,
        network: Module,
        pixels: Tensor,
        targets: Tensor,
        learning_rate: float,
        teacher_weight: float = 0.0,
        loss_scale: float = 1.0,
    ) -> Iterator[Tensor]:
        """Take one step and yield its loss, (), while the lock is held.

        `pixels` float (n, 3, height, width), 0 to 255; `targets` float (n, attributes). `teacher_weight` is the weight
        of the scores of `eval_model` in the targets. `network` is the model, or DistributedDataParallel around it,
        which averages the gradients of `loss_scale` * loss over the processes.
        """
        if self._device.type == "cpu" or network is not self._model:
            loss = self._compute_gradients(network, pixels, targets, teacher_weight or None, loss_scale)
            with self._lock:
                self.learning_rate = learning_rate
                self._update(learning_rate, self._next_average_weight())
                yield loss
            return
        with self._lock:
            self.learning_rate = learning_rate
            # A graph is valid for these, and for the shapes of its inputs, which GraphedFunction tells apart.
            key = (teacher_weight > 0, *(parameter.requires_grad for parameter in network.parameters()))
            if self._graphed is None or self._graphed[0] != key:
                self._graphed = key, GraphedFunction(partial(self._compute_graphed, teacher_weight > 0), self._device)
            numbers = np.array((learning_rate, teacher_weight, self._next_average_weight()), np.float32)
            yield self._graphed[1](pixels, targets, upload(numbers, self._device))

    def _next_average_weight(self) -> float:
        return 0.0 if self.average is None else self.average.next_weight()

    def _compute_graphed(self, has_teacher: bool, pixels: Tensor, targets: Tensor, scalars: Tensor) -> Tensor:
        """A step with its numbers in a tensor (3,), because a graph repeats Python numbers unchanged."""
        learning_rate, teacher_weight, average_weight = scalars.unbind()
        loss = self._compute_gradients(self._model, pixels, targets, teacher_weight if has_teacher else None)
        self._update(learning_rate, average_weight)
        return loss

    def _compute_gradients(
        self,
        network: Module,
        pixels: Tensor,
        targets: Tensor,
        teacher_weight: float | Tensor | None,
        loss_scale: float = 1.0,
    ) -> Tensor:
        """Compute the gradients and return the loss, ()."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.bfloat16):
            if teacher_weight is not None:
                targets = self._blend_with_teacher(pixels, targets, teacher_weight)
            logits = network(pixels)  # (n, attributes)
        # A process without images has scale 0. It still runs backward, for which the other processes wait.
        loss = self._loss(logits.float(), targets) if loss_scale else logits.sum() * 0
        self._optimizer.zero_grad(set_to_none=True)
        (loss * loss_scale).backward()
        return loss.detach()

    def _update(self, learning_rate: float | Tensor, average_weight: float | Tensor) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        if self.average is not None:
            self.average.update(self._model, average_weight)

    @torch.no_grad()
    def _blend_with_teacher(self, pixels: Tensor, targets: Tensor, weight: float | Tensor) -> Tensor:
        """(1 - weight) * targets + weight * scores of `eval_model`, (n, attributes)."""
        return targets.lerp(torch.sigmoid(self.eval_model.eval()(pixels).float()), weight)
