"""Writing in place what a composed function gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import _core
from ._checks import tensor
from ._core import Tensor
from .autograd import no_grad

__all__ = ["written"]


def written(op: str, input: Tensor, compute: Callable[[], Tensor], **arguments: Any) -> Tensor:
    """Write the result of `compute` into the input, off the tape, and return the input.

    Raises:
        RuntimeError: the input, or one of the arguments it is computed from, requires grad.
        TypeError: the input is no tensor.
        ValueError: the input is expanded.
    """
    tensor(op, "input", input)
    if _core.is_grad_enabled():
        if input.requires_grad:
            raise RuntimeError(
                f"{op}: in-place change of a tensor that requires grad; use no_grad(), detach() or "
                "the function that returns a new tensor"
            )
        for name, value in arguments.items():
            if isinstance(value, Tensor) and value.requires_grad:
                raise RuntimeError(
                    f"{op}: argument '{name}' requires grad, but writing in place is not recorded"
                )
    if any(size > 1 and not step for size, step in zip(input.shape, input.stride(), strict=True)):
        raise ValueError(
            f"{op}: elements of an expanded tensor share memory and cannot be written; clone() it"
        )
    with no_grad():
        return input.copy_(compute())
