"""Containers of parameters: ParameterList, ParameterDict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from gradsmith._core import Tensor

from .module import Module
from .parameter import Parameter

__all__ = ["ParameterDict", "ParameterList"]


class _Parameters(Module):
    """Parameters by name: what the two share; plain tensors become parameters."""

    def _put(self, name: str, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{type(self).__name__}: values must be tensors, got {type(value).__name__}"
            )
        self.register_parameter(name, value if isinstance(value, Parameter) else Parameter(value))

    def _get(self, name: str) -> Parameter:
        param = self._parameters[name]
        assert param is not None
        return param

    def __len__(self) -> int:
        """Count the parameters."""
        return len(self._parameters)

    def extra_repr(self) -> str:
        """Show names, dtypes and shapes."""
        return ", ".join(
            f"({name}): {self._get(name).dtype.name} {tuple(self._get(name).shape)}"
            for name in self._parameters
        )


class ParameterList(_Parameters):
    """A list whose parameters are registered, under the names "0", "1", ...

    Args:
        values: the first parameters; plain tensors become parameters.
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        """Register the parameters."""
        super().__init__()
        self.extend(values or ())

    def _name(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(f"ParameterList: index {index} out of range for {len(self)}")
        return str(index % len(self))

    def __getitem__(self, index: int | slice) -> Parameter | ParameterList:
        """Return one parameter, or a list of a slice (parameters shared)."""
        if isinstance(index, slice):
            return ParameterList(list(self)[index])
        return self._get(self._name(index))

    def __setitem__(self, index: int, value: Tensor) -> None:
        """Replace one parameter."""
        self._put(self._name(index), value)

    def __iter__(self) -> Iterator[Parameter]:
        """Iterate in order."""
        return iter([self._get(name) for name in self._parameters])

    def append(self, value: Tensor) -> Self:
        """Add a parameter at the end."""
        self._put(str(len(self)), value)
        return self

    def extend(self, values: Iterable[Tensor]) -> Self:
        """Add several parameters at the end."""
        for value in values:
            self.append(value)
        return self


class ParameterDict(_Parameters):
    """A dictionary whose parameters are registered.

    Args:
        parameters: a mapping, or pairs, from names to parameters; plain tensors become parameters.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]] | None = None
    ) -> None:
        """Register the parameters."""
        super().__init__()
        self.update(parameters or {})

    def update(self, parameters: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]) -> None:
        """Add or replace several parameters."""
        pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
        for name, value in pairs:
            self[name] = value

    def __getitem__(self, name: str) -> Parameter:
        """Return the parameter of that name."""
        return self._get(name)

    def __setitem__(self, name: str, value: Tensor) -> None:
        """Add or replace a parameter."""
        self._put(name, value)

    def __delitem__(self, name: str) -> None:
        """Remove a parameter."""
        del self._parameters[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._parameters)

    def __contains__(self, name: object) -> bool:
        """Say whether a parameter of that name is registered."""
        return name in self._parameters

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._parameters.keys()

    def values(self) -> Iterable[Parameter]:
        """Return the parameters."""
        return [self[name] for name in self]

    def items(self) -> Iterable[tuple[str, Parameter]]:
        """Return names and parameters."""
        return [(name, self[name]) for name in self]
