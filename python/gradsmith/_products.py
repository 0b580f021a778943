"""Products of matrices, composed of ops; most are methods too."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import _core
from ._axes import axes_of
from ._checks import number
from ._core import Tensor

__all__ = [
    "addmm",
    "baddbmm",
    "cdist",
    "inner",
    "mm",
    "mv",
    "tensordot",
]


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


def tensordot(
    a: Tensor, b: Tensor, dims: int | Sequence[int] | Sequence[Sequence[int]] = 2
) -> Tensor:
    """Sum of products over axes of both; the other axes of `a`, then those of `b`, remain.

    Args:
        a: any shape; of the dtype of `b`.
        b: any shape.
        dims: how many, the last of `a` and the first of `b`; or the axes of `a` and those of `b`,
            as two lists.

    Raises:
        IndexError: there are no such axes.
        ValueError: dims is no such thing, or sizes differ.
    """
    if isinstance(dims, int):
        most = min(len(a.shape), len(b.shape))
        if not 0 <= dims <= most:
            raise ValueError(f"tensordot: dims must lie in [0, {most}], got {dims}")
        given: tuple[Sequence[int], Sequence[int]] = (
            range(len(a.shape) - dims, len(a.shape)),
            range(dims),
        )
    else:
        pair = [[entry] if isinstance(entry, int) else list(entry) for entry in dims]
        if len(pair) != 2 or len(pair[0]) != len(pair[1]):
            raise ValueError(f"tensordot: dims must be an int or two lists as long, got {dims}")
        given = (pair[0], pair[1])
    left = axes_of("tensordot", given[0], len(a.shape))
    right = axes_of("tensordot", given[1], len(b.shape))
    for i, j in zip(left, right, strict=True):
        if a.shape[i] != b.shape[j]:
            raise ValueError(
                f"tensordot: axis {i} of a {tuple(a.shape)} and axis {j} of b {tuple(b.shape)} "
                "differ in size"
            )
    rows = [i for i in range(len(a.shape)) if i not in left]
    columns = [j for j in range(len(b.shape)) if j not in right]
    shape = [a.shape[i] for i in rows] + [b.shape[j] for j in columns]
    summed = _count(a, left)
    factor = _core.permute(a, [*rows, *left]).reshape(_count(a, rows), summed)
    other = _core.permute(b, [*right, *columns]).reshape(summed, _count(b, columns))
    return _core.matmul(factor, other).reshape(shape)


def _count(tensor: Tensor, axes: Sequence[int]) -> int:
    return math.prod(tensor.shape[axis] for axis in axes)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """Sum of products over the last axis of both, (..., N) and (..., N); scalars multiply."""
    if not input.shape or not other.shape:
        return _core.mul(input, other)
    if input.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"inner: the last axes of input {tuple(input.shape)} and other {tuple(other.shape)} "
            "differ in size"
        )
    return tensordot(input, other, ([-1], [-1]))


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """Distances of all pairs of vectors, (..., P, M) and (..., R, M): (..., P, R).

    They are norms of differences, exact for vectors near each other; the differences take P R M
    elements of memory. Where vectors are equal the gradient is 0.

    Args:
        x1: floating.
        x2: of the same dtype; axes before the last two are broadcast.
        p: of the norm, 0 or more; inf for the largest difference.

    Raises:
        TypeError: x1 or x2 is not floating.
        ValueError: a shape does not fit, or p is negative.
    """
    for name, x in (("x1", x1), ("x2", x2)):
        if not x.dtype.is_floating_point:
            raise TypeError(f"cdist: {name} must be floating, got {x.dtype.name}")
        if len(x.shape) < 2:
            raise ValueError(f"cdist: {name} must have at least 2 axes, got {tuple(x.shape)}")
    if x1.shape[-1] != x2.shape[-1]:
        raise ValueError(
            f"cdist: x1 {tuple(x1.shape)} and x2 {tuple(x2.shape)} must have as many columns"
        )
    if not number("cdist", "p", p) >= 0:
        raise ValueError(f"cdist: p must not be negative, got {p}")
    difference = x1.unsqueeze(-2) - x2.unsqueeze(-3)
    if not difference.shape[-1]:
        return difference.sum(-1)
    return _core.norm(difference, p, -1)
