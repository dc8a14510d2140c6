"""Recipes: named sets of defaults for training. Plain values only, so that a command can show them at once."""

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
    """All that decides the outcome of a training but data and seed; the defaults are the paper's.

    `image_size` (height, width) in pixels; `learning_rate` None takes the optimizer's own of LEARNING_RATES.
    `first_stride` of the backbone's first convolution; None takes 1 for images with a side under SMALL, of which 2
    would leave too few places, else 2. `final_rate` is the share of the learning rate that is left at the end of a
    schedule: an average is as quiet as a rate of 0, and long steps learn fewer faces by heart. `mixup` (Zhang et al.
    2018) blends pairs of faces and their labels by a share drawn from Beta(mixup, mixup); 0 blends none. `averaging` is
    the decay by step of a moving average of the network, which then is what is validated and kept, with the batch
    statistics that it has itself on images as they are (optimization.take_statistics); 0 keeps the network itself.
    `distillation` is the share of the truth that the scores of a teacher take: labels are noisy, and a network is not
    led by one of them (Hinton, Vinyals and Dean 2015). Where there is no other teacher it is that average, whose share
    rises to this by the end of training, from none at half of it on (after Kim et al. 2021, who take the network of the
    epoch before).
    `flip_average` scores a face by the mean logits of it and its mirror image. `growth` is the share of the image size
    with which training begins: most of what is to be learned is learned sooner from smaller images (progressive
    learning: Tan and Le 2021).
    """

    backbone: str = "mobilenet_v2"
    head: int = 1536
    dropout: float = 0.3
    weights: str = "imagenet"
    image_size: tuple[int, int] = (224, 224)
    batch: int = 64
    epochs: int = 10
    freeze_epochs: int = 0
    first_stride: int | None = 2
    loss: Loss = "cosine"
    optimizer: Optimizer = "adadelta"
    learning_rate: float | None = None
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    final_rate: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixup: float = 0.0
    averaging: float = 0.0
    distillation: float = 0.0
    flip_average: bool = False
    amp: Amp = "auto"
    growth: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (
            ("head", 1),
            ("batch", 2),
            ("epochs", 0),
            ("freeze_epochs", 0),
            ("weight_decay", 0),
            ("mixup", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name.replace('_', ' ')} is {getattr(self, name)}; it must be at least {least}")
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
            raise ValueError(f"the growth begins at {self.growth} of the image size; it must be over 0 and at most 1")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise ValueError(f"the learning rate is {self.learning_rate}; it must be over 0")

    @property
    def rate(self) -> float:
        """The learning rate, the optimizer's own where none is given."""
        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    @property
    def stride(self) -> int:
        """The stride of the first convolution, by the image size where none is given."""
        return self.first_stride or (1 if min(self.image_size) < SMALL_SIDE else 2)

    def size_at(self, epoch: int) -> tuple[int, int]:
        """The size (height, width) of the images of an epoch, from 0: that of the recipe in the last ones."""
        half, whole = (int(self.epochs * share) for share in GROWTH_STAGES)
        share = self.growth if epoch < half else (1 + self.growth) / 2 if epoch < whole else 1.0
        height, width = self.image_size
        return max(1, round(height * share)), max(1, round(width * share))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values, for JSON and checkpoints."""
        return asdict(self) | {"image_size": list(self.image_size)}


#: Learning rates that suit each optimizer; AdaDelta's is the paper's.
LEARNING_RATES: dict[str, float] = {"adadelta": 1.0, "adamw": 1e-3, "muon": 2e-3, "sgd": 0.05}


#: Pixels of a side under which images count as small.
SMALL_SIDE = 112


#: The shares of the epochs after which images that grow are half-way to their size, and have it.
GROWTH_STAGES = (0.6, 0.85)


PAPER = Recipe()


#: What did better than the paper's on the same faces: benchmarks/recipes.md has the figures.
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
