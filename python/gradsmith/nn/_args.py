"""Argument checks of the layers; errors name layer, argument, value and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradsmith import _core
from gradsmith._checks import integer, number
from gradsmith._core import Tensor

__all__ = [
    "as_index",
    "choice",
    "conv_padding",
    "pair",
    "positive_int",
    "probability",
    "sides",
    "single",
    "sizes",
    "spatial",
    "spatial_size",
    "triple",
]


def positive_int(layer: str, name: str, value: Any, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`."""
    whole = integer(layer, name, value)
    if whole < minimum:
        raise ValueError(f"{layer}: {name} must be at least {minimum}, got {whole}")
    return whole


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


def triple(layer: str, name: str, value: Any, minimum: int = 1) -> tuple[int, int, int]:
    """Return an int (used thrice) or three ints as a tuple of three."""
    return _ints(layer, name, value, 3, minimum)  # type: ignore[return-value]


def sizes(axes: int) -> Callable[..., tuple[int, ...]]:
    """Return `single`, `pair` or `triple`, by the number of spatial axes."""
    return (single, pair, triple)[axes - 1]


def sides(padding: tuple[int, ...], axes: int) -> tuple[int, ...]:
    """Return (before, after) of every axis, for a padding that names each axis once or twice."""
    if len(padding) == 2 * axes:
        return padding
    return tuple(value for value in padding for _ in range(2))


def probability(layer: str, name: str, value: float) -> float:
    """Return a number in [0, 1]."""
    if not 0 <= number(layer, name, value) <= 1:
        raise ValueError(f"{layer}: {name} must lie in [0, 1], got {value}")
    return float(value)


def choice(layer: str, name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return one of a few strings."""
    if value not in allowed:
        raise ValueError(f"{layer}: {name} must be one of {', '.join(allowed)}; got {value!r}")
    return value


def dense_gradient(layer: str, sparse: bool) -> None:
    """Refuse gradients of a table that hold only the rows looked up."""
    if sparse:
        raise ValueError(f"{layer}: sparse must be False, gradients are dense; got {sparse!r}")


def conv_padding(
    layer: str,
    padding: str,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """Return the zeros that "same" or "valid" stands for."""
    if choice(layer, "padding", padding, ("same", "valid")) == "valid":
        return (0,) * len(kernel_size)
    if any(s != 1 for s in stride):
        raise ValueError(f"{layer}: padding 'same' needs stride 1, got {stride}")
    totals = [d * (k - 1) for k, d in zip(kernel_size, dilation, strict=True)]
    if all(total % 2 == 0 for total in totals):
        return tuple(total // 2 for total in totals)
    # Before and after each axis; the odd zero goes behind.
    return tuple(side for total in totals for side in (total // 2, total - total // 2))


def spatial_size(input: Tensor, output_size: Any, axes: int = 2) -> Any:
    """Put the input's sizes in place of None in the output size of an adaptive pooling."""
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
    if None not in sizes or not isinstance(input, Tensor) or len(input.shape) < axes:
        return output_size  # the op says what is wrong, if anything is
    return tuple(
        own if size is None else size for own, size in zip(input.shape[-axes:], sizes, strict=False)
    )


def spatial(op: str, input: Tensor, axes: int) -> None:
    """Raise unless `input` is (N, C, ...) with so many axes behind, or (C, ...) of one sample."""
    layout = ", ".join(("L",) if axes == 1 else ("D", "H", "W")[-axes:])
    if not isinstance(input, Tensor):
        raise TypeError(f"{op}: argument 'input' must be a Tensor, got {type(input).__name__}")
    if len(input.shape) - axes not in (1, 2):
        raise ValueError(
            f"{op}: input must be (N, C, {layout}) or (C, {layout}), got {tuple(input.shape)}"
        )


def as_index(tensor: Tensor) -> Tensor:
    """Widen small integers to the int64 that the ops take as indices."""
    if not isinstance(tensor, Tensor) or tensor.dtype is _core.int64:
        return tensor  # the op names what is no tensor
    return tensor.to(_core.int64) if tensor.dtype in (_core.int32, _core.uint8) else tensor
