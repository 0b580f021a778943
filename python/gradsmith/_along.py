"""Functions along an axis: cumulative ones and differences; all are methods too."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from . import _core
from ._axes import axis_of, with_axis
from ._checks import integer, tensor
from ._core import Tensor

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "diff",
    "logcumsumexp",
]


class Running(NamedTuple):
    """What `cummax` and `cummin` return."""

    values: Tensor
    indices: Tensor


def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Cumulative product along `dim`; integers and truth values give int64.

    One multiplication after the other, with no division, and no partial product that does not begin
    at the start and could overflow where the result does not; zeros, and gradients of any order at
    them, are right.
    With a dtype the input is cast to it first, and the result is of it.
    """
    if dtype is not None:
        tensor("cumprod", "input", input)
        return cumprod(input.to(dtype), dim).to(dtype)
    y, axis = with_axis("cumprod", input, dim)
    y = y if y.dtype.is_floating_point else y.long()
    wide = y.float() if y.dtype in (_core.float16, _core.bfloat16) else y
    size = wide.shape[axis]
    if size == 0:
        return y.reshape(input.shape).clone()
    parts = [wide.narrow(axis, 0, 1)]
    for i in range(1, size):
        parts.append(parts[-1] * wide.narrow(axis, i, 1))
    return _core.cat(parts, axis).to(y.dtype).reshape(input.shape)


def _running(op: str, input: Tensor, dim: int, holds: Any) -> Running:
    """Whichever element so far holds against all others; of equal ones the last, and any NaN.

    Each step joins stretches of elements with those before them, twice as long every time.
    """
    x, axis = with_axis(op, input, dim)
    size = x.shape[axis]
    shape = [1] * len(x.shape)
    shape[axis] = size
    values = x.detach()
    indices = _core.arange(size, device=x.device).reshape(shape).expand(*x.shape)
    step = 1
    while step < size:
        before, here = values.narrow(axis, 0, size - step), values.narrow(axis, step, size - step)
        stays = (holds(here, before) | _core.isnan(here)).logical_not()
        values, indices = (
            _core.cat(
                [
                    part.narrow(axis, 0, step),
                    _core.where(
                        stays,
                        part.narrow(axis, 0, size - step),
                        part.narrow(axis, step, size - step),
                    ),
                ],
                axis,
            )
            for part in (values, indices)
        )
        step *= 2
    indices = indices.clone()
    found = _core.gather(x, axis, indices)
    return Running(found.reshape(input.shape), indices.reshape(input.shape))


def cummax(input: Tensor, dim: int) -> Running:
    """Largest element so far along `dim`, and the last index of it; NaN from the first NaN on.

    Returns:
        (values, indices) of the input's shape, the indices int64.

    Raises:
        IndexError: there is no such axis.
    """
    return _running("cummax", input, dim, _core.ge)


def cummin(input: Tensor, dim: int) -> Running:
    """Least element so far along `dim`, and the last index of it; NaN from the first NaN on.

    Returns:
        (values, indices) of the input's shape, the indices int64.

    Raises:
        IndexError: there is no such axis.
    """
    return _running("cummin", input, dim, _core.le)


def _log_of_sum(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b)), without a gradient where both are 0."""
    top = _core.maximum(a.detach(), b.detach())
    top = top.masked_fill(_core.isinf(top), 0.0)
    total = _core.exp(a - top) + _core.exp(b - top)
    nothing = total.detach() == 0
    return (_core.log(total.masked_fill(nothing, 1.0)) + top).masked_fill(nothing, -math.inf)


def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log of the cumulative sum of exp along `dim`, without overflow.

    Args:
        input: floating.
        dim: the axis.

    Raises:
        IndexError: there is no such axis.
        TypeError: the input is not floating.
    """
    if not tensor("logcumsumexp", "input", input).dtype.is_floating_point:
        raise TypeError(f"logcumsumexp: input must be floating, got {input.dtype.name}")
    y, axis = with_axis("logcumsumexp", input, dim)
    size = y.shape[axis]
    step = 1
    while step < size:
        before, here = y.narrow(axis, 0, size - step), y.narrow(axis, step, size - step)
        y = _core.cat([y.narrow(axis, 0, step), _log_of_sum(before, here)], axis)
        step *= 2
    return y.reshape(input.shape) if step > 1 else input.clone()


def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours along `dim`, n times; of truth values, whether they differ.

    Args:
        input: of one axis or more.
        n: how often; 0 gives the input, with nothing put before or behind it.
        dim: the axis, which gets shorter by n.
        prepend: put before the input first; its other axes are the input's.
        append: put behind it.

    Raises:
        IndexError: there is no such axis.
        TypeError: input, prepend or append is no tensor, or n no int.
        ValueError: n is negative, or the input a scalar.
    """
    if not tensor("diff", "input", input).shape:
        raise ValueError("diff: input must have at least one axis, got a scalar")
    axis = axis_of("diff", dim, len(input.shape))
    n = integer("diff", "n", n)
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    named = (("prepend", prepend), ("input", input), ("append", append))
    parts = [tensor("diff", name, part) for name, part in named if part is not None]
    if n == 0:
        return input.clone()
    y = _core.cat(parts, axis) if len(parts) > 1 else input
    less = _core.logical_xor if y.dtype is _core.bool else _core.sub
    for _ in range(min(n, y.shape[axis])):
        length = max(y.shape[axis] - 1, 0)
        y = less(y.narrow(axis, min(1, y.shape[axis]), length), y.narrow(axis, 0, length))
    return y.clone() if y is input else y
