"""Tensor functions that move, repeat and join elements; most are methods too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import _core
from ._axes import Dims, axes_of, axis_of
from ._checks import integer, tensor
from ._core import Tensor
from ._interop import on_device

__all__ = [
    "broadcast_tensors",
    "concat",
    "diag",
    "diag_embed",
    "hstack",
    "meshgrid",
    "moveaxis",
    "movedim",
    "ravel",
    "repeat_interleave",
    "roll",
    "swapaxes",
    "tile",
    "trace",
    "tril",
    "triu",
    "vstack",
]


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Views of a common shape."""
    shape = np.broadcast_shapes(*(tuple(tensor.shape) for tensor in tensors))
    return tuple(tensor.expand(*shape) if shape else tensor for tensor in tensors)


def ravel(input: Tensor) -> Tensor:
    """All elements in one axis, without a copy where the layout allows."""
    return input.reshape(-1) if input.numel() else input.reshape(0)


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Exchange two axes: another name of `transpose`."""
    return _core.transpose(input, axis0, axis1)


def movedim(input: Tensor, source: Dims, destination: Dims) -> Tensor:
    """Move axes to other places; the others keep their order."""
    rank = len(input.shape)
    old, new = axes_of("movedim", source, rank), axes_of("movedim", destination, rank)
    if len(old) != len(new):
        raise ValueError(f"movedim: {len(old)} axes cannot move to {len(new)} places")
    others = iter(axis for axis in range(rank) if axis not in old)
    order = [old[new.index(at)] if at in new else next(others) for at in range(rank)]
    return _core.permute(input, order)


moveaxis = movedim


def tile(input: Tensor, *dims: Dims) -> Tensor:
    """Repeat along each axis; `dims` and the shape are aligned at the end."""
    given = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    counts = tuple(given)
    return input.repeat(*(1,) * (len(input.shape) - len(counts)), *counts)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along axis 0; vectors become rows."""
    return _core.cat([t.reshape(1, -1) if len(t.shape) < 2 else t for t in tensors], 0)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join along axis 1, vectors along axis 0."""
    raised = [t.reshape(1) if not t.shape else t for t in tensors]
    return _core.cat(raised, 0 if len(raised[0].shape) == 1 else 1)


concat = _core.cat


def meshgrid(*tensors: Tensor, indexing: str = "ij") -> tuple[Tensor, ...]:
    """Coordinates of the grid that vectors span, a view for each; "xy" swaps the first two."""
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    vectors = [tensor.reshape(-1) for tensor in tensors]
    shape = tuple(vector.numel() for vector in vectors)
    grids = []
    for at, vector in enumerate(vectors):
        lone = [1] * len(vectors)
        lone[at] = vector.numel()
        grids.append(vector.reshape(*lone).expand(*shape))
    if indexing == "xy" and len(vectors) > 1:
        grids = [grid.transpose(0, 1) for grid in grids]
    return tuple(grids)


def roll(input: Tensor, shifts: Dims, dims: Dims | None = None) -> Tensor:
    """Shift along axes, what falls off one end comes back at the other; flat without `dims`."""
    moves = [shifts] if isinstance(shifts, int) else list(shifts)
    if dims is None:
        if len(moves) != 1:
            raise ValueError(f"roll: {len(moves)} shifts need as many dims")
        return roll(ravel(input), moves, 0).reshape(input.shape)
    rank = len(input.shape)
    axes = [dims] if isinstance(dims, int) else list(dims)
    if len(axes) != len(moves):
        raise ValueError(f"roll: {len(moves)} shifts for {len(axes)} dims")
    y = input
    for move, dim in zip(moves, axes, strict=True):
        axis = axis_of("roll", dim, rank)
        size = y.shape[axis]
        cut = -move % size if size else 0
        if cut:
            y = _core.cat([y.narrow(axis, cut, size - cut), y.narrow(axis, 0, cut)], axis)
    return y.clone() if y is input else y


def repeat_interleave(input: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Repeat each element, or each slice along `dim`, a number of times, next to each other.

    Args:
        input: any shape; flattened without `dim`.
        repeats: one count, or one per slice.
        dim: the axis.
    """
    x = ravel(input) if dim is None else input
    axis = axis_of("repeat_interleave", 0 if dim is None else dim, len(x.shape))
    size = x.shape[axis]
    given = repeats.cpu().numpy() if isinstance(repeats, Tensor) else np.array(repeats)
    counts = given.reshape(-1)
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(f"repeat_interleave: repeats must be counts, got {counts.tolist()}")
    if len(counts) not in (1, size):
        raise ValueError(f"repeat_interleave: {len(counts)} repeats for {size} slices")
    chosen = on_device(np.repeat(np.arange(size), counts), input.device)
    return _core.index_select(x, axis, chosen)


