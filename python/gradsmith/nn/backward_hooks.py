"""What calls a module's backward hooks: an identity before its forward, and one behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradsmith import _core
from gradsmith._core import Tensor
from gradsmith.autograd import Function, FunctionContext

if TYPE_CHECKING:
    from .module import Module

__all__ = ["BackwardWatch"]

Gradients = tuple[Tensor | None, ...]


class BackwardWatch:
    """Watches the gradients of one call of a module: of its outputs first, then of its inputs."""

    def __init__(self, module: Module) -> None:
        """Start to watch a call."""
        self._module = module
        self._inputs_watched = False
        self._input_count = 0
        self._grad_output: Gradients | None = None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments of `forward`; those that require grad pass through an identity."""
        self._input_count = len(args)
        passed, self._inputs_watched = _through(args, self._leave_backward)
        return passed

    def leave(self, output: Any) -> Any:
        """Return the output, a tensor or the tensors of a tuple through an identity."""
        if not isinstance(output, (Tensor, tuple, list)):
            raise TypeError(
                f"{type(self._module).__name__}: backward hooks need outputs that are a tensor or "
                f"a tuple, got {type(output).__name__}"
            )
        parts = (output,) if isinstance(output, Tensor) else tuple(output)
        passed, _ = _through(parts, self._enter_backward)
        if isinstance(output, Tensor):
            return passed[0]
        named = hasattr(output, "_fields")
        return type(output)(*passed) if named else type(output)(passed)

    def _enter_backward(self, grads: Gradients) -> Gradients:
        for pre_hook in tuple(self._module._backward_pre_hooks.values()):
            grads = self._replaced(grads, pre_hook(self._module, grads))
        self._grad_output = grads
        if not self._inputs_watched:  # backward ends here: no input requires grad
            for hook in tuple(self._module._backward_hooks.values()):
                if hook(self._module, (None,) * self._input_count, grads) is not None:
                    raise RuntimeError(
                        f"{type(self._module).__name__}: a backward hook must return None where "
                        "no input requires grad"
                    )
        return grads

    def _leave_backward(self, grads: Gradients) -> Gradients:
        if self._grad_output is None:  # the gradient came past the outputs
            return grads
        for hook in tuple(self._module._backward_hooks.values()):
            grads = self._replaced(grads, hook(self._module, grads, self._grad_output))
        return grads

    def _replaced(self, grads: Gradients, given: Any) -> Gradients:
        if given is None:
            return grads
        changed = given if isinstance(given, (tuple, list)) else (given,)
        if len(changed) != len(grads):
            raise RuntimeError(
                f"{type(self._module).__name__}: a backward hook returned {len(changed)} "
                f"gradients for {len(grads)}"
            )
        for grad, new in zip(grads, changed, strict=True):
            if new is not None and not isinstance(new, Tensor):
                raise TypeError(
                    f"{type(self._module).__name__}: a backward hook must return tensors or None, "
                    f"got {type(new).__name__}"
                )
            if grad is not None and new is not None and new.shape != grad.shape:
                raise RuntimeError(
                    f"{type(self._module).__name__}: a backward hook returned a gradient of shape "
                    f"{tuple(new.shape)} in place of {tuple(grad.shape)}"
                )
        return tuple(changed)


def _through(values: tuple[Any, ...], called: Any) -> tuple[tuple[Any, ...], bool]:
    """Pass tensors that require grad through an identity; say whether there were any."""
    places = [i for i, v in enumerate(values) if isinstance(v, Tensor) and v.requires_grad]
    if not places or not _core.is_grad_enabled():
        return values, False
    count = len(values)  # the rule, which lives until backward, must not keep the values

    def rule(grads: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
        packed: list[Tensor | None] = [None] * count
        for place, grad in zip(places, grads, strict=True):
            packed[place] = grad
        changed = called(tuple(packed))
        return tuple(changed[place] for place in places)

    passed = list(values)
    watched = _Identity.apply(rule, *(values[place] for place in places))
    for place, tensor in zip(places, watched, strict=True):
        passed[place] = tensor
    return tuple(passed), True


class _Identity(Function):
    """Hands tensors on, and their gradients through a function."""

    @staticmethod
    def forward(ctx: FunctionContext, rule: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.rule = rule  # type: ignore[attr-defined]
        return tuple(tensor.detach() for tensor in tensors)

    @staticmethod
    def backward(ctx: FunctionContext, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *ctx.rule(grads))  # type: ignore[attr-defined]
