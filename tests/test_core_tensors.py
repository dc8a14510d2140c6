"""What the layers of the core take: arrays of NumPy, tensors of torch, and what older versions of torch offer."""

from typing import Any

import numpy as np
import pytest
import torch

from facetools import _core

VALUES = np.random.default_rng(0).normal(size=(5, 32)).astype(np.float32)


class Lent:
    """A tensor of older versions of torch, which lends its values by a method, and none that learn."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def detach(self) -> "Lent":
        return Lent(self._tensor.detach())

    def __dlpack__(self, **wanted: Any) -> object:
        return self._tensor.__dlpack__(**wanted)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.__dlpack_device__()


@pytest.mark.parametrize("kind", [np.copy, torch.tensor, lambda v: torch.nn.Parameter(torch.tensor(v)), Lent])
def test_values_may_be_arrays_or_tensors(kind: Any) -> None:
    values = kind(torch.tensor(VALUES, requires_grad=True) if kind is Lent else VALUES)
    out = torch.empty(2, 32)
    _core.moments(values, out, 1)
    np.testing.assert_allclose(out, [VALUES.mean(0), VALUES.var(0)], rtol=1e-5)


def test_tensors_may_begin_anywhere_and_have_sides_of_one() -> None:
    inside = torch.tensor(np.vstack([VALUES, VALUES]))[5:]
    out = torch.empty(1, 2, 32)[0]
    _core.moments(inside, out, 1)
    np.testing.assert_allclose(out[0], VALUES.mean(0), rtol=1e-5)
    _core.moments(torch.tensor(VALUES).as_strided((1, 32), (7, 1)), out, 1)
    np.testing.assert_array_equal(out[0], VALUES[0])


def test_places_have_any_sides() -> None:
    images, found = torch.tensor(VALUES).view(1, 5, 2, 16), torch.empty(2, 16)
    _core.moments(images, found, 1)
    np.testing.assert_allclose(found[0], VALUES.reshape(10, 16).mean(0), rtol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        torch.tensor(VALUES).double(),
        torch.tensor(VALUES).bfloat16(),
        torch.tensor(VALUES).T,
        torch.tensor(VALUES)[:, ::2],
        torch.tensor(VALUES)[(None,) * 4],  # of more sides than images have
        torch.tensor(VALUES).to("meta"),
        VALUES.astype(np.float64),
        VALUES[:, ::2],
        VALUES.tolist(),
        None,
    ],
)
def test_what_does_not_lie_in_memory_as_float32_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.moments(wrong, torch.empty(2, 32), 1)


def test_what_is_written_to_must_be_writable() -> None:
    out = np.empty((2, 32), np.float32)
    out.flags.writeable = False
    with pytest.raises(TypeError, match="incompatible function arguments"):
        _core.moments(VALUES, out, 1)
