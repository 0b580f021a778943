"""Sorting, order statistics and sets: indices from NumPy, values gathered so that gradients pass.

NaN counts as larger than every number, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from . import _core
from ._axes import with_axis
from ._checks import integer, number
from ._core import Tensor
from ._interop import on_device
from ._shapes import ravel

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "isin",
    "kthvalue",
    "median",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
    "unique",
]


class Ordered(NamedTuple):
    """What `sort`, `topk`, `kthvalue` and `median` along an axis return."""

    values: Tensor
    indices: Tensor


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    source = tensor.detach().to("cpu")
    return np.asarray((source.float() if source.dtype is _core.bfloat16 else source).numpy())


def _same_device(op: str, a: Tensor, b: Tensor) -> None:
    if a.device != b.device:
        raise ValueError(f"{op}: tensors are on different devices, {a.device} and {b.device}")


def _picked(input: Tensor, axis: int, index: np.ndarray[Any, Any]) -> Ordered:
    indices = on_device(index.astype(np.int64, copy=False), input.device)
    return Ordered(_core.gather(input, axis, indices), indices)


def _squeezed(found: Ordered, axis: int) -> Ordered:
    return Ordered(found.values.squeeze(axis), found.indices.squeeze(axis))


def _order(values: np.ndarray[Any, Any], axis: int, descending: bool) -> np.ndarray[Any, Any]:
    if not descending:
        return np.argsort(values, axis, kind="stable")
    # Reversed before and after, equal elements keep their order.
    turned = np.flip(np.argsort(np.flip(values, axis), axis, kind="stable"), axis)
    return values.shape[axis] - 1 - turned


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Ordered:
    """Sort along `dim`; returns (values, indices). Equal elements keep their order."""
    x, axis = with_axis("sort", input, dim)
    found = _picked(x, axis, _order(_array(x), axis, descending))
    return found if input.shape else _squeezed(found, axis)


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Indices that sort along `dim`."""
    return sort(input.detach(), dim, descending).indices


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> Ordered:
    """The k largest (or smallest) elements along `dim`, in order; returns (values, indices).

    A scalar is its own largest element, whatever k.

    Raises:
        TypeError: k is no int.
        ValueError: k is negative, or there are fewer elements.
    """
    x, axis = with_axis("topk", input, dim)
    size = x.shape[axis]
    if not 0 <= integer("topk", "k", k) <= size:
        raise ValueError(f"topk: k must lie in [0, {size}], got {k}")
    if not input.shape:
        return sort(input)
    values = _array(input)
    if 0 < k < size:
        kth = size - k if largest else k - 1
        wanted = slice(kth, None) if largest else slice(None, k)
        parts = np.argpartition(values, kth, axis)
        chosen = np.sort(parts[(slice(None),) * axis + (wanted,)], axis)
    else:
        chosen = np.argsort(values, axis, kind="stable")[(slice(None),) * axis + (slice(k),)]
        chosen = np.sort(chosen, axis)
    inner = _order(np.take_along_axis(values, chosen, axis), axis, largest)
    return _picked(input, axis, np.take_along_axis(chosen, inner, axis))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The k-th smallest element along `dim`, from 1; returns (values, indices)."""
    x, axis = with_axis("kthvalue", input, dim)
    size = x.shape[axis]
    if not 1 <= integer("kthvalue", "k", k) <= size:
        raise ValueError(f"kthvalue: k must lie in [1, {size}], got {k}")
    index = np.argpartition(_array(x), k - 1, axis).take([k - 1], axis)
    found = _picked(x, axis, index)
    return found if keepdim and input.shape else _squeezed(found, axis)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | Ordered:
    """The lower of the middle elements, of all or along `dim` with its index; NaN if one is."""
    x, axis = (ravel(input), 0) if dim is None else with_axis("median", input, dim)
    size = x.shape[axis]
    if size == 0:
        raise ValueError(f"median: cannot take the median of no elements, {tuple(input.shape)}")
    values = _array(x)
    index = np.argpartition(values, (size - 1) // 2, axis).take([(size - 1) // 2], axis)
    missing = np.isnan(values)
    index = np.where(missing.any(axis, keepdims=True), missing.argmax(axis, keepdims=True), index)
    found = _picked(x, axis, index)
    if dim is None or not (keepdim and input.shape):
        found = _squeezed(found, axis)
    return found.values if dim is None else found


def quantile(
    input: Tensor,
    q: float | Tensor,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Quantiles of all elements or along `dim`; NaN where an element is.

    Args:
        input: floating.
        q: shares in [0, 1]; a vector of them becomes the first axis of the result.
        dim: the axis.
        keepdim: keep the axis, of size 1.
        interpolation: between neighbours: "linear", "lower", "higher", "nearest" or "midpoint".
    """
    given = _array(q) if isinstance(q, Tensor) else number("quantile", "q", q)
    shares = np.atleast_1d(given).astype(float)
    if not input.dtype.is_floating_point:
        raise TypeError(f"quantile: input must be floating, got {input.dtype.name}")
    if shares.ndim > 1 or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(f"quantile: q must lie in [0, 1], got {shares.tolist()}")
    x, axis = (ravel(input), 0) if dim is None else with_axis("quantile", input, dim)
    keepdim = keepdim and bool(input.shape)
    size = x.shape[axis]
    if size == 0:
        raise ValueError(f"quantile: cannot take quantiles of no elements, {tuple(input.shape)}")
    places = shares * (size - 1)
    rounding: dict[str, Any] = {"lower": np.floor, "higher": np.ceil, "nearest": np.round}
    if interpolation in rounding:
        places = rounding[interpolation](places)
    elif interpolation == "midpoint":
        places = (np.floor(places) + np.ceil(places)) / 2
    elif interpolation != "linear":
        raise ValueError(
            "quantile: interpolation must be linear, lower, higher, nearest or midpoint, "
            f"got {interpolation!r}"
        )
    ordered = sort(x, axis).values
    low = np.floor(places).astype(np.int64)
    high = np.ceil(places).astype(np.int64)
    shape = (-1, *(1,) * (len(x.shape) - 1 - axis))
    share = on_device(places - low, x.device).to(x.dtype).reshape(shape)
    below, above = (
        _core.index_select(ordered, axis, on_device(at, x.device)) for at in (low, high)
    )
    y = _core.lerp(below, above, share)
    missing = _core.isnan(ordered.detach().narrow(axis, size - 1, 1))
    y = y.masked_fill(missing, math.nan)
    many = isinstance(q, Tensor) and len(q.shape) == 1
    if dim is None:
        y = y.reshape(len(shares), *(1,) * len(input.shape)) if keepdim else y
        return y if many else y.squeeze(0)
    if not many:
        return y if keepdim else y.squeeze(axis)
    y = y.unsqueeze(0).transpose(0, axis + 1)
    return y if keepdim else y.squeeze(axis + 1)


