"""Optimizer: parameter groups, per-parameter state, and saving both."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import number
from gradsmith._core import Tensor

__all__ = ["COUNT", "Group", "Optimizer", "check", "check_adam"]

Group = dict[str, Any]
COUNT = (0.0, 2.0**53)  # the range of a count of steps


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
    if type(value) is not float:  # most are
        number(owner, name, value)
    if not ((low < value if open_low else low <= value) and value < high):
        bounds = f"{'(' if open_low else '['}{low}, {high})"
        raise ValueError(f"{owner}: {name} must be finite and lie in {bounds}, got {value}")
    return value


def check_adam(owner: str, group: Group) -> None:
    """Raise if one of the options that Adam and those like it share is out of range."""
    for name in ("lr", "eps", "weight_decay"):
        check(owner, name, group.get(name, 0.0))
    betas = group["betas"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"{owner}: betas must be two numbers, got {betas!r}")
    check(owner, "betas[0]", betas[0], 0.0, 1.0)
    check(owner, "betas[1]", betas[1], 0.0, 1.0)


class Optimizer:
    """Base class: holds groups of parameters with their options, and state per parameter.

    Args:
        params: tensors, or (name, tensor) pairs, or dicts with "params" and options of their own.
        defaults: options for groups that do not set them.

    Subclasses check one group's options in `_check` and update one group in `_update`. Those that
    name the parts of their state, tensors of their parameter's shape and numbers with their ranges,
    accept no others in `load_state_dict`.
    """

    _flags: ClassVar[tuple[str, ...]] = ("maximize",)
    _tensors: ClassVar[tuple[str, ...]] = ()
    _numbers: ClassVar[dict[str, tuple[float, float]]] = {}

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Group],
        defaults: Group,
    ) -> None:
        """Build the groups."""
        # A set's order differs from run to run, and with it the numbering of the saved state.
        if isinstance(params, (Tensor, str, Mapping, set, frozenset)):
            raise TypeError(
                f"{type(self).__name__}: params must be an ordered iterable of tensors or groups, "
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
        for name, value in group.items():
            if isinstance(value, np.generic):
                group[name] = value.item()
        self._check_all(group)
        self.param_groups.append(group)

    def _check_all(self, group: Group) -> None:
        if not self.defaults.keys() <= group.keys():
            missing = sorted(self.defaults.keys() - group.keys())
            raise ValueError(f"{type(self).__name__}: a group has lost its options {missing}")
        for name in self._flags:
            if not isinstance(group.get(name, False), bool):
                raise TypeError(
                    f"{type(self).__name__}: {name} must be a bool, "
                    f"got {type(group[name]).__name__}"
                )
        self._check(group)

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
        for group in self.param_groups:  # options may have been changed since
            self._check_all(group)
        if _core.CudaGraph.recording():
            gs.cuda.graphs.note_step(self)
        recording = _core.is_grad_enabled()
        _core.set_grad_enabled(False)
        try:
            for group in self.param_groups:
                params, grads = [], []
                for param in group["params"]:
                    grad = param.grad
                    if grad is not None:
                        params.append(param)
                        grads.append(grad)
                if params:
                    self._update(group, params, grads)
        finally:
            _core.set_grad_enabled(recording)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop (or zero) the gradients of every parameter."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad.zero_()

    def _slot(self, param: Tensor, name: str) -> Tensor:
        """Return one tensor of a parameter's state, created as zeros."""
        return self._slots([param], name)[0]

    def _slots(self, params: list[Tensor], name: str) -> list[Tensor]:
        """Return one tensor of each parameter's state, created as zeros."""
        states, slots = self.state, []
        for param in params:
            state = states.get(param)
            if state is None:
                state = states[param] = {}
            slot = state.get(name)
            if slot is None:
                if _core.CudaGraph.recording():
                    raise RuntimeError(
                        f"graph: {type(self).__name__} has no {name} yet; make a step before"
                    )
                slot = state[name] = gs.zeros_like(param.detach())
            slots.append(slot)
        return slots

    def _by_step(
        self, params: list[Tensor], grads: list[Tensor], *numbers: str
    ) -> Iterator[tuple[int, list[Tensor], list[Tensor]]]:
        """Yield those that have made equally many steps, usually all, and count once it is made.

        `numbers` names those of the state that must be equal, too.
        """
        states = self.state
        groups: dict[Any, tuple[int, list[Tensor], list[Tensor]]] = {}
        for param, grad in zip(params, grads, strict=True):
            state = states.get(param)
            if state is None:
                state = states[param] = {}
            step = state.get("step", 0) + 1
            key = (step, *map(state.get, numbers)) if numbers else step
            group = groups.get(key)
            if group is None:
                group = groups[key] = (step, [], [])
            group[1].append(param)
            group[2].append(grad)
        for made in groups.values():
            yield made
            for param in made[1]:
                states[param]["step"] = made[0]

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
            TypeError: an option is of another type.
            ValueError: it is no state of an optimizer, or of another one; groups differ in number
                or size; a state's shape does not fit, or a number is out of range.
        """
        owner = type(self).__name__
        groups, saved = self._parts(state_dict)
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
            self._check_all(fresh)
            fresh_groups.append(fresh)
        state = {}
        known = {str(at): param for at, param in params.items()}  # JSON makes them text
        for at, values in saved.items():
            if str(at) not in known:
                raise ValueError(f"{owner}: state_dict has state for parameter {at!r}")
            if not isinstance(values, Mapping):
                raise ValueError(
                    f"{owner}: the state of parameter {at} must be a dict, "
                    f"got {type(values).__name__}"
                )
            param = known[str(at)]
            state[param] = {
                name: self._restored(param, name, value)
                for name, value in values.items()
                if value is not None
            }
            if state[param] and "step" in self._numbers and "step" not in state[param]:
                raise ValueError(f"{owner}: the state of parameter {at} lacks 'step'")
        self.param_groups[:] = fresh_groups
        self.state = state

    def _parts(self, state_dict: Mapping[str, Any]) -> tuple[list[Group], Mapping[Any, Any]]:
        """Return groups and state of a state_dict that has the form of one."""
        owner = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise ValueError(f"{owner}: state_dict must be a dict with 'state' and 'param_groups'")
        groups, saved = state_dict["param_groups"], state_dict["state"]
        if not isinstance(saved, Mapping):
            raise ValueError(
                f"{owner}: 'state' of state_dict must be a dict, got {type(saved).__name__}"
            )
        if not isinstance(groups, (list, tuple)) or not all(
            isinstance(group, Mapping) and isinstance(group.get("params"), (list, tuple))
            for group in groups
        ):
            raise ValueError(
                f"{owner}: 'param_groups' of state_dict must be a list of dicts with 'params'"
            )
        return list(groups), saved

    def _restored(self, param: Tensor, name: str, value: Any) -> Any:
        owner, wanted = type(self).__name__, (*self._tensors, *self._numbers)
        if wanted and name not in wanted and name != "step":
            raise ValueError(f"{owner}: state {name!r} is none of {sorted(wanted)}")
        if name == "step" or name in self._numbers:  # other libraries store them as tensors
            return self._restored_number(name, value)
        if not isinstance(value, Tensor):
            if wanted or not isinstance(value, (bool, int, float)):
                raise ValueError(
                    f"{owner}: state {name!r} must be a Tensor{'' if wanted else ' or a number'}, "
                    f"got {type(value).__name__}"
                )
            return value
        if not wanted and not value.shape and param.shape:
            return value.item()
        if tuple(value.shape) != tuple(param.shape):
            raise ValueError(
                f"{owner}: state {name!r} has shape {tuple(value.shape)}, "
                f"its parameter {tuple(param.shape)}"
            )
        return value.detach().to(param.device).to(param.dtype).clone()

    def _restored_number(self, name: str, value: Any) -> float:
        owner, (low, high) = type(self).__name__, self._numbers.get(name, COUNT)
        given = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        real = isinstance(given, (int, float)) and not isinstance(given, bool)
        if name == "step":
            if real and low <= given <= high and given == int(given):
                return int(given)
            raise ValueError(f"{owner}: state 'step' must be a count, got {value!r}")
        if real and low <= given <= high:
            return float(given)
        raise ValueError(f"{owner}: state {name!r} must lie in [{low}, {high}], got {value!r}")

    def __repr__(self) -> str:
        """Show each group's options."""
        lines = [f"{type(self).__name__} ("]
        for at, group in enumerate(self.param_groups):
            lines.append(f"  group {at}: {len(group['params'])} parameters")
            lines.extend(f"    {k}: {v}" for k, v in sorted(group.items()) if k != "params")
        return "\n".join([*lines, ")"])
