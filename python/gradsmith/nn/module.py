"""Module: a tree of parameters, buffers and sub-modules with a `forward`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Never, Self

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith._hooks import RemovableHandle

from .hooked_call import add_hook, call_hooked
from .parameter import Parameter
from .state import LoadReport, convert, load_state

if TYPE_CHECKING:
    from .summary import Summary

__all__ = ["Module"]

ForwardPreHook = Callable[..., Any]  # of module and args; of the keyword arguments too, if asked
ForwardHook = Callable[..., Any]  # the same, and the output
BackwardPreHook = Callable[["Module", tuple[Any, ...]], Any]
BackwardHook = Callable[["Module", tuple[Any, ...], tuple[Any, ...]], Any]
_REGISTRIES = (
    *("_parameters", "_buffers", "_modules"),
    *("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks"),
)


def _is_dtype_name(value: Any) -> bool:
    return isinstance(value, str) and isinstance(getattr(gs, value, None), gs.dtype)


class Module:
    """Base class of all layers and models.

    Assigning a `Parameter`, a `Module` or (after `register_buffer`) a tensor to an attribute
    registers it under that name; names join with dots into the keys of `state_dict()`.

    Example:
        >>> class Net(gs.nn.Module):
        ...     def __init__(self) -> None:
        ...         super().__init__()
        ...         self.fc = gs.nn.Linear(4, 2)
        ...     def forward(self, x):
        ...         return self.fc(x).relu()
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent: set[str]
    _forward_pre_hooks: dict[int, ForwardPreHook]
    _forward_hooks: dict[int, ForwardHook]
    _backward_pre_hooks: dict[int, BackwardPreHook]
    _backward_hooks: dict[int, BackwardHook]
    _hooks_with_kwargs: set[int]
    _hooks_always_called: set[int]

    def __init__(self, *args: Never, **kwargs: Never) -> None:
        """Create the empty registries; subclasses call this before they assign anything.

        It takes no arguments; any that a layer passes on are refused in that layer's name.
        """
        if args or kwargs:
            given = f"{len(args)} positional" if args else f"the keyword {next(iter(kwargs))!r}"
            raise TypeError(f"{type(self).__name__}: got unexpected arguments, {given}")
        for name in _REGISTRIES:
            object.__setattr__(self, name, {})
        for name in ("_non_persistent", "_hooks_with_kwargs", "_hooks_always_called"):
            object.__setattr__(self, name, set())
        object.__setattr__(self, "training", True)

    # -- calling -----------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` between the hooks."""
        if not (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_pre_hooks
            or self._backward_hooks
        ):
            return self.forward(*args, **kwargs)
        return call_hooked(self, args, kwargs)

    def register_forward_pre_hook(
        self, hook: ForwardPreHook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; a result replaces the arguments.

        Args:
            hook: what is called.
            prepend: before the hooks that are there already.
            with_kwargs: call `hook(module, args, kwargs)`, whose result is None or both.
        """
        marks = [self._hooks_with_kwargs] if with_kwargs else []
        return add_hook(self, self._forward_pre_hooks, hook, prepend, *marks)

    def register_forward_hook(
        self,
        hook: ForwardHook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after `forward`; a result replaces the output.

        Args:
            hook: what is called.
            prepend: before the hooks that are there already.
            with_kwargs: call `hook(module, args, kwargs, output)`.
            always_call: also where `forward` or another hook raises; the output may be None then.
        """
        marks = [self._hooks_with_kwargs] if with_kwargs else []
        marks += [self._hooks_always_called] if always_call else []
        return add_hook(self, self._forward_hooks, hook, prepend, *marks)

    def register_full_backward_pre_hook(
        self, hook: BackwardPreHook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_output)` before backward; a result replaces the gradients.

        `grad_output` is a tuple with the gradient of each output, None for what is no tensor.
        `prepend` puts it before the hooks that are there already.
        """
        return add_hook(self, self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(
        self, hook: BackwardHook, prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` after backward; a result replaces the first.

        Both are tuples: the gradient of each positional argument, None for those that do not
        require grad, and of each output. Outputs must be a tensor or a tuple. `prepend` puts it
        before the hooks that are there already.
        """
        return add_hook(self, self._backward_hooks, hook, prepend)

    # -- registration ------------------------------------------------------------------------

    def _check_name(self, kind: str, name: str, registry: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind}: name must be a str, got {type(name).__name__}")
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"call {type(self).__name__}'s super().__init__() before {kind}")
        if not name or "." in name:
            raise KeyError(f"{kind}: name must be non-empty and without dots, got {name!r}")
        if hasattr(self, name) and name not in registry:
            raise KeyError(f"{kind}: {type(self).__name__} already has an attribute {name!r}")

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Register a parameter, or None for one that is switched off (no bias)."""
        self._check_name("register_parameter", name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"register_parameter: {name!r} must be a Parameter or None, "
                f"got {type(param).__name__}"
            )
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Register a tensor that is state but no parameter; `persistent` puts it in state_dict."""
        self._check_name("register_buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer: {name!r} must be a Tensor or None, got {type(tensor).__name__}"
            )
        self._buffers[name] = tensor
        self._non_persistent.discard(name)
        if not persistent:
            self._non_persistent.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a sub-module."""
        self._check_name("add_module", name, self._modules)
        if module is not None and not isinstance(module, Module):
            raise TypeError(
                f"add_module: {name!r} must be a Module or None, got {type(module).__name__}"
            )
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """Register a sub-module, as `add_module` does."""
        self.add_module(name, module)

    def __setattr__(self, name: str, value: Any) -> None:
        """Register parameters and modules, update buffers, and store the rest as usual."""
        own = self.__dict__
        registries = [own.get("_parameters"), own.get("_modules"), own.get("_buffers")]
        if isinstance(value, (Parameter, Module)):
            target = registries[0 if isinstance(value, Parameter) else 1]
            if target is None:
                raise AttributeError(
                    f"call {type(self).__name__}'s super().__init__() before assigning {name!r}"
                )
            own.pop(name, None)
            for registry in registries:
                if registry is not None and registry is not target:
                    registry.pop(name, None)
            target[name] = value
            return
        for registry, allowed in zip(registries, ("Parameter", "Module", "Tensor"), strict=True):
            if registry is not None and name in registry:
                if value is not None and not (allowed == "Tensor" and isinstance(value, Tensor)):
                    raise TypeError(
                        f"{type(self).__name__}.{name} holds a {allowed}; "
                        f"cannot assign a {type(value).__name__}"
                    )
                registry[name] = value
                return
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Look the name up in the registries."""
        own = self.__dict__
        if "_parameters" in own:  # after __init__
            for entries in (own["_modules"], own["_parameters"], own["_buffers"]):
                if name in entries:
                    return entries[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        """Unregister or delete an attribute."""
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        """Include the registered names."""
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    # -- walking the tree ----------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield each direct sub-module once, with its name."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield each direct sub-module once."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, depth first, with dotted names.

        Each comes once, or with `remove_duplicate=False` under all of its names.
        """
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, once: bool
    ) -> Iterator[tuple[str, Tensor]]:
        seen: set[int] = set()
        owners = iter([(prefix, self)])
        if recurse:
            owners = self.named_modules(prefix=prefix, remove_duplicate=once)
        for owner, module in owners:
            for name, tensor in getattr(module, registry).items():
                if tensor is not None and not (once and id(tensor) in seen):
                    seen.add(id(tensor))
                    yield (f"{owner}.{name}" if owner else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield each parameter with its dotted name: once, or under all of its names."""
        found = self._named_members("_parameters", prefix, recurse, remove_duplicate)
        yield from found  # type: ignore[misc]

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield each parameter once."""
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield each buffer with its dotted name: once, or under all of its names."""
        yield from self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield each buffer once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """Return the module at a dotted path; AttributeError names the part that is missing."""
        module: Module = self
        for part in target.split(".") if target else ():
            child = module._modules.get(part)
            if child is None:
                raise AttributeError(
                    f"{type(module).__name__} has no sub-module {part!r} (path {target!r})"
                )
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter at a dotted path; AttributeError where there is none."""
        return self._get_member("_parameters", "parameter", target)  # type: ignore[return-value]

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer at a dotted path; AttributeError where there is none."""
        return self._get_member("_buffers", "buffer", target)

    def _get_member(self, registry: str, kind: str, target: str) -> Tensor:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        found: Tensor | None = getattr(module, registry).get(name)
        if found is None:
            raise AttributeError(
                f"{type(module).__name__} has no {kind} {name!r} (path {target!r})"
            )
        return found

    # -- state -----------------------------------------------------------------------------------

    def state_dict(self, prefix: str = "") -> dict[str, Tensor]:
        """Return parameters and persistent buffers by dotted name, sharing their memory."""
        state: dict[str, Tensor] = {}
        for name, param in self._parameters.items():
            if param is not None:
                state[prefix + name] = param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent:
                state[prefix + name] = buffer.detach()
        for name, module in self._modules.items():
            if module is not None:
                state.update(module.state_dict(f"{prefix}{name}."))
        return state

    def load_state_dict(
        self, state_dict: Mapping[str, Tensor], strict: bool = True, assign: bool = False
    ) -> LoadReport:
        """Copy values into parameters and buffers by name, converting dtype and device.

        Everything is checked before anything is copied, so a failed load changes nothing.

        Args:
            state_dict: name to tensor, as `state_dict()` gives it.
            strict: refuse missing and unexpected names; otherwise they are only reported. That a
                normalisation's "num_batches_tracked" is missing never counts.
            assign: put the given tensors themselves in the places of the module's, with their
                dtype and device; an optimizer that holds the old parameters must be made anew.

        Raises:
            ValueError: a shape differs, or (strict) the names do; it is a RuntimeError too.
            TypeError: `state_dict` is not a mapping, a value is not a tensor, or (assign) one that
                is not floating point would become a parameter that requires grad.
        """
        return load_state(self, state_dict, strict, assign)

    # -- changing the whole tree -----------------------------------------------------------------

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every module below, children first, then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch dropout, batch norm and the like to training (or evaluation) behaviour."""
        if not isinstance(mode, bool):
            raise TypeError(f"train: mode must be a bool, got {type(mode).__name__}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation behaviour."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter (False freezes the module)."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop (or zero) the gradients of every parameter."""
        for param in self.parameters():
            if param.grad is not None:
                if set_to_none:
                    param.grad = None
                else:
                    param.grad.zero_()

    def to(self, *args: Any, dtype: Any = None, device: Any = None) -> Self:
        """Convert floating parameters and buffers to a dtype, and all of them to a device.

        Accepts `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(tensor)` and keywords.
        Parameters stay the same objects, so an optimizer that holds them goes on; state that it
        has gathered keeps its dtype.
        """
        for arg in args:
            if isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif isinstance(arg, gs.dtype) or _is_dtype_name(arg):
                dtype = arg
            elif isinstance(arg, (str, gs.device)):
                device = arg
            else:
                raise TypeError(f"to: expected a dtype or a device, got {type(arg).__name__}")
        if isinstance(dtype, str):
            if not _is_dtype_name(dtype):
                raise TypeError(f"to: there is no dtype {dtype!r}")
            dtype = getattr(gs, dtype)
        if dtype is not None and not isinstance(dtype, gs.dtype):
            raise TypeError(f"to: dtype must be a dtype or its name, got {type(dtype).__name__}")
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"to: a module's dtype must be floating, got {dtype}")
        convert(self, dtype, device)
        return self

    def float(self) -> Self:
        """Convert to float32."""
        return self.to(gs.float32)

    def double(self) -> Self:
        """Convert to float64."""
        return self.to(gs.float64)

    def half(self) -> Self:
        """Convert to float16."""
        return self.to(gs.float16)

    def bfloat16(self) -> Self:
        """Convert to bfloat16."""
        return self.to(gs.bfloat16)

    def cpu(self) -> Self:
        """Move to the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None) -> Self:
        """Move to a CUDA device, the first unless given (as a number, a name or a device)."""
        if device is None:
            device = "cuda"
        return self.to(f"cuda:{device}" if isinstance(device, int) else device)

    # -- looking at it -----------------------------------------------------------------------------

    def summary(self, input_size: Any, dtype: Any = None) -> Summary:
        """Describe layers, output shapes, parameters, flops and memory of one forward pass.

        Args:
            input_size: shape of the input including the batch, or a list of shapes.
            dtype: dtype of the inputs; float32 unless given.

        Returns:
            An object whose text is the table and whose fields hold the numbers.
        """
        from .summary import summarize

        return summarize(self, input_size, dtype)

    def extra_repr(self) -> str:
        """Text that `repr` puts in the brackets; subclasses say their settings here."""
        return ""

    def __repr__(self) -> str:
        """Show the tree, one sub-module a line."""
        lines = []
        for name, module in self._modules.items():
            lines.append(f"  ({name}): " + repr(module).replace("\n", "\n  "))
        extra = self.extra_repr()
        if not lines:
            return f"{type(self).__name__}({extra})"
        head = [f"  {extra}"] if extra else []
        return "\n".join([f"{type(self).__name__}(", *head, *lines, ")"])
