"""Composed: the base of the optimizers that have no kernel of their own."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith._checks import number
from gradsmith._core import Tensor

from .optimizer import Group, Optimizer, check

__all__ = ["Composed", "check_pair"]


def check_pair(owner: str, name: str, value: Any) -> tuple[float, float]:
    """Return two numbers, or raise."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"{owner}: {name} must be two numbers, got {value!r}")
    first, second = (number(owner, f"{name}[{at}]", each) for at, each in enumerate(value))
    return first, second


class Composed(Optimizer):
    """Updates one parameter after the other by tensor ops, in `_update_one`.

    Counts steps, turns the gradient where "maximize" is set, and applies "weight_decay": an L2
    penalty, or, with "decoupled_weight_decay" or `_decoupled`, a share of the parameter, times lr,
    taken off.
    """

    _decoupled: ClassVar[bool] = False
    _kernel = False

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        for param, grad in zip(params, grads, strict=True):
            state = self.state.setdefault(param, {"step": 0})
            state["step"] = int(state["step"]) + 1
            if group["maximize"]:
                grad = -grad
            decay = group.get("weight_decay", 0.0)
            if decay and group.get("decoupled_weight_decay", self._decoupled):
                param.mul_(1 - group["lr"] * decay)
            elif decay:
                grad = grad + param * decay
            self._update_one(group, param, grad, state["step"])

    def _update_one(self, group: Group, param: Tensor, grad: Tensor, step: int) -> None:
        """Update one parameter in its `step`-th step."""
        raise NotImplementedError

    def _average(self, param: Tensor, name: str, value: Tensor, beta: float) -> Tensor:
        """Move a running average, beta of which stays, towards `value`, and return it."""
        average = self._slot(param, name)
        average.mul_(beta).add_(value * (1 - beta))
        return average

    def _check_adam(self, group: Group) -> None:
        owner = type(self).__name__
        for name in ("lr", "eps", "weight_decay"):
            check(owner, name, group.get(name, 0.0))
        for at, beta in enumerate(check_pair(owner, "betas", group["betas"])):
            check(owner, f"betas[{at}]", beta, 0.0, 1.0)
