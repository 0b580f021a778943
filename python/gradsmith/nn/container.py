"""Containers of modules: Sequential, ModuleList, ModuleDict."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, overload

from .activation import GELU, ReLU, Sigmoid, SiLU, Tanh
from .conv import Conv2d
from .linear import Linear
from .module import Module

__all__ = ["ModuleDict", "ModuleList", "Sequential"]


class _Ordered(Module):
    """Modules under the names "0", "1", ...; what Sequential and ModuleList share."""

    def _child(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: index {index} out of range for {len(self)}")
        return list(self._modules)[index]

    def _items(self) -> list[Module]:
        return [module for module in self._modules.values() if module is not None]

    def __len__(self) -> int:
        """Count the modules."""
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        """Iterate in order."""
        return iter(self._items())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Module:
        """Return one module, or a container of the same kind over a slice (modules shared)."""
        items = self._items()
        if isinstance(index, slice):
            return self._of(list(self._modules.items())[index])
        self._child(index)
        return items[index]

    @classmethod
    def _of(cls, named: list[tuple[str, Any]]) -> Self:
        make: Any = cls
        return make(module for _, module in named)

    def __setitem__(self, index: int, module: Module) -> None:
        """Replace one module."""
        setattr(self, self._child(index), module)

    def __delitem__(self, index: int | slice) -> None:
        """Remove modules; later ones move up."""
        items = self._items()
        if isinstance(index, int):
            self._child(index)
        del items[index]
        self._modules.clear()
        for module in items:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        # A slice of a Sequential keeps its names, so the next number may be taken.
        numbers = map(str, itertools.count(len(self)))
        self.add_module(next(name for name in numbers if name not in self._modules), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Insert before `index`, as `list.insert` does."""
        items = self._items()
        items.insert(index, module)
        self._modules.clear()
        return self.extend(items)

    def pop(self, index: int) -> Module:
        """Remove one module and return it; later ones move up."""
        module = self[index]
        del self[index]
        return module

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end."""
        return self.extend(modules)


# Layers whose product takes an activation along, and the activations (by the op's name for them).
# Exactly these classes: a class of the user's may compute something else.
_FUSING: dict[type, Callable[[Any, Any, str], Any]] = {
    Linear: Linear.forward_activated,
    Conv2d: Conv2d.forward_activated,
}
_FUSED: dict[type, Callable[[Any], str]] = {
    ReLU: lambda _: "relu",
    Sigmoid: lambda _: "sigmoid",
    Tanh: lambda _: "tanh",
    SiLU: lambda _: "silu",
    GELU: lambda module: "gelu" if module.approximate == "none" else "gelu_tanh",
}


def _plain(module: Any) -> bool:
    """Say whether calling the module is running its class's `forward`, and nothing else."""
    own = module.__dict__
    return not (
        own["_forward_pre_hooks"]
        or own["_forward_hooks"]
        or own["_backward_pre_hooks"]
        or own["_backward_hooks"]
        or "forward" in own
    )


class Sequential(_Ordered):
    """Feeds the input through its modules in order.

    A Linear or Conv2d and the ReLU, Sigmoid, Tanh, SiLU or GELU after it run as one op, unless one
    of the two has hooks.

    Args:
        *modules: the modules, or one mapping from names to modules.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        """Register the modules."""
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            self.extend(modules)  # type: ignore[arg-type]

    @classmethod
    def _of(cls, named: list[tuple[str, Any]]) -> Self:
        return cls(dict(named))

    def __add__(self, other: Sequential) -> Sequential:
        """Return a Sequential of the modules of both, shared and numbered anew."""
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def forward(self, input: Any) -> Any:
        """Apply the modules one after the other."""
        waiting: Any = None  # a layer that applies the activation after it, if one comes
        apply: Any = None  # what runs it
        for module in self._modules.values():
            kind = type(module)
            if waiting is not None:
                activation = _FUSED.get(kind)
                if activation is not None and _plain(module):
                    input, waiting = apply(waiting, input, activation(module)), None
                    continue
                input, waiting = apply(waiting, input, "none"), None
            apply = _FUSING.get(kind)
            if apply is not None and _plain(module):
                waiting = module
            else:
                input = module(input)  # type: ignore[misc]
        return input if waiting is None else apply(waiting, input, "none")


class ModuleList(_Ordered):
    """A list whose modules are registered; it has no `forward`.

    Args:
        modules: the first modules.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        """Register the modules."""
        super().__init__()
        self.extend(modules or ())

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        """Return a ModuleList of the modules of both, shared."""
        return ModuleList([*self, *other])


class ModuleDict(Module):
    """A dictionary whose modules are registered; it has no `forward`.

    Args:
        modules: a mapping, or pairs, from names to modules.
    """

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        """Register the modules."""
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace several modules."""
        pairs = modules.items() if isinstance(modules, Mapping) else modules
        for name, module in pairs:
            self[name] = module

    def __getitem__(self, name: str) -> Module:
        """Return the module of that name."""
        module = self._modules[name]
        assert module is not None
        return module

    def __setitem__(self, name: str, module: Module) -> None:
        """Add or replace a module."""
        self.add_module(name, module)

    def __delitem__(self, name: str) -> None:
        """Remove a module."""
        del self._modules[name]

    def pop(self, name: str) -> Module:
        """Remove a module and return it."""
        module = self[name]
        del self[name]
        return module

    def __len__(self) -> int:
        """Count the modules."""
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._modules)

    def __contains__(self, name: object) -> bool:
        """Say whether a module of that name is registered."""
        return name in self._modules

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return [self[name] for name in self]

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return names and modules."""
        return [(name, self[name]) for name in self]
