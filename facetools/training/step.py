"""A step of training: forward, backward, optimizer and moving average; on a GPU recorded once and replayed."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from facetools.network.cuda import GraphedFunction, upload
from facetools.network.model import AttributeNet
from facetools.runtime.hardware import supports_bfloat16
from facetools.training import averaging, optimizers
from facetools.training.losses import LOSSES
from facetools.training.recipes import Recipe


class TrainingStep:
    """What a network learns by: its optimizer, and the moving average of it, if the recipe asks for one.

    `judged` is the network that is validated and kept, and teaches: the average, or else the network itself. `rate` is
    the learning rate of the last step.
    """

    def __init__(self, model: AttributeNet, recipe: Recipe, device: torch.device) -> None:
        self._model, self._loss, self._device = model, LOSSES[recipe.loss], device
        self.average = averaging.MovingAverage(model, recipe.averaging) if recipe.averaging else None
        self.judged = model if self.average is None else cast(AttributeNet, self.average.module)
        self.rate = recipe.rate
        # On a CPU the backward pass of depthwise convolutions loses more by bfloat16 than all else gains.
        has_it = device.type == "cuda" and supports_bfloat16(device)
        self.bfloat16 = recipe.amp == "bf16" or (recipe.amp == "auto" and has_it)
        self._optimizer = optimizers.build_optimizer(model, recipe)
        self._replayed: tuple[Any, GraphedFunction] | None = None

    def state(self) -> dict[str, Any]:
        """What it takes to continue, besides the network."""
        state = {"optimizer": self._optimizer.state_dict()}
        return state if self.average is None else state | {"average": self.average.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a `state`, whatever device it was made on."""
        optimizer, groups = state["optimizer"], self._optimizer.param_groups
        self.rate = float(optimizer["param_groups"][0]["lr"])
        # The settings are those of this device, and decide where the state is to be.
        own = [
            kept | {name: value for name, value in group.items() if name != "params"}
            for kept, group in zip(optimizer["param_groups"], groups, strict=True)
        ]
        self._optimizer.load_state_dict(optimizer | {"param_groups": own})
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def take(
        self,
        network: Module,
        pixels: Tensor,
        truth: Tensor,
        rate: float,
        own_part: float = 0.0,
        part_of_mean: float = 1.0,
    ) -> Tensor:
        """Takes a step at a learning rate and gives the loss of `pixels`, float (n, 3, height, width), by `truth`,
        float (n, attributes), of which the scores of `judged` are `own_part`.

        `network` is the model, or what averages its gradients over processes, each of which has `part_of_mean` of the
        loss.
        """
        self.rate = rate
        share = 0.0 if self.average is None else self.average.next_share()
        if self._device.type == "cpu" or network is not self._model:
            return self._taken(network, pixels, truth, rate, own_part or None, share, part_of_mean)
        # All on which a recording depends but the shapes.
        kind = (own_part > 0, *(parameter.requires_grad for parameter in network.parameters()))
        if self._replayed is None or self._replayed[0] != kind:
            self._replayed = kind, GraphedFunction(partial(self._taken_by, own_part > 0), self._device)
        return self._replayed[1](pixels, truth, upload(np.array((rate, own_part, share), np.float32), self._device))

    def _taken_by(self, taught: bool, pixels: Tensor, truth: Tensor, numbers: Tensor) -> Tensor:
        """_taken by numbers that are a tensor (3,)."""
        rate, own_part, share = numbers.unbind()
        return self._taken(self._model, pixels, truth, rate, own_part if taught else None, share)

    def _taken(
        self,
        network: Module,
        pixels: Tensor,
        truth: Tensor,
        rate: float | Tensor,
        own_part: float | Tensor | None,
        share: float | Tensor,
        part_of_mean: float = 1.0,
    ) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.bfloat16):
            if own_part is not None:
                truth = self._taught(pixels, truth, own_part)
            logits = network(pixels)
        loss = self._loss(logits.float(), truth) if part_of_mean else logits.sum() * 0
        self._optimizer.zero_grad(set_to_none=True)
        (loss * part_of_mean).backward()
        self._optimizer.step()
        if self.average is not None:
            self.average.follow(self._model, share)
        return loss.detach()

    @torch.no_grad()
    def _taught(self, pixels: Tensor, truth: Tensor, part: float | Tensor) -> Tensor:
        """`truth` (n, a), of which the scores of the judged network are a part."""
        return truth.lerp(torch.sigmoid(self.judged.eval()(pixels).float()), part)
