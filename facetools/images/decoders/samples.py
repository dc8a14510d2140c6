"""Scale samples of more than 8 bits to 8 bits.

Files rarely say which sample is white. If they do not, the largest sample of the image decides, alpha included:

| samples | largest sample | white |
|---|---|---|
| any, if the file declares its range | any | the declared largest value |
| integers | up to 255 | 255 |
| integers that are multiples of 256 or 257, so that they were 8 bits | above 255 | 65280 or 65535 |
| integers and floating-point numbers | 256 to 1023 | 1023 |
| | 1024 to 4095 | 4095 |
| | 16384 to 65535 | 65535; 32767 for signed 16-bit integers |
| integers of 32 and 64 bits | at least half of the largest value of the type | the largest value of the type |
| floating-point numbers | up to 1 | 1 |
| floating-point numbers | 16 to 255 | 255 |

A floating-point sample may be outside of the range by 10 % of white, because interpolation overshoots; it is clipped.
In all other cases the range cannot be decided, and the image is refused. Examples: 4096 to 16383 may be 14 bits, or a
dark image of 16 bits; negative samples; an image that is not finite.
"""

from __future__ import annotations

import numpy as np

from facetools.images.reading import ImageError

#: White of integers, in ascending order: 8, 10 and 12 bits.
_LOW_WHITES = (255, 1023, 4095)

#: The largest sample from which on an image has 16 bits: 14 bits never reach it.
_MIN_16_BIT, _MAX_16_BIT = 2**14, 2**16 - 1

#: The largest sample from which on floating-point numbers are 0 to 255: less would be black.
_MIN_FLOAT_8_BIT = 16

_OVERSHOOT = 0.1


def scale_to_8_bits(samples: np.ndarray, white: float | None = None) -> np.ndarray:
    """Scale `samples`, integers or floating-point numbers of any shape, to uint8.

    `white` is the largest possible sample, if the file declares it. Raises ImageError if the range of the samples
    cannot be decided.
    """
    if samples.dtype == np.uint8 and white in (None, 255):
        return samples
    lowest, highest = samples.min().item(), samples.max().item()
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ImageError("its samples are not all finite numbers")
    is_float = samples.dtype.kind == "f"
    if white is None or white < highest:
        white = _float_white(highest) if is_float else _integer_white(samples, highest)
    if white is None or lowest < (-_OVERSHOOT * white if is_float else 0):
        raise ImageError(f"its samples are from {lowest:g} to {highest:g}, so that their range cannot be decided")
    scaled = samples.astype(np.float64 if samples.dtype.itemsize > 2 else np.float32)
    np.multiply(scaled, 255 / white, out=scaled)
    return np.rint(scaled, out=scaled).clip(0, 255, out=scaled).astype(np.uint8)


def _float_white(highest: float) -> float | None:
    if highest <= 1 + _OVERSHOOT:
        return 1
    if _MIN_FLOAT_8_BIT <= highest <= 255 * (1 + _OVERSHOOT):
        return 255
    return _white_of_bits(highest, _MAX_16_BIT) if highest > 255 else None


def _integer_white(samples: np.ndarray, highest: int) -> int | None:
    type_limit = np.iinfo(samples.dtype).max
    if 255 < highest <= _MAX_16_BIT:
        for factor in (256, 257):
            if not (samples % samples.dtype.type(factor)).any():
                return 255 * factor
    return _white_of_bits(highest, type_limit)


def _white_of_bits(highest: float, type_limit: int) -> int | None:
    for white in _LOW_WHITES:
        if highest <= white:
            return min(white, type_limit)
    if _MIN_16_BIT <= highest <= _MAX_16_BIT:
        return min(_MAX_16_BIT, type_limit)
    return type_limit if type_limit > _MAX_16_BIT and highest >= type_limit // 2 else None
