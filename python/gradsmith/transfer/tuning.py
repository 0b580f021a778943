"""What is trained, and how fast: freeze, unfreeze, replace_head, layer_groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gradsmith._checks import positive
from gradsmith._core import Tensor
from gradsmith.nn import Conv2d, Linear, Module, ModuleList, Sequential
from gradsmith.nn._args import positive_int

__all__ = ["freeze", "layer_groups", "replace_head", "unfreeze"]


def _tracks_statistics(module: Module) -> bool:
    return getattr(module, "running_mean", None) is not None


def _evaluate(module: Module, args: tuple[Any, ...]) -> None:
    """Keep a frozen normalisation in evaluation, whatever `train()` has been called since."""
    module.training = False


def _chosen(owner: str, model: Module, names: Iterable[str] | None) -> list[Module | Tensor]:
    """Return the modules and parameters of those dotted names; the model itself for None."""
    if names is None:
        return [model]
    wanted = [names] if isinstance(names, str) else list(names)
    modules, params = dict(model.named_modules()), dict(model.named_parameters())
    found: list[Module | Tensor] = []
    for name in wanted:
        if name not in modules and name not in params:
            children = ", ".join(child for child, _ in model.named_children())
            raise ValueError(f"{owner}: the model has no {name!r}; its parts are {children}")
        found.append(modules[name] if name in modules else params[name])
    return found


def freeze(
    model: Module, names: Iterable[str] | str | None = None, *, batch_norm: bool = True
) -> list[str]:
    """Stop training parameters: their `requires_grad` becomes False.

    Args:
        model: changed in place.
        names: dotted names of modules or parameters; everything unless given.
        batch_norm: also keep running statistics as they are: frozen batch normalisation works as
            in evaluation, even after `model.train()`.

    Returns:
        The names of all parameters that are frozen now.

    Raises:
        ValueError: there is no module or parameter of that name.
    """
    for part in _chosen("freeze", model, names):
        part.requires_grad_(False)
        if isinstance(part, Module) and batch_norm:
            for module in part.modules():
                if _tracks_statistics(module) and not _is_held(module):
                    module.register_forward_pre_hook(_evaluate)
                    module.training = False
    return [name for name, param in model.named_parameters() if not param.requires_grad]


def unfreeze(model: Module, names: Iterable[str] | str | None = None) -> list[str]:
    """Undo `freeze`: parameters are trained, and running statistics follow the data again.

    Args:
        model: changed in place.
        names: dotted names of modules or parameters; everything unless given.

    Returns:
        The names of all parameters that are trained now.

    Raises:
        ValueError: there is no module or parameter of that name.
    """
    for part in _chosen("unfreeze", model, names):
        part.requires_grad_(True)
        for module in part.modules() if isinstance(part, Module) else ():
            if _is_held(module):
                hooks = module._forward_pre_hooks
                for key in [key for key, hook in hooks.items() if hook is _evaluate]:
                    del hooks[key]
                module.training = model.training
    return [name for name, param in model.named_parameters() if param.requires_grad]


def _is_held(module: Module) -> bool:
    return _evaluate in module._forward_pre_hooks.values()


def replace_head(model: Module, num_classes: int, *, name: str | None = None) -> Linear | Conv2d:
    """Put a new last layer of `num_classes` outputs in place of the model's, and return it.

    It is like the old one in all else: inputs, bias, window, padding, groups, dtype and device. Its
    parameters are fresh and are trained.

    Args:
        model: changed in place.
        num_classes: outputs of the new layer.
        name: the layer's dotted name; the last Linear (or, without one, Conv2d) unless given.

    Raises:
        ValueError: there is no such layer, it is of another kind, or its groups do not divide
            `num_classes`.
    """
    positive_int("replace_head", "num_classes", num_classes)
    modules = dict(model.named_modules())
    if name is None:
        kinds: tuple[type[Module], ...] = (Linear, Conv2d)
        layers = [[n for n, m in modules.items() if n and type(m) is kind] for kind in kinds]
        last = next((names[-1] for names in layers if names), None)
        if last is None:
            raise ValueError(f"replace_head: {type(model).__name__} has no Linear or Conv2d below")
        name = last
    old = modules.get(name) if name else None
    if not isinstance(old, (Linear, Conv2d)):
        raise ValueError(f"replace_head: {name!r} is no Linear or Conv2d of the model")
    options: dict[str, Any] = {
        "bias": old.bias is not None,
        "device": old.weight.device,
        "dtype": old.weight.dtype,
    }
    new: Linear | Conv2d
    if isinstance(old, Linear):
        new = Linear(old.in_features, num_classes, **options)
    else:
        window = ("kernel_size", "stride", "dilation", "groups", "padding_mode")
        options.update({option: getattr(old, option) for option in window})
        new = Conv2d(old.in_channels, num_classes, **options)
        new.padding = old.padding  # "same" may have become one number for each side
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)
    return new


def layer_groups(
    model: Module,
    lr: float,
    factor: float = 2.6,
    groups: Sequence[Sequence[str] | str] | None = None,
) -> list[dict[str, Any]]:
    """Return parameter groups for an optimizer, with lower learning rates nearer to the input.

    The last group learns with `lr`, each one before it with the rate of its successor divided by
    `factor` (discriminative fine-tuning; Howard and Ruder, 2018). Frozen parameters are left out.

    Args:
        model: whose parameters they are.
        lr: rate of the last group.
        factor: between one group and the next.
        groups: dotted names of the modules or parameters of each group, from input to output;
            unless given, the model's parts in order, those of containers one by one.

    Raises:
        ValueError: `lr` or `factor` is not positive, a name does not exist, a parameter is in two
            groups or in none, or all are frozen.
    """
    positive("layer_groups", "lr", lr)
    positive("layer_groups", "factor", factor)
    trained = {id(param): name for name, param in model.named_parameters() if param.requires_grad}
    parts: list[list[Module | Tensor]]
    if groups is None:
        parts = [[part] for part in _in_order(model)]
    else:
        parts = [_chosen("layer_groups", model, names) for names in groups]
    found: list[list[Tensor]] = []
    left = dict(trained)
    for group in parts:
        params = [p for part in group for p in _parameters(part) if id(p) in trained]
        if groups is None:  # a shared parameter belongs to the first layer that has it
            params = [param for param in params if id(param) in left]
        for param in params:
            if left.pop(id(param), None) is None:
                raise ValueError(f"layer_groups: {trained[id(param)]!r} is in two groups")
        if params:
            found.append(params)
    if left:
        raise ValueError(f"layer_groups: {', '.join(left.values())} are in no group")
    if not found:
        raise ValueError(f"layer_groups: all parameters of {type(model).__name__} are frozen")
    depth = len(found) - 1
    return [{"params": params, "lr": lr / factor ** (depth - i)} for i, params in enumerate(found)]


def _parameters(part: Module | Tensor) -> list[Tensor]:
    return list(part.parameters()) if isinstance(part, Module) else [part]


def _in_order(model: Module) -> list[Module | Tensor]:
    """Return a model's own parameters and its parts, with containers opened."""
    own: list[Module | Tensor] = list(model.parameters(recurse=False))
    for child in model.children():
        if isinstance(child, (Sequential, ModuleList)):
            own += _in_order(child)
        else:
            own.append(child)
    return own
