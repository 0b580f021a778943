"""LRScheduler: the base of the schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradsmith._checks import integer
from gradsmith.optim.optimizer import Optimizer

__all__ = ["LRScheduler", "check_optimizer", "restore"]


def check_optimizer(owner: str, optimizer: Any) -> None:
    """Raise unless it is an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{owner}: optimizer must be an Optimizer, got {type(optimizer).__name__}")


def _alike(new: Any, old: Any) -> bool:
    """Whether a stored value can stand where `old` stands."""
    if isinstance(old, (list, tuple)):
        return isinstance(new, (list, tuple)) and all(_alike(value, 0.0) for value in new)
    if isinstance(old, (int, float)) and not isinstance(old, bool):
        return isinstance(new, (int, float)) and not isinstance(new, bool)
    return old is None or new is None or isinstance(new, type(old))


def restore(
    schedule: Any, state_dict: dict[str, Any], per_group: str, apply: Callable[[], None]
) -> None:
    """Put stored values into a schedule and `apply` them; where they do not fit, change nothing.

    Args:
        schedule: what `state_dict` came from.
        state_dict: the values by name.
        per_group: name of the list with one value per parameter group.
        apply: sets the rates.

    Raises:
        ValueError: names or kinds of values differ from the schedule's own.
    """
    owner, own = type(schedule).__name__, schedule.state_dict()
    if set(state_dict) != set(own):
        raise ValueError(
            f"{owner}: state has the entries {sorted(state_dict)}, expected {sorted(own)}"
        )
    for name, value in state_dict.items():
        if not _alike(value, own[name]):
            raise ValueError(f"{owner}: {name} in state cannot be {value!r}")
    if len(state_dict[per_group]) != len(own[per_group]):
        raise ValueError(
            f"{owner}: state has {len(state_dict[per_group])} parameter groups, "
            f"expected {len(own[per_group])}"
        )
    try:
        vars(schedule).update(state_dict)
        apply()
    except Exception as error:
        vars(schedule).update(own)
        apply()
        raise ValueError(f"{owner}: state does not fit: {error}") from error


class LRScheduler:
    """Base class: sets each group's "lr" to `_rate(base_lr, group_number, last_epoch)`.

    Rates are closed formulas of the step count: what else changes "lr" in between, another
    schedule included, is overwritten by the next step. `SequentialLR` joins schedules.

    Args:
        optimizer: whose groups are changed; their "lr" is the initial rate,
            unless an earlier schedule has already noted it as "initial_lr".
        last_epoch: step count to start from; -1 starts anew.
    """

    _transient: frozenset[str] = frozenset({"optimizer"})

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        """Note the initial rates and set the first ones."""
        owner = type(self).__name__
        check_optimizer(owner, optimizer)
        if integer(owner, "last_epoch", last_epoch) < -1:
            raise ValueError(f"{owner}: last_epoch must be -1 or more, got {last_epoch}")
        self.optimizer = optimizer
        for group in optimizer.param_groups:
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(f"{owner}: last_epoch={last_epoch} needs 'initial_lr'")
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
        restore(self, state_dict, "base_lrs", self._apply)
