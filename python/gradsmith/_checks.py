"""Checks of arguments; errors name owner, argument, value and what is allowed."""

from __future__ import annotations

import contextlib
import math
import numbers
import operator
from typing import Any

import numpy as np

from ._core import Tensor

__all__ = [
    "dtypes_agree",
    "finite",
    "integer",
    "nonnegative",
    "number",
    "positive",
    "scalar",
    "tensor",
]


def tensor(owner: str, name: str, value: Tensor) -> Tensor:
    """Return a tensor; lists and numbers are none."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{owner}: {name} must be a Tensor, got {type(value).__name__}")
    return value


def dtypes_agree(owner: str, first: tuple[str, Tensor], second: tuple[str, Tensor]) -> None:
    """Refuse two tensors, given with their names, of different dtypes."""
    (name, value), (other, model) = first, second
    if value.dtype is not model.dtype:
        raise TypeError(
            f"{owner}: {name} is {value.dtype.name}, {other} {model.dtype.name}; "
            "the dtypes must agree"
        )


def scalar(owner: str, name: str, value: Any) -> float | Tensor:
    """Return a number, a truth value or a tensor of no axes."""
    if isinstance(value, Tensor):
        if value.shape:
            raise ValueError(f"{owner}: {name} must be a number, got shape {tuple(value.shape)}")
    elif not isinstance(value, (numbers.Real, np.bool_)):
        kind = type(value).__name__
        raise TypeError(f"{owner}: {name} must be a Tensor or a number, got {kind}")
    return value


def number(owner: str, name: str, value: float) -> float:
    """Return a real number; truth values are none."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: {name} must be a number, got {type(value).__name__}")
    return value


def integer(owner: str, name: str, value: int) -> int:
    """Return an int; truth values are none, NumPy's integers are some."""
    if not isinstance(value, bool):
        with contextlib.suppress(TypeError):  # an array of several numbers, say
            return int(operator.index(value))
    raise TypeError(f"{owner}: {name} must be an int, got {type(value).__name__}")


def finite(owner: str, name: str, value: float) -> float:
    """Return a number that is neither infinite nor NaN."""
    if not math.isfinite(number(owner, name, value)):
        raise ValueError(f"{owner}: {name} must be finite, got {value}")
    return value


def positive(owner: str, name: str, value: float) -> float:
    """Return a finite number above zero."""
    if not finite(owner, name, value) > 0:
        raise ValueError(f"{owner}: {name} must be positive, got {value}")
    return value


def nonnegative(owner: str, name: str, value: float) -> float:
    """Return a finite number that is not negative."""
    if not 0 <= number(owner, name, value) < math.inf:
        raise ValueError(f"{owner}: {name} must be finite and not negative, got {value}")
    return float(value)
