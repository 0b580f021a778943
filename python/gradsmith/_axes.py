"""Which axes the `dim` of a call names."""

from __future__ import annotations

from collections.abc import Sequence

from ._checks import integer, tensor
from ._core import Tensor

__all__ = [
    "Dims",
    "axes_of",
    "axis_of",
    "with_axis",
]


Dims = int | Sequence[int]


def axis_of(op: str, dim: int, rank: int) -> int:
    """Return the axis that `dim` names, from 0."""
    dim = integer(op, "dim", dim)
    if not -rank <= dim < rank:
        raise IndexError(f"{op}: dim {dim} out of range for {rank} axes")
    return dim % rank


def with_axis(op: str, input: Tensor, dim: int) -> tuple[Tensor, int]:
    """Return the input, a scalar as a vector of one, and the axis that `dim` names in it."""
    tensor(op, "input", input)
    x = input if input.shape else input.reshape(1)
    return x, axis_of(op, dim, len(x.shape))


def axes_of(op: str, dims: Dims, rank: int) -> list[int]:
    """Return the axes that `dims` name, from 0, all different."""
    given = [dims] if isinstance(dims, int) else list(dims)
    found = [axis_of(op, dim, rank) for dim in given]
    if len(set(found)) != len(found):
        raise ValueError(f"{op}: an axis appears twice in {tuple(given)}")
    return found