def windows(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Slices of `size` elements along an axis, `step` apart; their elements are the last axis.

    Where PyTorch's `Tensor.unfold` is a view this is a copy.

    Args:
        input: (..., N, ...), with N along `dimension`; a scalar counts as a vector of one.
        dimension: the axis; of the result it has (N - size) // step + 1 entries.
        size: from 0 to N.
        step: 1 or more.

    Raises:
        IndexError: there is no such axis.
        ValueError: size or step is out of range.
    """
    x = input if input.shape else input.reshape(1)
    axis = axis_of("unfold", dimension, len(x.shape))
    length = x.shape[axis]
    if not 0 <= integer("unfold", "size", size) <= length:
        raise ValueError(f"unfold: size must lie in [0, {length}], got {size}")
    if integer("unfold", "step", step) < 1:
        raise ValueError(f"unfold: step must be 1 or more, got {step}")
    starts = _core.arange(0, length - size + 1, step, device=x.device)
    places = starts.unsqueeze(1) + _core.arange(size, device=x.device)
    if not input.shape:
        return x.index_select(0, places.reshape(-1)[:size])
    picked = _core.index_select(x, axis, places.reshape(-1))
    return movedim(picked.unflatten(axis, tuple(places.shape)), axis + 1, -1)


# ---- matrices ----


def _band(input: Tensor, op: str, diagonal: int, upper: bool) -> Tensor:
    if len(input.shape) < 2:
        raise ValueError(f"{op}: input must have at least 2 axes, got {tuple(input.shape)}")
    rows = _core.arange(input.shape[-2], device=input.device).unsqueeze(1)
    above = _core.arange(input.shape[-1], device=input.device) - rows
    return input.masked_fill(above < diagonal if upper else above > diagonal, 0)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrices of the last two axes with zeros above the `diagonal`-th diagonal."""
    return _band(input, "tril", diagonal, False)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrices of the last two axes with zeros below the `diagonal`-th diagonal."""
    return _band(input, "triu", diagonal, True)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices whose `offset`-th diagonals are the vectors of the last axis.

    Args:
        input: (..., N).
        offset: above the main diagonal, or below where negative; the matrices have
            N + abs(offset) rows and columns.
        dim1: the axis of the rows in the result.
        dim2: the axis of the columns.

    Raises:
        IndexError: there are no such axes.
        TypeError: the input is no tensor, or the offset no int.
        ValueError: the input is a scalar, or dim1 and dim2 are the same axis.
    """
    offset = integer("diag_embed", "offset", offset)
    if not tensor("diag_embed", "input", input).shape:
        raise ValueError("diag_embed: input must have at least one axis, got a scalar")
    size = input.shape[-1]
    off = _core.eye(size, dtype="bool", device=input.device).logical_not()
    square = input.unsqueeze(-1).expand(*input.shape, size).masked_fill(off, 0)
    above, below = max(offset, 0), max(-offset, 0)
    padded = _core.pad(square, (above, below, below, above))
    at = axes_of("diag_embed", (dim1, dim2), len(padded.shape))
    return movedim(padded, (-2, -1), at)


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if len(tensor("trace", "input", input).shape) != 2:
        raise ValueError(f"trace: input must have 2 axes, got shape {tuple(input.shape)}")
    return _core.diagonal(input).sum()


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector as its diagonal."""
    diagonal = integer("diag", "diagonal", diagonal)
    if len(tensor("diag", "input", input).shape) == 1:
        return diag_embed(input, diagonal)
    if len(input.shape) != 2:
        raise ValueError(f"diag: input must have 1 or 2 axes, got {tuple(input.shape)}")
    return _core.diagonal(input, diagonal)
