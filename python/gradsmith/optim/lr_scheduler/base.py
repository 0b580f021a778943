"""LRScheduler: the base of the schedules."""

from __future__ import annotations

import math
import numbers
from typing import Any

from gradsmith.optim.optimizer import Optimizer

__all__ = ["LRScheduler", "check_optimizer", "finite", "positive"]


def check_optimizer(owner: str, optimizer: Any) -> None:
    """Raise unless it is an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{owner}: optimizer must be an Optimizer, got {type(optimizer).__name__}")


def finite(owner: str, name: str, value: float) -> float:
    """Return a number that is neither infinite nor NaN."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{owner}: {name} must be a number, got {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"{owner}: {name} must be finite, got {value}")
    return value


def positive(owner: str, name: str, value: float) -> float:
    """Return a finite number above zero."""
    if not finite(owner, name, value) > 0:
        raise ValueError(f"{owner}: {name} must be positive, got {value}")
    return value


class LRScheduler:
    """Base class: sets each group's "lr" to `_rate(base_lr, group_number, last_epoch)`.

    Args:
        optimizer: whose groups are changed; their "lr" is the initial rate,
            unless an earlier schedule has already noted it as "initial_lr".
        last_epoch: step count to start from; -1 starts anew.
    """

    _transient: frozenset[str] = frozenset({"optimizer"})

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        """Note the initial rates and set the first ones."""
        check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{type(self).__name__}: last_epoch={last_epoch} needs 'initial_lr'")
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch + 1
        self._apply()

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        """Return the rate after `epoch` steps; pure."""
        raise NotImplementedError

    def _apply(self) -> None:
        for number, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self._rate(self.base_lrs[number], number, self.last_epoch)

    def step(self) -> None:
        """Advance by one and set the rates."""
        self.last_epoch += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """Return each group's rate."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer and functions."""
        return {name: value for name, value in vars(self).items() if name not in self._transient}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, and set the rates."""
        unknown = set(state_dict) - set(self.state_dict())
        if unknown:
            raise ValueError(f"{type(self).__name__}: unknown entries {sorted(unknown)} in state")
        vars(self).update(state_dict)
        self._apply()
