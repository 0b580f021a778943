"""Padding layers: constant, zero, reflected, replicated and circular borders."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith._checks import number
from gradsmith._core import Tensor

from . import functional
from ._args import spatial
from .module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


def _widths(layer: str, padding: Any, count: int) -> tuple[int, ...]:
    values = padding if isinstance(padding, (tuple, list)) else (padding,) * count
    if len(values) != count:
        raise ValueError(f"{layer}: padding must be an int or {count} ints, got {padding!r}")
    for value in values:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise TypeError(f"{layer}: padding must be ints, got {type(value).__name__}")
    return tuple(int(value) for value in values)


class _Pad(Module):
    """What the padding layers share; negative widths crop.

    Args:
        padding: one width for all sides, or (before, after) of the last axis, then of the one
            before it, and so on.
    """

    _axes: ClassVar[int]
    _mode: ClassVar[str] = "constant"

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        """Check and store the widths."""
        super().__init__()
        self.padding = _widths(type(self).__name__, padding, 2 * self._axes)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        if self._mode != "constant":
            spatial(type(self).__name__, input, self._axes)
        return functional.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        """Show the widths."""
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """A border of one value.

    Args:
        padding: as above.
        value: what the border holds.
    """

    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        """Check and store the settings."""
        super().__init__(padding)
        self.value = number(type(self).__name__, "value", value)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_ConstantPad):
    def __init__(self, padding: int | tuple[int, ...]) -> None:
        """Check and store the widths."""
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        """Show the widths."""
        return f"{self.padding}"


class ConstantPad1d(_ConstantPad):
    """A border of `value`, of the last axis; `padding` is an int or (left, right)."""

    _axes = 1


class ConstantPad2d(_ConstantPad):
    """A border of `value`, of the last two axes.

    `padding` is an int or (left, right, top, bottom).
    """

    _axes = 2


class ConstantPad3d(_ConstantPad):
    """A border of `value`, of the last three axes.

    `padding` is an int or (left, right, top, bottom, front, back).
    """

    _axes = 3


class ZeroPad1d(_ZeroPad):
    """A border of zeros, of the last axis; `padding` is an int or (left, right)."""

    _axes = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros, of the last two axes.

    `padding` is an int or (left, right, top, bottom).
    """

    _axes = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros, of the last three axes.

    `padding` is an int or (left, right, top, bottom, front, back).
    """

    _axes = 3


class ReflectionPad1d(_Pad):
    """A border that mirrors the inside, without repeating the edge, of (N, C, L) or (C, L).

    `padding` is an int or (left, right).
    """

    _axes = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """A border that mirrors the inside, without repeating the edge, of (N, C, H, W) or (C, H, W).

    `padding` is an int or (left, right, top, bottom).
    """

    _axes = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """A border that mirrors the inside without the edge, of (N, C, D, H, W) or (C, D, H, W).

    `padding` is an int or (left, right, top, bottom, front, back).
    """

    _axes = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """A border that repeats the edge, of (N, C, L) or (C, L).

    `padding` is an int or (left, right).
    """

    _axes = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """A border that repeats the edge, of (N, C, H, W) or (C, H, W).

    `padding` is an int or (left, right, top, bottom).
    """

    _axes = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """A border that repeats the edge, of (N, C, D, H, W) or (C, D, H, W).

    `padding` is an int or (left, right, top, bottom, front, back).
    """

    _axes = 3
    _mode = "replicate"


class CircularPad1d(_Pad):
    """A border that continues at the opposite side, of (N, C, L) or (C, L).

    `padding` is an int or (left, right).
    """

    _axes = 1
    _mode = "circular"


class CircularPad2d(_Pad):
    """A border that continues at the opposite side, of (N, C, H, W) or (C, H, W).

    `padding` is an int or (left, right, top, bottom).
    """

    _axes = 2
    _mode = "circular"


class CircularPad3d(_Pad):
    """A border that continues at the opposite side, of (N, C, D, H, W) or (C, D, H, W).

    `padding` is an int or (left, right, top, bottom, front, back).
    """

    _axes = 3
    _mode = "circular"
