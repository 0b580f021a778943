"""Optimizer: parameter groups, per-parameter state, and saving both."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import gradsmith as gs
from gradsmith._core import Tensor

__all__ = ["Group", "Optimizer", "check"]

Group = dict[str, Any]


def check(
    owner: str,
    name: str,
    value: float,
    low: float = 0.0,
    high: float = math.inf,
    *,
    open_low: bool = False,
) -> float:
    """Return a finite number in [low, high) (or (low, high)); NaN and infinity are refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{owner}: {name} must be a number, got {type(value).__name__}")
    inside = (low < value if open_low else low <= value) and value < high
    if not inside or not math.isfinite(value):
        bounds = f"{'(' if open_low else '['}{low}, {high})"
        raise ValueError(f"{owner}: {name} must be finite and lie in {bounds}, got {value}")
    return value


class Optimizer:
    """Base class: holds groups of parameters with their options, and state per parameter.

    Args:
        params: tensors, or (name, tensor) pairs, or dicts with "params" and options of their own.
        defaults: options for groups that do not set them.

    Subclasses check one group's options in `_check` and update one group in `_update`.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Group],
        defaults: Group,
    ) -> None:
        """Build the groups."""
        if isinstance(params, (Tensor, str, Mapping)):
            raise TypeError(
                f"{type(self).__name__}: params must be an iterable of tensors or of groups, "
                f"got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups: list[Group] = []
        entries = list(params)
        if not entries:
            raise ValueError(f"{type(self).__name__}: params is empty")
        groups = entries if isinstance(entries[0], dict) else [{"params": entries}]
        for group in groups:
            self.add_param_group(group)  # type: ignore[arg-type]

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; options it does not set come from the defaults.

        Raises:
            TypeError: an entry is not a tensor, or not a leaf.
            ValueError: a parameter is already in a group, or an option is out of range.
        """
        owner = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise TypeError(f"{owner}: a group must be a dict with the key 'params'")
        given = param_group["params"]
        entries = [given] if isinstance(given, Tensor) else list(given)
        params = [entry[1] if isinstance(entry, tuple) else entry for entry in entries]
        known = {id(param) for group in self.param_groups for param in group["params"]}
        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"{owner}: params must be tensors, got {type(param).__name__}")
            if not param.is_leaf:
                raise TypeError(f"{owner}: params must be leaf tensors, got the result of an op")
            if id(param) in known:
                raise ValueError(f"{owner}: a parameter appears twice, or in two groups")
            known.add(id(param))
        unknown = set(param_group) - set(self.defaults) - {"params", "initial_lr"}
        if unknown:
            raise ValueError(
                f"{owner}: unknown options {sorted(unknown)}; allowed: {sorted(self.defaults)}"
            )
        group = {**self.defaults, **param_group, "params": params}
        self._check(group)
        self.param_groups.append(group)

    def _check(self, group: Group) -> None:
        """Raise if an option of the group is out of range."""
        raise NotImplementedError

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        """Update parameters that have gradients; called without recording."""
        raise NotImplementedError

    def step(self, closure: Any = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: evaluates the model again and returns the loss, which is passed on.
        """
        loss = None
        if closure is not None:
            with gs.enable_grad():
                loss = closure()
        with gs.no_grad():
            for group in self.param_groups:
                check(type(self).__name__, "lr", group["lr"])
                params = [param for param in group["params"] if param.grad is not None]
                if params:
                    self._update(group, params, [param.grad for param in params])
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop (or zero) the gradients of every parameter."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if set_to_none:
                    param.grad = None
                else:
                    param.grad.zero_()

    def _slot(self, param: Tensor, name: str) -> Tensor:
        """Return one tensor of a parameter's state, created as zeros."""
        state = self.state.setdefault(param, {})
        if name not in state:
            state[name] = gs.zeros_like(param.detach())
        value: Tensor = state[name]
        return value

    def state_dict(self) -> dict[str, Any]:
        """Return options and state, with parameters numbered in order; tensors are shared."""
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for param in group["params"]:
                numbers[id(param)] = len(numbers)
            options = {name: value for name, value in group.items() if name != "params"}
            groups.append({**options, "params": [numbers[id(p)] for p in group["params"]]})
        state = {numbers[id(param)]: dict(values) for param, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; tensors are copied, and nothing changes on error.

        Raises:
            KeyError: "state" or "param_groups" is missing.
            ValueError: groups differ in number or size, or a state's shape does not fit.
        """
        owner = type(self).__name__
        groups, saved = state_dict["param_groups"], state_dict["state"]
        if len(groups) != len(self.param_groups):
            raise ValueError(
                f"{owner}: state_dict has {len(groups)} groups, "
                f"the optimizer has {len(self.param_groups)}"
            )
        params: dict[int, Tensor] = {}
        fresh_groups = []
        for group, stored in zip(self.param_groups, groups, strict=True):
            if len(group["params"]) != len(stored["params"]):
                raise ValueError(
                    f"{owner}: a group of state_dict has {len(stored['params'])} parameters, "
                    f"the optimizer's has {len(group['params'])}"
                )
            params.update(zip(stored["params"], group["params"], strict=True))
            fresh = {**group, **copy.deepcopy({k: v for k, v in stored.items() if k != "params"})}
            self._check(fresh)
            fresh_groups.append(fresh)
        state = {}
        for number, values in saved.items():
            if int(number) not in params:
                raise ValueError(f"{owner}: state_dict has state for parameter {number}")
            if not isinstance(values, Mapping):
                raise ValueError(
                    f"{owner}: the state of parameter {number} must be a dict, "
                    f"got {type(values).__name__}"
                )
            param = params[int(number)]
            state[param] = {
                name: self._restored(param, name, value) for name, value in values.items()
            }
        self.param_groups[:] = fresh_groups
        self.state = state

    def _restored(self, param: Tensor, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            if value is not None and not isinstance(value, (bool, int, float)):
                raise ValueError(
                    f"{type(self).__name__}: state {name!r} must be a Tensor or a number, "
                    f"got {type(value).__name__}"
                )
            return value
        if not value.shape:  # a step count that another library stored as a tensor
            return value.item()
        if tuple(value.shape) != tuple(param.shape):
            raise ValueError(
                f"{type(self).__name__}: state {name!r} has shape {tuple(value.shape)}, "
                f"its parameter {tuple(param.shape)}"
            )
        return value.detach().to(param.device).to(param.dtype).clone()

    def __repr__(self) -> str:
        """Show each group's options."""
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"  group {number}: {len(group['params'])} parameters")
            lines.extend(f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params")
        return "\n".join([*lines, ")"])
