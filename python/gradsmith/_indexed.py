"""Choosing and writing elements by index or mask; most are methods too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import _core
from ._axes import axis_of, with_axis
from ._checks import dtypes_agree, scalar, tensor
from ._core import Tensor
from ._shapes import broadcast_tensors, ravel
from ._written import written
from .autograd import Function

__all__ = [
    "argwhere",
    "index_copy",
    "index_fill",
    "masked_scatter",
    "nonzero",
    "scatter",
    "scatter_",
    "scatter_add_",
    "scatter_reduce",
    "scatter_reduce_",
    "take_along_dim",
    "where",
]


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Elements at `indices` along `dim`, the other axes broadcast; of all elements without it.

    Along `dim` negative indices count from the end.
    """
    tensor("take_along_dim", "input", input)
    tensor("take_along_dim", "indices", indices)
    if dim is None:
        _check_within("take_along_dim", indices, input.numel())
        return _core.gather(ravel(input), 0, ravel(indices))
    axis = axis_of("take_along_dim", dim, len(input.shape))
    if len(indices.shape) != len(input.shape):
        raise ValueError(
            f"take_along_dim: indices {tuple(indices.shape)} and input {tuple(input.shape)} must "
            "have the same number of axes"
        )
    source, chosen = list(input.shape), list(indices.shape)
    source[axis] = chosen[axis] = 1
    shape = list(np.broadcast_shapes(tuple(source), tuple(chosen)))
    own, other = list(shape), list(shape)
    own[axis], other[axis] = input.shape[axis], indices.shape[axis]
    size = input.shape[axis]
    _check_within("take_along_dim", indices, size, -size)
    places = _from_end(indices, size)
    return _core.gather(input.expand(*own), axis, places.expand(*other))


def _from_end(index: Tensor, size: int) -> Tensor:
    """Return the index with negative entries counted from the end."""
    return _core.where(index < 0, index + size, index)


# ---- scatter ----


def _check_scatter(op: str, input: Tensor, dim: int, index: Tensor, src: Tensor) -> int:
    """Return the axis, where the index lies in the input and the source is large enough."""
    rank = len(input.shape)
    axis = 0 if not rank and dim in (0, -1) else axis_of(op, dim, rank)
    if index.dtype is not _core.int64:
        raise TypeError(f"{op}: index must be int64, got {index.dtype.name}")
    if len(index.shape) != rank:
        raise ValueError(
            f"{op}: index {tuple(index.shape)} and input {tuple(input.shape)} must have the "
            "same number of axes"
        )
    if any(
        a < b for at, (a, b) in enumerate(zip(input.shape, index.shape, strict=True)) if at != axis
    ):
        raise ValueError(
            f"{op}: index {tuple(index.shape)} must not be larger than input "
            f"{tuple(input.shape)} but along axis {axis}"
        )
    if len(src.shape) != rank or any(a < b for a, b in zip(src.shape, index.shape, strict=True)):
        raise ValueError(
            f"{op}: src {tuple(src.shape)} must not be smaller than index {tuple(index.shape)}"
        )
    _check_within(op, index, input.shape[axis] if rank else 1)
    return axis


def _check_within(op: str, index: Tensor, size: int, least: int = 0) -> None:
    if index.numel() and not least <= int(index.min()) <= int(index.max()) < size:
        raise IndexError(
            f"{op}: index must lie in [{least}, {size}), "
            f"got {int(index.min())} to {int(index.max())}"
        )


def _places(input: Tensor, axis: int, index: Tensor) -> Tensor:
    """Where each index points among all elements of the input, as a vector."""
    flat = _core.zeros(index.shape, dtype=_core.int64, device=index.device)
    for at in range(len(input.shape)):
        places = index
        if at != axis:
            lone = [1] * len(input.shape)
            lone[at] = -1
            places = _core.arange(index.shape[at], device=index.device).reshape(*lone)
        flat = flat * input.shape[at] + places
    return ravel(flat + index if not input.shape else flat)


def _cut(src: Tensor, index: Tensor) -> Tensor:
    for at, size in enumerate(index.shape):
        src = src.narrow(at, 0, size)
    return src


def _slots(places: Tensor, size: int) -> Tensor:
    """Return, for each of `size` places, the last entry of `places` that is it, or -1."""
    slots = _core.full((size,), -1, dtype=_core.int64, device=places.device)
    if places.numel():
        slots[places] = _core.arange(places.numel(), device=places.device)
    return slots


