"""Checks of numbers; errors name owner, argument, value and what is allowed."""

from __future__ import annotations

import contextlib
import math
import numbers
import operator

__all__ = ["finite", "integer", "nonnegative", "number", "positive"]


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
