"""Products of matrices, composed of ops; most are methods too."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import _core
from ._axes import axes_of
from ._checks import dtypes_agree, number, scalar, tensor
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
    for name, x, rank in named:
        if len(tensor(op, name, x).shape) != rank:
            raise ValueError(f"{op}: {name} must have {rank} axes, got {tuple(x.shape)}")


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
    """Beta input + alpha mat1 mat2; where beta is 0 the input does not count, NaN or not.

    The input is broadcast to the product.
    """
    _ranks("addmm", ("mat1", mat1, 2), ("mat2", mat2, 2))
    return _added("addmm", input, _core.matmul(mat1, mat2), beta, alpha)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Beta input + alpha batch1 batch2, of matrices (B, N, K) and (B, K, M).

    The input is broadcast to the product.
    """
    _ranks("baddbmm", ("batch1", batch1, 3), ("batch2", batch2, 3))
    return _added("baddbmm", input, _core.bmm(batch1, batch2), beta, alpha)


def _added(op: str, input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    scalar(op, "beta", beta)
    scalar(op, "alpha", alpha)
    given, wanted = tuple(tensor(op, "input", input).shape), tuple(product.shape)
    # Aligned at the last axis; what the input lacks in front does not count.
    pairs = zip(reversed(given), reversed(wanted), strict=False)
    if len(given) > len(wanted) or any(size not in (1, target) for size, target in pairs):
        raise ValueError(f"{op}: input {given} cannot be broadcast to the product's shape {wanted}")
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
        TypeError: a or b is no tensor, their dtypes differ, or dims is no such thing.
        ValueError: dims are too many or lists of different lengths, or sizes differ.
    """
    tensor("tensordot", "a", a)
    dtypes_agree("tensordot", ("b", tensor("tensordot", "b", b)), ("a", a))
    given: Any = dims
    if np.iterable(given):
        pair = [list(entry) if np.iterable(entry) else [entry] for entry in given]
        if len(pair) != 2 or len(pair[0]) != len(pair[1]):
            raise ValueError(f"tensordot: dims must be an int or two lists as long, got {dims}")
    elif isinstance(given, bool) or not hasattr(given, "__index__"):
        kind = type(dims).__name__
        raise TypeError(f"tensordot: dims must be an int or two lists, got {kind}")
    else:
        count, most = operator.index(given), min(len(a.shape), len(b.shape))
        if not 0 <= count <= most:
            raise ValueError(f"tensordot: dims must lie in [0, {most}], got {dims}")
        pair = [list(range(len(a.shape) - count, len(a.shape))), list(range(count))]
    left = axes_of("tensordot", pair[0], len(a.shape))
    right = axes_of("tensordot", pair[1], len(b.shape))
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
    tensor("inner", "input", input)
    tensor("inner", "other", other)
    if not input.shape or not other.shape:
        return _core.mul(input, other)
    dtypes_agree("inner", ("other", other), ("input", input))
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
        TypeError: x1 or x2 is not floating, or their dtypes differ.
        ValueError: a shape does not fit, or p is negative.
    """
    for name, x in (("x1", x1), ("x2", x2)):
        if not tensor("cdist", name, x).dtype.is_floating_point:
            raise TypeError(f"cdist: {name} must be floating, got {x.dtype.name}")
        if len(x.shape) < 2:
            raise ValueError(f"cdist: {name} must have at least 2 axes, got {tuple(x.shape)}")
    dtypes_agree("cdist", ("x2", x2), ("x1", x1))
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
