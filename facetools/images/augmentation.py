"""Settings of the augmentations: how far each one reaches."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Augmentation:
    """How far each augmentation reaches; the defaults are the paper's (section 3.2), which leaves colours alone.

    `rotation` degrees to either side; `shift` share of the height and of the width; `shear` degrees to either side;
    `zoom` share of the size, each axis on its own; `flip` whether half of the images are mirrored; `brightness`,
    `contrast` and `saturation` share of what they are; `grayscale` share of the images that lose their colours.
    """

    rotation: float = 20.0
    shift: float = 0.2
    shear: float = 0.2
    zoom: float = 0.2
    flip: bool = True
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    grayscale: float = 0.0

    def __post_init__(self) -> None:
        for name, reach in asdict(self).items():
            if reach < 0:
                raise ValueError(f"the {name} of the augmentation is {reach}; it cannot be negative")
        if self.zoom >= 1:
            raise ValueError(f"the zoom of the augmentation is {self.zoom}; it must be under 1")
        for name in ("brightness", "contrast", "saturation", "grayscale"):
            if getattr(self, name) > 1:
                raise ValueError(f"the {name} of the augmentation is {getattr(self, name)}; it must be at most 1")


NO_AUGMENTATION = Augmentation(0, 0, 0, 0, False)
