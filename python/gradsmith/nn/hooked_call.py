"""A module's call with hooks around its forward."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, Any

from gradsmith._hooks import RemovableHandle

from .backward_hooks import BackwardWatch

if TYPE_CHECKING:
    from .module import Module

__all__ = ["add_hook", "call_hooked"]

_hook_ids = itertools.count()


def add_hook(
    module: Module, hooks: dict[int, Any], hook: Any, prepend: bool, *marks: set[int]
) -> RemovableHandle:
    """Add a hook, and its number to the sets that say how it is called."""
    in_use = (
        module._forward_pre_hooks,
        module._forward_hooks,
        module._backward_pre_hooks,
        module._backward_hooks,
        module._hooks_with_kwargs,
        module._hooks_always_called,
    )
    # A module that was unpickled has hooks with numbers of another process.
    key = next(key for key in _hook_ids if not any(key in numbers for numbers in in_use))
    later = dict(hooks) if prepend else {}
    if prepend:
        hooks.clear()
    hooks[key] = hook
    hooks.update(later)
    for mark in marks:
        mark.add(key)

    def remove() -> None:
        hooks.pop(key, None)
        for mark in marks:
            mark.discard(key)

    return RemovableHandle(remove)


def call_hooked(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a module's `forward` between its hooks."""
    output: Any = None
    hooks = module._forward_hooks.items()
    waiting = {key: hook for key, hook in hooks if key in module._hooks_always_called}
    try:
        for key, pre_hook in tuple(module._forward_pre_hooks.items()):
            args, kwargs = _before(module, key, pre_hook, args, kwargs)
        watch = None
        if module._backward_pre_hooks or module._backward_hooks:
            watch = BackwardWatch(module)
            args = watch.enter(args)
        output = module.forward(*args, **kwargs)
        for key, hook in tuple(module._forward_hooks.items()):
            waiting.pop(key, None)
            output = _after(module, key, hook, args, kwargs, output)
        return output if watch is None else watch.leave(output)
    except Exception:
        for key, hook in waiting.items():
            try:
                output = _after(module, key, hook, args, kwargs, output)
            except Exception as error:  # the first error is the one to be seen
                warnings.warn(
                    f"{type(module).__name__}: a forward hook, called after an error, failed too: "
                    f"{error!r}",
                    stacklevel=3,
                )
        raise


def _before(
    module: Module, key: int, hook: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Call a hook; return the arguments that it leaves."""
    if key not in module._hooks_with_kwargs:
        changed = hook(module, args)
        if changed is not None:
            args = changed if isinstance(changed, tuple) else (changed,)
        return args, kwargs
    changed = hook(module, args, kwargs)
    if changed is None:
        return args, kwargs
    if not isinstance(changed, tuple) or len(changed) != 2:
        raise RuntimeError(
            f"{type(module).__name__}: a forward pre-hook with keyword arguments must return None "
            f"or (args, kwargs), got {type(changed).__name__}"
        )
    return changed


def _after(
    module: Module,
    key: int,
    hook: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any,
) -> Any:
    """Call a hook; return the output that it leaves."""
    given = (args, kwargs) if key in module._hooks_with_kwargs else (args,)
    changed = hook(module, *given, output)
    return output if changed is None else changed
