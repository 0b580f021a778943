"""RemovableHandle: takes a hook off again, of a tensor or of a module."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["RemovableHandle"]


class RemovableHandle:
    """Returned by the `register_*hook` methods; `remove()` unregisters the hook."""

    def __init__(self, remove: Callable[[], object]) -> None:
        """Store what unregisters; a second call of it must do nothing."""
        self._remove = remove

    def remove(self) -> None:
        """Unregister; calling it again does nothing."""
        self._remove()

    def __enter__(self) -> RemovableHandle:
        """Use as a context manager to hook for the length of a block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Unregister at the end of the block."""
        self.remove()