def _replaced(kept: Tensor, values: Tensor, slots: Tensor) -> Tensor:
    """Vector `kept`, with the values that the slots name where they name one."""
    if not values.numel():
        return kept.clone()
    return _core.where(slots >= 0, _core.index_select(values, 0, slots.clamp(min=0)), kept)


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | float | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """A copy with `src` written to `index` along `dim`; of several for one place the last wins.

    Args:
        input: what is copied.
        dim: the axis.
        index: int64, of as many axes as the input and nowhere larger but along `dim`.
        src: a number, or a tensor of the input's dtype, at least as large as `index`.
        value: a number, instead of `src`.
        reduce: "add" or "multiply": all of the values of a place and what was there.

    Raises:
        IndexError: an index is out of range.
        TypeError: the index is not int64, the dtypes differ, or not just one of src and value was
            given.
        ValueError: a shape does not fit, or reduce is none of these.
    """
    tensor("scatter", "input", input)
    tensor("scatter", "index", index)
    if (src is None) == (value is None):
        given = "neither" if src is None else "both"
        raise TypeError(f"scatter: one of src and value must be given, got {given}")
    if reduce not in (None, "add", "multiply"):
        raise ValueError(f"scatter: reduce must be None, 'add' or 'multiply', got {reduce!r}")
    if isinstance(src, Tensor):
        values = src
        dtypes_agree("scatter", ("src", src), ("input", input))
    else:
        fill = scalar("scatter", "value", value) if src is None else scalar("scatter", "src", src)
        values = _core.full(index.shape, fill, dtype=input.dtype, device=input.device)
    if reduce is not None:
        name = "sum" if reduce == "add" else "prod"
        return _reduced("scatter", input, dim, index, values, name, True)
    axis = _check_scatter("scatter", input, dim, index, values)
    slots = _slots(_places(input, axis, index), input.numel())
    return _replaced(ravel(input), ravel(_cut(values, index)), slots).reshape(input.shape)


