"""Elementwise functions and comparisons, composed of ops; most are methods too."""

from __future__ import annotations

import math

from . import _core
from ._axes import Dims
from ._checks import scalar, tensor
from ._core import Tensor
from ._shapes import broadcast_tensors

__all__ = [
    "addcdiv",
    "addcmul",
    "allclose",
    "clamp_max",
    "clamp_min",
    "clip",
    "count_nonzero",
    "equal",
    "isclose",
    "logaddexp",
    "nan_to_num",
    "positive",
    "std_mean",
    "var_mean",
]


# ---- comparing ----


def isclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """Whether `|input - other| <= atol + rtol |other|` elementwise; equal infinities are close."""
    a, b = input.detach(), other.detach()
    close = _core.abs(a - b) <= _core.abs(b) * rtol + atol
    close = (a == b) | (close & _core.isfinite(a) & _core.isfinite(b))
    return close | (_core.isnan(a) & _core.isnan(b)) if equal_nan else close


def allclose(
    input: Tensor,
    other: Tensor,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    equal_nan: bool = False,
) -> bool:
    """Whether all elements are close; see `isclose`."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether shapes and all elements are the same."""
    return tuple(input.shape) == tuple(other.shape) and bool((input == other).all())


def count_nonzero(input: Tensor, dim: Dims | None = None) -> Tensor:
    """Count the elements that are not zero, of all or along `dim`."""
    return (input.detach() != 0).sum(dim)


# ---- between bounds ----


def clamp_min(input: Tensor, min: float | Tensor) -> Tensor:
    """Raise to `min`, a number or a tensor, where below."""
    return _core.clamp(input, min, None)


def clamp_max(input: Tensor, max: float | Tensor) -> Tensor:
    """Lower to `max`, a number or a tensor, where above."""
    return _core.clamp(input, None, max)


def clip(
    input: Tensor, min: float | Tensor | None = None, max: float | Tensor | None = None
) -> Tensor:
    """Cut to [min, max]: another name of `clamp`."""
    return _core.clamp(input, min, max)


# ---- arithmetic ----


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)) without overflow; shapes are broadcast."""
    return _core.logsumexp(_core.stack(broadcast_tensors(input, other)), 0)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Input + value tensor1 tensor2; shapes are broadcast."""
    product = tensor1 * tensor2
    return input + (product if value == 1 else product * value)


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: float = 1) -> Tensor:
    """Input + value tensor1 / tensor2; shapes are broadcast, integers give floats."""
    quotient = tensor1 / tensor2
    return input + (quotient if value == 1 else quotient * value)


def positive(input: Tensor) -> Tensor:
    """Return the tensor itself; truth values have no sign."""
    if input.dtype is _core.bool:
        raise TypeError("positive: input must be a number type, got bool")
    return input


_LARGEST = {
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
    "bfloat16": 3.3895313892515355e38,
    "float16": 65504.0,
}


def nan_to_num(
    input: Tensor,
    nan: float | None = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """Numbers in place of NaN and of infinities, which have no gradient; integers stay.

    Args:
        input: any shape.
        nan: for NaN; None is 0.
        posinf: for infinity; None is the largest number of the dtype.
        neginf: for minus infinity; None is the least.

    Raises:
        TypeError: the input is no tensor, or one of the others no number.
    """
    for name, value in (("nan", nan), ("posinf", posinf), ("neginf", neginf)):
        if value is not None:
            scalar("nan_to_num", name, value)
    if not tensor("nan_to_num", "input", input).dtype.is_floating_point:
        return input.clone()
    largest = _LARGEST[input.dtype.name]
    x = input.detach()
    y = input.masked_fill(_core.isnan(x), 0.0 if nan is None else nan)
    y = y.masked_fill(x == math.inf, largest if posinf is None else posinf)
    return y.masked_fill(x == -math.inf, -largest if neginf is None else neginf)


# ---- two statistics at once ----


def var_mean(
    input: Tensor,
    dim: Dims | None = None,
    correction: float = 1,
    keepdim: bool = False,
    *,
    unbiased: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Variance and mean; unbiased=False is correction 0."""
    spread = _core.var(input, dim, correction, keepdim, unbiased=unbiased)
    return spread, _core.mean(input, dim, keepdim)


def std_mean(
    input: Tensor,
    dim: Dims | None = None,
    correction: float = 1,
    keepdim: bool = False,
    *,
    unbiased: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean; unbiased=False is correction 0."""
    spread = _core.std(input, dim, correction, keepdim, unbiased=unbiased)
    return spread, _core.mean(input, dim, keepdim)
