"""Recipes: named sets of training defaults. Needs no torch, so that commands can show them at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from facetools.images.augmentation import Augmentation

Loss = Literal["cosine", "bce", "focal", "mse", "mae"]


Optimizer = Literal["adadelta", "adamw", "muon", "sgd"]


Schedule = Literal["constant", "cosine", "onecycle"]


Amp = Literal["auto", "off", "bf16"]


@dataclass(frozen=True)
class Recipe:
    """All settings that decide the result of training, except data and seed. The defaults are the paper's.

    Checkpoints and config.json store these fields. Raises ValueError if a value is out of range.
    """

    #: Name of a convolutional network of torchvision.
    backbone: str = "mobilenet_v2"
    #: Neurons of the dense layer.
    head: int = 1536
    #: Probability with which dropout zeroes an activation of the dense layer.
    dropout: float = 0.3
    #: Initial weights of the backbone: `imagenet`, `none` (random) or a file.
    weights: str = "imagenet"
    #: (height, width) in pixels.
    image_size: tuple[int, int] = (224, 224)
    #: Images per step.
    batch: int = 64
    epochs: int = 10
    #: Epochs at the start in which the backbone is frozen.
    freeze_epochs: int = 0
    #: Stride of the backbone's first convolution, 1 or 2. None chooses 1 for images with a side under SMALL_SIDE, for
    #: which 2 would leave too few positions, else 2.
    first_stride: int | None = 2
    loss: Loss = "cosine"
    optimizer: Optimizer = "adadelta"
    #: Peak learning rate. None takes that of the optimizer in LEARNING_RATES.
    learning_rate: float | None = None
    #: Not applied to biases and batch norm parameters.
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    #: Learning rate at the end of a schedule, as a share of the peak. With a moving average it need not fall to 0, and
    #: a network that still takes long steps overfits less.
    final_rate: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    #: Parameter alpha of mixup (Zhang et al. 2018), which blends pairs of images and their labels with a weight from
    #: Beta(alpha, alpha); 0 turns it off.
    mixup: float = 0.0
    #: Decay per step of the moving average of the network. The average is then validated and saved, with batch norm
    #: statistics recomputed on training images without augmentation (averaging.recompute_batch_statistics). 0 turns
    #: it off.
    averaging: float = 0.0
    #: Weight of a teacher's scores in the targets (Hinton, Vinyals and Dean 2015); it reduces the effect of wrong
    #: labels. The teacher is other networks or, without them, the moving average. The weight of the average rises
    #: linearly from 0 at half of the steps to this value at the end (after Kim et al. 2021, who use the network of the
    #: previous epoch).
    distillation: float = 0.0
    #: Whether scores are computed from the mean logits of an image and its mirror image.
    flip_average: bool = False
    #: bfloat16: `auto` where a GPU computes in it, `off` or `bf16` (always).
    amp: Amp = "auto"
    #: Image size at the start of training, as a share of `image_size` (progressive learning, Tan and Le 2021).
    growth: float = 1.0

    def __post_init__(self) -> None:
        for name, minimum in (
            ("head", 1),
            ("batch", 2),
            ("epochs", 0),
            ("freeze_epochs", 0),
            ("weight_decay", 0),
            ("mixup", 0),
        ):
            if getattr(self, name) < minimum:
                raise ValueError(f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least {minimum}")
        for name in ("dropout", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and under 1")
        for name in ("distillation", "final_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least 0 and at most 1"
                )
        if self.first_stride not in (None, 1, 2):
            raise ValueError(f"the first stride is {self.first_stride}; it must be 1 or 2")
        if not 0 < self.growth <= 1:
            raise ValueError(f"growth is {self.growth}; it must be over 0 and at most 1")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise ValueError(f"the learning rate is {self.learning_rate}; it must be over 0")

    @property
    def peak_learning_rate(self) -> float:
        """`learning_rate`, or the optimizer's default."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def stride(self) -> int:
        """`first_stride`, or the default for the image size."""
        return self.first_stride or (1 if min(self.image_size) < SMALL_SIDE else 2)

    def image_size_at(self, epoch: int) -> tuple[int, int]:
        """The size (height, width) of the images in `epoch`, counted from 0. It grows in three stages (see
        GROWTH_STAGES)."""
        second, third = (int(self.epochs * share) for share in GROWTH_STAGES)
        share = self.growth if epoch < second else (1 + self.growth) / 2 if epoch < third else 1.0
        height, width = self.image_size
        return max(1, round(height * share)), max(1, round(width * share))

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for JSON and checkpoints."""
        return asdict(self) | {"image_size": list(self.image_size)}


#: Default learning rates of the optimizers. AdaDelta's is the paper's.
LEARNING_RATES: dict[str, float] = {"adadelta": 1.0, "adamw": 1e-3, "muon": 2e-3, "sgd": 0.05}


#: Images with a side under this number of pixels count as small.
SMALL_SIDE = 112


#: With `growth`, images have that share of their size at first, are halfway to their full size after the first of
#: these shares of the epochs, and have their full size after the second.
GROWTH_STAGES = (0.6, 0.85)


PAPER = Recipe()


#: More accurate than the paper's recipe on the same faces; benchmarks/recipes.md has the figures.
MODERN = Recipe(
    epochs=20,
    first_stride=None,
    loss="bce",
    optimizer="muon",
    weight_decay=0.02,
    schedule="cosine",
    final_rate=0.6,
    augmentation=Augmentation(rotation=11, shift=0.05, shear=0, zoom=0.1),
    averaging=0.995,
    distillation=0.7,
    flip_average=True,
)


RECIPES: dict[str, Recipe] = {"paper": PAPER, "modern": MODERN}
