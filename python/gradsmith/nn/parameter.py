"""Parameter: the tensor type that a module registers and an optimizer updates."""

from __future__ import annotations

from typing import Any

from gradsmith._core import Tensor

__all__ = ["Parameter"]


class Parameter(Tensor):
    """A leaf tensor that a `Module` registers when it is assigned as an attribute.

    Args:
        data: the values; shared, not copied. Any floating dtype, any shape.
        requires_grad: whether `backward()` fills `grad`.

    Raises:
        TypeError: if `data` is not a tensor.
    """

    def __new__(cls, data: Tensor, requires_grad: bool = True) -> Parameter:
        """Wrap `data` without a copy."""
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor, got {type(data).__name__}")
        return Tensor._make_subclass(cls, data, bool(requires_grad))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """All work happens in `__new__`, which the base type needs."""

    def __repr__(self) -> str:
        """Mark the tensor's usual text as a parameter."""
        return f"Parameter containing:\n{super().__repr__()}"
