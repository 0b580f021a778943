"""The tape: gradients of any order, switching recording off, ops with rules in Python."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from . import _core
from ._core import Tensor
from .testing import gradcheck, gradgradcheck

__all__ = [
    "Function",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "no_grad",
    "set_grad_enabled",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor, ...]:
    """Return the gradients of `sum(outputs * grad_outputs)` with respect to `inputs`.

    No `grad` attribute changes.

    Args:
        outputs: what is differentiated.
        inputs: leaves or intermediate tensors that require grad.
        grad_outputs: one per output, of its shape; None counts as 1 for a one-element output.
        retain_graph: keep what backward needs for another call; default: `create_graph`.
        create_graph: record the computation, so that the results can be differentiated again.
        allow_unused: give None for inputs that the outputs do not depend on instead of raising.

    Raises:
        RuntimeError: without a graph, after it was used up, or for an unused input.
    """
    return _core.grad(outputs, inputs, grad_outputs, retain_graph, create_graph, allow_unused)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """Add the gradients of `tensors` to the `grad` of the leaves; see `Tensor.backward`."""
    _core.backward(tensors, grad_tensors, retain_graph, create_graph)


class _Switch:
    """A context manager that sets one of the modes inside and puts it back afterwards."""

    _get = staticmethod(_core.is_grad_enabled)
    _set = staticmethod(_core.set_grad_enabled)
    _mode = True

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> Self:
        self._before.append(self._get())
        self._set(self._mode)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._set(self._before.pop())

    def _again(self) -> Self:
        # Calls of one decorated function may overlap, in threads or by recursion.
        fresh = copy.copy(self)
        fresh._before = []
        return fresh

    def __call__(self, function: _F) -> _F:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        @functools.wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with self._again():
                inner = function(*args, **kwargs)
            resume, given = inner.send, None
            while True:
                try:
                    with self._again():  # only while it runs, not while its caller does
                        value = resume(given)
                except StopIteration as end:
                    return end.value
                try:
                    resume, given = inner.send, (yield value)
                except GeneratorExit:
                    with self._again():
                        inner.close()
                    raise
                except BaseException as error:
                    resume, given = inner.throw, error

        return cast(_F, generator if inspect.isgeneratorfunction(function) else wrapped)


class _Bare(_Switch):
    """A switch that also decorates without parentheses."""

    def __new__(cls, function: Any = None) -> Any:
        return super().__new__(cls) if function is None else cls()(function)


class no_grad(_Bare):
    """Record nothing inside: `with no_grad():`, `@no_grad()` or `@no_grad`."""

    _mode = False


class enable_grad(_Bare):
    """Record inside, also within `no_grad`."""


class set_grad_enabled(_Switch):
    """Switch recording on or off for the current thread, at once; as a context, until its end.

    As a decorator it switches for the calls of the function only.
    """

    def __init__(self, mode: bool) -> None:
        super().__init__()
        if not isinstance(mode, bool):
            raise TypeError(
                f"set_grad_enabled: argument 'mode' must be a bool, got {type(mode).__name__}"
            )
        self._mode = mode
        super().__enter__()
        self._entered = True

    def __enter__(self) -> Self:
        if self._entered:
            self._entered = False
            return self
        return super().__enter__()

    def __call__(self, function: _F) -> _F:
        """Decorate, and put the mode of this thread back at once."""
        if self._entered:
            self._entered = False
            self._set(self._before.pop())
        return super().__call__(function)


class detect_anomaly(_Switch):
    """Raise a RuntimeError that names the op when it, or its backward, produces NaN."""

    _get = staticmethod(_core.is_anomaly_enabled)
    _set = staticmethod(_core.set_anomaly_enabled)


class FunctionContext:
    """What `forward` leaves for `backward`: saved tensors; the rest as attributes."""

    needs_input_grad: tuple[bool, ...]

    def __init__(self) -> None:
        # Tensors with their versions; once recorded, numbers in place of outputs, which the node
        # keeps and hands out while `backward` runs.
        self._saved: tuple[tuple[Tensor | int, int], ...] = ()
        self._outputs: dict[int, Tensor] = {}

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep inputs or outputs; changing one in place before backward is an error."""
        self._saved = tuple((t, t._version) for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """The tensors given to `save_for_backward`."""
        tensors = []
        for saved, version in self._saved:
            tensor = self._outputs[saved] if isinstance(saved, int) else saved
            if tensor._version != version:
                raise RuntimeError(
                    f"Function: a saved tensor of shape {tensor.shape} was changed in place"
                )
            tensors.append(tensor)
        return tuple(tensors)


class Function:
    """An op whose forward and backward are written in Python::

        class Cube(gs.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x ** 3

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return 3 * x * x * g

        y = Cube.apply(x)

    `backward` returns one gradient, or None, per argument of `forward`. Written with tensor ops on
    saved *inputs*, it can itself be differentiated.
    """

    @staticmethod
    def forward(ctx: FunctionContext, *args: Any) -> Any:
        """Compute the result; nothing inside is recorded."""
        raise TypeError("Function: forward must be defined by the subclass")

    @staticmethod
    def backward(ctx: FunctionContext, *grads: Tensor) -> Any:
        """Return the gradients of the arguments of `forward`."""
        raise TypeError("Function: backward must be defined by the subclass")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` and record `backward` where an argument requires grad."""
        ctx = FunctionContext()
        places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        tensors = tuple(args[i] for i in places)
        ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        with no_grad():
            result = cls.forward(ctx, *args)
        single = isinstance(result, Tensor)
        outputs = (result,) if single else tuple(result)
        if not (_core.is_grad_enabled() and any(ctx.needs_input_grad)):
            return result

        numbers = {id(output): i for i, output in enumerate(outputs)}
        for t in tensors:
            numbers.pop(id(t), None)  # an input that is handed on is saved as the input
        ctx._saved = tuple((numbers.get(id(t), t), v) for t, v in ctx._saved)
        kept = sorted({saved for saved, _ in ctx._saved if isinstance(saved, int)})

        def rule(kept_outputs: tuple[Tensor, ...], *grads: Tensor) -> tuple[Tensor | None, ...]:
            ctx._outputs = dict(zip(kept, kept_outputs, strict=True))
            try:
                values = cls.backward(ctx, *grads)
            finally:
                ctx._outputs = {}
            values = values if isinstance(values, tuple) else (values,)
            if len(values) != len(args):
                raise RuntimeError(
                    f"{cls.__name__}.backward returned {len(values)} values "
                    f"for {len(args)} arguments"
                )
            return tuple(values[i] for i in places)

        recorded = _core.record_function(cls.__name__, outputs, tensors, rule, kept)
        return recorded[0] if single else recorded