def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements, or slices along `dim`, in order.

    With `return_inverse` also where each element went, with `return_counts` how many there were.
    """
    different: Any = np.unique
    _, *found = different(_array(input), True, return_inverse, return_counts, axis=dim)
    first, *more = (on_device(part.astype(np.int64), input.device) for part in found)
    source = ravel(input.detach()) if dim is None else input.detach()
    values = _core.index_select(source, 0 if dim is None else dim, first)
    if return_inverse and dim is None:
        more[0] = more[0].reshape(input.shape)
    elif return_inverse:
        more[0] = more[0].reshape(-1)
    return (values, *more) if more else values


def searchsorted(
    sorted_sequence: Tensor,
    values: Tensor | float,
    right: bool = False,
    *,
    side: str | None = None,
    out_int32: bool = False,
) -> Tensor:
    """Where values go in rising rows, before equal elements or behind them (`right`).

    Args:
        sorted_sequence: (N), or (..., N), rising along the last axis.
        values: any shape for a vector, else (..., M) with the same axes before the last; a number
            for a vector only.
        right: whether equal elements come before.
        side: "left" or "right", another way to say it.
        out_int32: give int32 instead of int64.

    Raises:
        ValueError: shapes do not fit, side is neither, or the devices differ.
    """
    if side not in (None, "left", "right"):
        raise ValueError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    right = right if side is None else side == "right"
    rows = sorted_sequence.detach()
    if not isinstance(values, Tensor):
        values = _core.tensor(values, device=rows.device)
    _same_device("searchsorted", rows, values)
    if not rows.shape:
        raise ValueError("searchsorted: sorted_sequence must have at least one axis, got a scalar")
    if len(rows.shape) > 1 and tuple(rows.shape[:-1]) != tuple(values.shape[:-1]):
        raise ValueError(
            f"searchsorted: sorted_sequence {tuple(rows.shape)} and values {tuple(values.shape)} "
            "must agree but for the last axis"
        )
    size = rows.shape[-1]
    wanted = values.detach() if len(rows.shape) > 1 else ravel(values.detach())
    low = _core.zeros(wanted.shape, dtype=_core.int64, device=wanted.device)
    high = low + size
    for _ in range(size.bit_length()):  # halve what is left of every value's range
        middle = (low + high) // 2
        found = _core.gather(rows, -1, middle.clamp(max=size - 1))
        behind = found <= wanted if right else found < wanted
        if wanted.dtype.is_floating_point:
            behind = behind | (
                _core.isnan(wanted) & (_core.isnan(found.to(wanted.dtype)).logical_not() | right)
            )
        behind = behind & (low < high)
        low, high = _core.where(behind, middle + 1, low), _core.where(behind, high, middle)
    low = low.reshape(values.shape)
    return low.int() if out_int32 else low


def bucketize(
    input: Tensor | float, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """Which of the ranges between rising boundaries each element is in, from 0.

    Args:
        input: any shape, or a number.
        boundaries: a vector.
        out_int32: give int32 instead of int64.
        right: whether a range has its lower boundary rather than its upper one.
    """
    if len(boundaries.shape) != 1:
        raise ValueError(f"bucketize: boundaries must be a vector, got {tuple(boundaries.shape)}")
    return searchsorted(boundaries, input, right, out_int32=out_int32)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Count each of 0, 1, 2, ... in a vector of integers, or add its weights up."""
    if len(input.shape) != 1 or input.dtype.is_floating_point or input.dtype is _core.bool:
        raise ValueError("bincount: input must be a vector of integers from 0")
    if input.numel() and int(input.min()) < 0:
        raise ValueError("bincount: input must be a vector of integers from 0")
    size = max(minlength, int(input.max()) + 1 if input.numel() else 0)
    added = _core.ones(input.shape, dtype=_core.int64, device=input.device)
    added = added if weights is None else weights.detach()
    zeros = _core.zeros((size,), dtype=added.dtype, device=input.device)
    return _core.index_add(zeros, 0, input.to(_core.int64), added)


def isin(elements: Tensor, test_elements: Tensor) -> Tensor:
    """Whether each element is among the others."""
    _same_device("isin", elements, test_elements)
    if not test_elements.numel():
        return _core.zeros(elements.shape, dtype=_core.bool, device=elements.device)
    known = sort(ravel(test_elements.detach())).values
    place = searchsorted(known, elements).clamp(max=known.numel() - 1)
    return _core.index_select(known, 0, ravel(place)).reshape(elements.shape) == elements.detach()
