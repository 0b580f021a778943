"""Loading a state_dict into a module, and converting a module's dtype and device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import gradsmith as gs
from gradsmith._core import Tensor

from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module

__all__ = ["LoadReport", "convert", "load_state"]


# Files written before batch normalisation counted its batches lack this; the module's count stays.
_COUNTER = "num_batches_tracked"


class _Mismatch(ValueError, RuntimeError):
    """PyTorch raises RuntimeError here; code written for it catches this as well."""


class LoadReport(NamedTuple):
    """What `Module.load_state_dict` did not match; both lists are empty after a full match."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_state(
    module: Module, state_dict: Mapping[str, Tensor], strict: bool, assign: bool = False
) -> LoadReport:
    """Check everything, then copy or assign; the contract is that of `Module.load_state_dict`."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}"
        )
    own = module.state_dict()
    report = LoadReport(
        missing_keys=[
            name for name in own if name not in state_dict and not name.endswith(_COUNTER)
        ],
        unexpected_keys=[name for name in state_dict if name not in own],
    )
    if strict and (report.missing_keys or report.unexpected_keys):
        raise _Mismatch(
            f"load_state_dict: names do not match {type(module).__name__}; "
            f"missing {report.missing_keys}, unexpected {report.unexpected_keys}"
        )
    pairs = [(name, own[name], state_dict[name]) for name in own if name in state_dict]
    for name, target, source in pairs:
        if not isinstance(source, Tensor):
            raise TypeError(
                f"load_state_dict: {name!r} must be a Tensor, got {type(source).__name__}"
            )
        if tuple(source.shape) != tuple(target.shape):
            raise _Mismatch(
                f"load_state_dict: {name!r} has shape {tuple(source.shape)}, "
                f"the module expects {tuple(target.shape)}"
            )
    if assign:
        _assign(module, {name: source for name, _, source in pairs})
        return report
    with gs.no_grad():
        for _, target, source in pairs:
            target.copy_(source.detach().to(target.device).to(target.dtype))
    return report


def _assign(module: Module, sources: Mapping[str, Tensor]) -> None:
    """Put tensors in the places of parameters and buffers."""
    owners = {name: module.get_submodule(name.rpartition(".")[0]) for name in sources}
    for name, source in sources.items():
        old = owners[name]._parameters.get(name.rpartition(".")[2])
        if old is not None and old.requires_grad and not source.dtype.is_floating_point:
            raise TypeError(
                f"load_state_dict: {name!r} is a parameter that requires grad, so with assign=True "
                f"its tensor must be floating point, got {source.dtype.name}"
            )
    made = {name: _in_place_of(owners[name], name, source) for name, source in sources.items()}
    for name, tensor in made.items():
        setattr(owners[name], name.rpartition(".")[2], tensor)


def _in_place_of(owner: Module, name: str, source: Tensor) -> Tensor:
    old = owner._parameters.get(name.rpartition(".")[2])
    if old is None:
        return source.detach()
    if isinstance(source, Parameter):
        return source.requires_grad_(old.requires_grad)
    return Parameter(source.detach(), old.requires_grad)


def convert(root: Module, dtype: Any, device: Any) -> None:
    """Move every parameter and buffer below `root`; parameters stay the same objects."""
    # Values are converted before anything changes: where memory is short, the module stays whole.
    params = [
        (param, _moved(param.detach(), dtype, device), param.grad) for param in root.parameters()
    ]
    buffers = [
        (module._buffers, name, _moved(buffer, dtype, device))
        for module in root.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    for param, data, grad in params:
        if data.dtype == param.dtype and data.device == param.device:
            continue  # graphs that have saved it stay whole
        param.grad = None
        param.data = data
        param.grad = None if grad is None else _moved(grad, dtype, device)
    for registry, name, moved in buffers:
        registry[name] = moved


def _moved(tensor: Tensor, dtype: Any, device: Any) -> Tensor:
    if device is not None:
        tensor = tensor.to(device)
    if dtype is not None and tensor.dtype.is_floating_point:
        tensor = tensor.to(dtype)
    return tensor
