"""Tensor functions composed of ops; most are methods too (set in _tensor.py)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import _core
from ._checks import integer
from ._core import Tensor
from ._interop import on_device

__all__ = [
    "addmm",
    "allclose",
    "baddbmm",
    "broadcast_tensors",
    "clip",
    "count_nonzero",
    "cumprod",
    "diag",
    "diag_embed",
    "equal",
    "hstack",
    "isclose",
    "logaddexp",
    "meshgrid",
    "mm",
    "moveaxis",
    "movedim",
    "mv",
    "ravel",
    "repeat_interleave",
    "roll",
    "scatter",
    "std_mean",
    "swapaxes",
    "take_along_dim",
    "tile",
    "trace",
    "tril",
    "triu",
    "var_mean",
    "vstack",
]

_Dims = int | Sequence[int]


def _axis(op: str, dim: int, rank: int) -> int:
    dim = integer(op, "dim", dim)
    if not -rank <= dim < rank:
        raise IndexError(f"{op}: dim {dim} out of range for {rank} axes")
    return dim % rank


def _with_axis(op: str, input: Tensor, dim: int) -> tuple[Tensor, int]:
    """Return the input, a scalar as a vector of one, and the axis that `dim` names in it."""
    x = input if input.shape else input.reshape(1)
    return x, _axis(op, dim, len(x.shape))


def _axes(op: str, dims: _Dims, rank: int) -> list[int]:
    given = [dims] if isinstance(dims, int) else list(dims)
    found = [_axis(op, dim, rank) for dim in given]
    if len(set(found)) != len(found):
        raise ValueError(f"{op}: an axis appears twice in {tuple(given)}")
    return found


# ---- products ----


def _ranks(op: str, *named: tuple[str, Tensor, int]) -> None:
    for name, tensor, rank in named:
        if len(tensor.shape) != rank:
            raise ValueError(f"{op}: {name} must have {rank} axes, got {tuple(tensor.shape)}")


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices, (N, K) and (K, M)."""
    _ranks("mm", ("input", input, 2), ("mat2", mat2, 2))
    return _core.matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix (N, K) and a vector (K)."""
    _ranks("mv", ("input", input, 2), ("vec", vec, 1))
    return _core.matmul(input, vec)


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Beta input + alpha mat1 mat2; where beta is 0 the input does not count, NaN or not."""
    _ranks("addmm", ("mat1", mat1, 2), ("mat2", mat2, 2))
    return _added(input, _core.matmul(mat1, mat2), beta, alpha)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Beta input + alpha batch1 batch2, of matrices (B, N, K) and (B, K, M)."""
    _ranks("baddbmm", ("batch1", batch1, 3), ("batch2", batch2, 3))
    return _added(input, _core.bmm(batch1, batch2), beta, alpha)


def _added(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return product + (input if beta == 1 else input * beta)


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


def count_nonzero(input: Tensor, dim: _Dims | None = None) -> Tensor:
    """Count the elements that are not zero, of all or along `dim`."""
    return (input.detach() != 0).sum(dim)


# ---- elementwise ----


def clip(input: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Cut to [min, max]: another name of `clamp`."""
    return _core.clamp(input, min, max)


def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(input) + exp(other)) without overflow; shapes are broadcast."""
    return _core.logsumexp(_core.stack(broadcast_tensors(input, other)), 0)


def var_mean(
    input: Tensor, dim: _Dims | None = None, correction: float = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Variance and mean."""
    return _core.var(input, dim, correction, keepdim), _core.mean(input, dim, keepdim)