def scatter_(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | float | None = None,
    *,
    value: float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """`scatter` in place."""

    def compute() -> Tensor:
        return scatter(input, dim, index, src, value=value, reduce=reduce)

    return written("scatter_", input, compute, src=src)


def scatter_add_(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`scatter_add` in place."""
    return written(
        "scatter_add_", input, lambda: _core.scatter_add(input, dim, index, src), src=src
    )


class _WithValue(Function):
    """A value whose gradient is that of another tensor of its shape."""

    @staticmethod
    def forward(ctx: Any, carrier: Tensor, value: Tensor) -> Tensor:
        """Return the value."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Give all of it to the carrier."""
        return grads[0], None


def _joined(
    values: Tensor, places: Tensor, join: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Join the values of each place; returns them and the places, each once.

    Neighbours are joined two by two until each place has one value: a few large ops on any device,
    with gradients of any order, and no division by what may be 0.
    """
    at = places.cpu().numpy()
    order = np.argsort(at, kind="stable")
    at = at[order]
    device = values.device
    values = _core.index_select(values, 0, _core.from_numpy(order).to(device))
    while True:
        starts = np.flatnonzero(np.r_[True, at[1:] != at[:-1]]) if len(at) else at
        if len(starts) == len(at):
            return values, _core.from_numpy(at).to(device)
        counts = np.diff(np.r_[starts, len(at)])
        rank = np.arange(len(at)) - np.repeat(starts, counts)
        first = np.flatnonzero(rank % 2 == 0)
        paired = np.r_[at[1:] == at[:-1], False][first]
        left = _core.index_select(values, 0, _core.from_numpy(first[paired]).to(device))
        right = _core.index_select(values, 0, _core.from_numpy(first[paired] + 1).to(device))
        alone = _core.index_select(values, 0, _core.from_numpy(first[~paired]).to(device))
        back = np.argsort(np.r_[first[paired], first[~paired]])
        both = _core.cat([join(left, right), alone], 0)
        values = _core.index_select(both, 0, _core.from_numpy(back).to(device))
        at = at[first]


def _reduced(
    op: str, input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool
) -> Tensor:
    axis = _check_scatter(op, input, dim, index, src)
    if not index.numel():
        return input.clone()
    values = _cut(src, index)
    if not input.shape:
        whole = _reduced(
            op, input.reshape(1), 0, index.reshape(1), values.reshape(1), reduce, include_self
        )
        return whole.reshape(())
    zeros = _core.zeros(input.shape, dtype=_core.int64, device=input.device)
    count = _core.scatter_add(zeros, axis, index, _core.ones_like(index))
    touched = count > 0
    if reduce in ("sum", "mean"):
        kept = input if include_self else input.masked_fill(touched, 0)
        total = _core.scatter_add(kept, axis, index, values)
        if reduce == "sum":
            return total
        count = (count + 1) if include_self else count.clamp(min=1)
        if total.dtype.is_floating_point:
            return total / count.to(total.dtype)
        return _core.floor_divide(total, count).to(total.dtype)

    places = _places(input, axis, index)

    def spread(joined: Tensor, known: Tensor, rest: Tensor) -> Tensor:
        return _replaced(ravel(rest), joined, _slots(known, input.numel())).reshape(input.shape)

    if reduce == "prod":
        factors = spread(*_joined(ravel(values), places, _core.mul), _core.ones_like(input))
        return (input if include_self else input.masked_fill(touched, 1)) * factors
    pick = _core.maximum if reduce == "amax" else _core.minimum
    old, new = input.detach(), ravel(values.detach())
    best = spread(*_joined(new, places, pick), old)
    best = pick(best, old) if include_self else best
    if not (input.requires_grad or src.requires_grad):
        return best
    # Equal extremes share the gradient.
    own = (old == best) if include_self else touched.logical_not()
    won = values.detach() == _core.gather(best, axis, index)
    zero = _core.zeros_like(best)
    ties = _core.scatter_add(own.to(best.dtype), axis, index, won.to(best.dtype)).clamp(min=1)
    taken = _core.scatter_add(
        _core.where(own, input, zero), axis, index, values.masked_fill(won.logical_not(), 0)
    )
    return _WithValue.apply(taken / ties, best)


_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy in which elements of `src` are reduced at `index` along `dim`.

    Args:
        input: what is copied.
        dim: the axis.
        index: int64, of as many axes as the input and nowhere larger but along `dim`.
        src: of the input's dtype, at least as large as `index`.
        reduce: "sum", "prod", "mean" (of integers rounded down), "amax" or "amin", whose equal
            extremes share the gradient.
        include_self: whether what was at a place counts too.

    Raises:
        IndexError: an index is out of range.
        TypeError: the index is not int64, or the dtypes differ.
        ValueError: a shape does not fit, or reduce is none of these.
    """
    for name, value in (("input", input), ("index", index), ("src", src)):
        tensor("scatter_reduce", name, value)
    if reduce not in _REDUCTIONS:
        allowed = ", ".join(map(repr, _REDUCTIONS))
        raise ValueError(f"scatter_reduce: reduce must be one of {allowed}, got {reduce!r}")
    dtypes_agree("scatter_reduce", ("src", src), ("input", input))
    return _reduced("scatter_reduce", input, dim, index, src, reduce, include_self)


def scatter_reduce_(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """`scatter_reduce` in place."""

    def compute() -> Tensor:
        return scatter_reduce(input, dim, index, src, reduce, include_self=include_self)

    return written("scatter_reduce_", input, compute, src=src)


# ---- whole slices ----


def _slices(op: str, input: Tensor, dim: int, index: Tensor) -> tuple[Tensor, int, Tensor]:
    """Return input and index, a scalar as a vector of one, and the axis, between the two."""
    x, axis = with_axis(op, input, dim)
    if tensor(op, "index", index).dtype is not _core.int64:
        raise TypeError(f"{op}: index must be int64, got {index.dtype.name}")
    if len(index.shape) > 1:
        raise ValueError(f"{op}: index must be a number or a vector, got {tuple(index.shape)}")
    return x, axis, ravel(index)


def _along(vector: Tensor, axis: int, rank: int) -> Tensor:
    shape = [1] * rank
    shape[axis] = -1
    return vector.reshape(shape)


def index_fill(input: Tensor, dim: int, index: Tensor, value: float | Tensor) -> Tensor:
    """A copy with one value in the slices that `index` names.

    Args:
        input: any shape; a scalar counts as a vector of one.
        dim: the axis.
        index: an int64 vector, or a scalar; negative ones count from the end.
        value: a number, or a tensor of no axes.

    Raises:
        IndexError: an index, or the axis, is out of range.
        TypeError: the index is not int64, or the value no number.
        ValueError: the index is no vector, or the value more than a number.
    """
    x, axis, at = _slices("index_fill", input, dim, index)
    scalar("index_fill", "value", value)
    size = x.shape[axis]
    _check_within("index_fill", at, size, -size)
    chosen = _slots(_from_end(at, size), size) >= 0
    return _core.masked_fill(x, _along(chosen, axis, len(x.shape)), value).reshape(input.shape)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy whose slices at `index` are those of the source; of several for one the last wins.

    Args:
        input: any shape; a scalar counts as a vector of one, also as index or source.
        dim: the axis.
        index: an int64 vector.
        source: of the input's dtype and shape, but as long as the index along `dim`.

    Raises:
        IndexError: an index, or the axis, is out of range.
        TypeError: the index is not int64, or the dtypes differ.
        ValueError: a shape does not fit.
    """
    x, axis, at = _slices("index_copy", input, dim, index)
    _check_within("index_copy", at, x.shape[axis])
    tensor("index_copy", "source", source)
    dtypes_agree("index_copy", ("source", source), ("input", input))
    rows = source if source.shape else source.reshape(1)
    wanted = list(x.shape)
    wanted[axis] = at.numel()
    if list(rows.shape) != wanted:
        raise ValueError(
            f"index_copy: source must have shape {tuple(wanted)}, got {tuple(source.shape)}"
        )
    if not at.numel():
        return input.clone()
    slots = _slots(at, x.shape[axis])
    moved = _core.index_select(rows, axis, slots.clamp(min=0))
    return _core.where(_along(slots >= 0, axis, len(x.shape)), moved, x).reshape(input.shape)


# ---- masks ----


def _check_mask(op: str, name: str, mask: Tensor) -> None:
    if mask.dtype is not _core.bool:
        raise TypeError(f"{op}: {name} must be bool, got {mask.dtype.name}")


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with elements of the source, one after the other, where the mask is true.

    Args:
        input: any shape.
        mask: bool; input and mask are broadcast.
        source: of the input's dtype, with at least as many elements as the mask has true ones.

    Raises:
        TypeError: the mask is not bool, or the dtypes differ.
        ValueError: the source has too few elements.
    """
    for name, value in (("input", input), ("mask", mask), ("source", source)):
        tensor("masked_scatter", name, value)
    _check_mask("masked_scatter", "mask", mask)
    dtypes_agree("masked_scatter", ("source", source), ("input", input))
    x, on = broadcast_tensors(input, mask)
    flat = ravel(on)
    count = int(flat.sum())
    if count > source.numel():
        raise ValueError(
            f"masked_scatter: source has {source.numel()} elements, the mask {count} places"
        )
    slots = (flat.long().cumsum(0) - 1).masked_fill(flat.logical_not(), -1)
    return _replaced(ravel(x), ravel(source), slots).reshape(x.shape)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Coordinates of the elements that are not zero.

    Args:
        input: any shape.
        as_tuple: a vector for each axis instead, with which the input can be indexed; a scalar
            counts as a vector of one.

    Returns:
        int64 of shape (count, rank), or a tuple of int64 vectors.
    """
    if not as_tuple:
        return _core.nonzero(input)
    x = input if input.shape else input.reshape(1)
    return tuple(column.contiguous() for column in _core.nonzero(x).unbind(1))


def argwhere(input: Tensor) -> Tensor:
    """Coordinates of the elements that are not zero, int64 of shape (count, rank)."""
    return _core.nonzero(input)


def where(
    condition: Tensor, input: Tensor | float | None = None, other: Tensor | float | None = None
) -> Any:
    """Input where the condition is true, else other; where it is true, of a condition alone.

    Args:
        condition: bool; alone of any type.
        input: a tensor or a number; shapes are broadcast and dtypes promoted.
        other: the same.

    Returns:
        A tensor; of a condition alone `nonzero(condition, as_tuple=True)`.
    """
    if input is None and other is None:
        return nonzero(condition, as_tuple=True)
    if input is None or other is None:
        raise TypeError("where: input and other must both be given, or neither")
    return _core.where(condition, input, other)


def where_method(input: Tensor, condition: Tensor, other: Tensor | float) -> Tensor:
    """Return the tensor where the condition is true, else other."""
    return _core.where(condition, input, other)
