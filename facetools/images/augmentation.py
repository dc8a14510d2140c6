"""Settings of the augmentations: the range of each random transform."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Augmentation:
    """The range of each augmentation. The defaults are those of the paper (section 3.2), without color changes.

    Parameters are drawn uniformly from their range. Raises ValueError if a setting is invalid.
    """

    #: The largest rotation to either side, in degrees.
    rotation: float = 20.0
    #: The largest shift, as a fraction of the height and of the width.
    shift: float = 0.2
    #: The largest shear angle to either side, in degrees.
    shear: float = 0.2
    #: The largest zoom in and out, as a fraction of the size; independent for both axes.
    zoom: float = 0.2
    #: Whether to mirror half of the images.
    flip: bool = True
    #: The largest relative change of brightness, contrast and saturation.
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    #: The fraction of images that are converted to gray.
    grayscale: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 0:
                raise ValueError(f"the {name} of the augmentation is {value}; it cannot be negative")
        if self.zoom >= 1:
            raise ValueError(f"the zoom of the augmentation is {self.zoom}; it must be under 1")
        for name in ("shift", "brightness", "contrast", "saturation", "grayscale"):
            if getattr(self, name) > 1:
                raise ValueError(f"the {name} of the augmentation is {getattr(self, name)}; it must be at most 1")


NO_AUGMENTATION = Augmentation(0, 0, 0, 0, False)