def std_mean(
    input: Tensor, dim: _Dims | None = None, correction: float = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """Standard deviation and mean."""
    return _core.std(input, dim, correction, keepdim), _core.mean(input, dim, keepdim)


# ---- along an axis ----


def cumprod(input: Tensor, dim: int) -> Tensor:
    """Cumulative product along `dim`; integers and truth values give int64.

    One multiplication after the other, with no division, and no partial product that does not begin
    at the start and could overflow where the result does not; zeros, and gradients of any order at
    them, are right.
    """
    y, axis = _with_axis("cumprod", input, dim)
    y = y if y.dtype.is_floating_point else y.long()
    wide = y.float() if y.dtype in (_core.float16, _core.bfloat16) else y
    size = wide.shape[axis]
    if size == 0:
        return y.reshape(input.shape).clone()
    parts = [wide.narrow(axis, 0, 1)]
    for i in range(1, size):
        parts.append(parts[-1] * wide.narrow(axis, i, 1))
    return _core.cat(parts, axis).to(y.dtype).reshape(input.shape)


# ---- shapes ----


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


def movedim(input: Tensor, source: _Dims, destination: _Dims) -> Tensor:
    """Move axes to other places; the others keep their order."""
    rank = len(input.shape)
    old, new = _axes("movedim", source, rank), _axes("movedim", destination, rank)
    if len(old) != len(new):
        raise ValueError(f"movedim: {len(old)} axes cannot move to {len(new)} places")
    others = iter(axis for axis in range(rank) if axis not in old)
    order = [old[new.index(at)] if at in new else next(others) for at in range(rank)]
    return _core.permute(input, order)


moveaxis = movedim


def tile(input: Tensor, *dims: _Dims) -> Tensor:
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


def roll(input: Tensor, shifts: _Dims, dims: _Dims | None = None) -> Tensor:
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
        axis = _axis("roll", dim, rank)
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
    axis = _axis("repeat_interleave", 0 if dim is None else dim, len(x.shape))
    size = x.shape[axis]
    given = repeats.cpu().numpy() if isinstance(repeats, Tensor) else np.array(repeats)
    counts = given.reshape(-1)
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(f"repeat_interleave: repeats must be counts, got {counts.tolist()}")
    if len(counts) not in (1, size):
        raise ValueError(f"repeat_interleave: {len(counts)} repeats for {size} slices")
    chosen = on_device(np.repeat(np.arange(size), counts), input.device)
    return _core.index_select(x, axis, chosen)


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


def diag_embed(input: Tensor, offset: int = 0) -> Tensor:
    """Matrices whose `offset`-th diagonals are the vectors of the last axis."""
    if not input.shape:
        raise ValueError("diag_embed: input must have at least one axis, got a scalar")
    size = input.shape[-1]
    off = _core.eye(size, dtype="bool", device=input.device).logical_not()
    square = input.unsqueeze(-1).expand(*input.shape, size).masked_fill(off, 0)
    above, below = max(offset, 0), max(-offset, 0)
    return _core.pad(square, (above, below, below, above))


def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    if not isinstance(input, Tensor):
        raise TypeError(f"trace: input must be a Tensor, got {type(input).__name__}")
    if len(input.shape) != 2:
        raise ValueError(f"trace: input must have 2 axes, got shape {tuple(input.shape)}")
    return _core.diagonal(input).sum()


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector as its diagonal."""
    if len(input.shape) == 1:
        return diag_embed(input, diagonal)
    if len(input.shape) != 2:
        raise ValueError(f"diag: input must have 1 or 2 axes, got {tuple(input.shape)}")
    return _core.diagonal(input, diagonal)


# ---- by index ----


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Elements at `indices` along `dim`, the other axes broadcast; of all elements without it."""
    if dim is None:
        return _core.gather(ravel(input), 0, ravel(indices))
    axis = _axis("take_along_dim", dim, len(input.shape))
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
    return _core.gather(input.expand(*own), axis, indices.expand(*other))


def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | float) -> Tensor:
    """A copy with `src` written to `index` along `dim`; of several for one place the last wins.

    Args:
        input: what is copied.
        dim: the axis.
        index: int64, of as many axes as the input and nowhere larger but along `dim`.
        src: a number, or a tensor at least as large as `index`.
    """
    rank = len(input.shape)
    axis = _axis("scatter", dim, rank)
    if len(index.shape) != rank:
        raise ValueError(
            f"scatter: index {tuple(index.shape)} and input {tuple(input.shape)} must have the "
            "same number of axes"
        )
    if isinstance(src, Tensor):
        if len(src.shape) != rank or any(
            a < b for a, b in zip(src.shape, index.shape, strict=True)
        ):
            raise ValueError(
                f"scatter: src {tuple(src.shape)} must not be smaller than index "
                f"{tuple(index.shape)}"
            )
        values = src
        for at, size in enumerate(index.shape):
            values = values.narrow(at, 0, size)
    else:
        values = _core.full(index.shape, src, dtype=input.dtype, device=input.device)
    size, device = input.shape[axis], index.device
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
        raise IndexError(
            f"scatter: index must lie in [0, {size}), got {int(index.min())} to {int(index.max())}"
        )
    flat = _core.zeros(index.shape, dtype=_core.int64, device=device)
    for at in range(rank):
        places = index
        if at != axis:
            lone = [1] * rank
            lone[at] = -1
            places = _core.arange(index.shape[at], device=device).reshape(*lone)
        flat = flat * input.shape[at] + places
    flat = ravel(flat)
    order = _core.arange(flat.numel(), device=device)
    last = _core.full((input.numel(),), -1, dtype=_core.int64, device=device)
    last[flat] = order
    kept = ravel(input).masked_fill(last >= 0, 0)
    written = ravel(values.to(input.dtype)).masked_fill(last[flat] != order, 0)
    return _core.index_add(kept, 0, flat, written).reshape(input.shape)
