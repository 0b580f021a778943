"""HookHandle: takes a module hook off again."""

from __future__ import annotations

import itertools
from typing import Any

__all__ = ["HookHandle"]

_hook_ids = itertools.count()


class HookHandle:
    """Returned by the `register_*hook` methods; `remove()` unregisters the hook."""

    def __init__(self, hooks: dict[int, Any]) -> None:
        """Reserve a key in `hooks`."""
        self._hooks = hooks
        self.id = next(_hook_ids)

    def remove(self) -> None:
        """Unregister; calling it again does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> HookHandle:
        """Use as a context manager to hook for the length of a block."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Unregister at the end of the block."""
        self.remove()
