"""Argument checks of the layers; errors name layer, argument, value and what is allowed."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["choice", "pair", "positive_int", "probability", "single"]


def positive_int(layer: str, name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{layer}: {name} must be an int, got {type(value).__name__}")
    number = int(value.__index__())
    if number < minimum:
        raise ValueError(f"{layer}: {name} must be at least {minimum}, got {number}")
    return number


def _ints(layer: str, name: str, value: Any, count: int, minimum: int) -> tuple[int, ...]:
    if isinstance(value, (tuple, list)):
        if len(value) != count:
            raise ValueError(f"{layer}: {name} must be an int or {count} ints, got {value!r}")
        return tuple(positive_int(layer, name, item, minimum) for item in value)
    return (positive_int(layer, name, value, minimum),) * count


def single(layer: str, name: str, value: Any, minimum: int = 1) -> tuple[int]:
    """Return an int, or a sequence of one, as a tuple of one."""
    return _ints(layer, name, value, 1, minimum)  # type: ignore[return-value]


def pair(layer: str, name: str, value: Any, minimum: int = 1) -> tuple[int, int]:
    """Return an int (used twice) or two ints as a tuple of two."""
    return _ints(layer, name, value, 2, minimum)  # type: ignore[return-value]


def probability(layer: str, name: str, value: float) -> float:
    """Return a number in [0, 1]."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{layer}: {name} must be a number, got {type(value).__name__}")
    if math.isnan(value) or not 0 <= value <= 1:
        raise ValueError(f"{layer}: {name} must lie in [0, 1], got {value}")
    return float(value)


def choice(layer: str, name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return one of a few strings."""
    if value not in allowed:
        raise ValueError(f"{layer}: {name} must be one of {', '.join(allowed)}; got {value!r}")
    return value
