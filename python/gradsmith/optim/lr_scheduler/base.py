"""LRScheduler: the base of the schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
        sample = old[0] if old else 0.0
        return isinstance(new, (list, tuple)) and all(_alike(value, sample) for value in new)
    if isinstance(old, (int, float)) and not isinstance(old, bool):
        return isinstance(new, (int, float)) and not isinstance(new, bool)
    return old is None or new is None or isinstance(new, type(old))


def restore(
    schedule: Any,
    state_dict: dict[str, Any],
    counted: Mapping[str, str],
    put: Callable[[dict[str, Any]], None],
) -> None:
    """`put` stored values into a schedule; where they do not fit, change nothing.

    Args:
        schedule: what `state_dict` came from.
        state_dict: the values by name.
        counted: the lists whose length is fixed, and what there is one value for.
        put: makes a state the schedule's own.

    Raises:
        ValueError: names, kinds or numbers of values differ from the schedule's own.
    """
    owner, own = type(schedule).__name__, schedule.state_dict()
    if set(state_dict) != set(own):
        raise ValueError(
            f"{owner}: state has the entries {sorted(state_dict)}, expected {sorted(own)}"
        )
    for name, value in state_dict.items():
        if not _alike(value, own[name]):
            raise ValueError(f"{owner}: {name} in state cannot be {value!r}")
    for name, things in counted.items():
        if len(state_dict[name]) != len(own[name]):
            raise ValueError(
                f"{owner}: state has {len(state_dict[name])} {things}, expected {len(own[name])}"
            )
    try:
        put(state_dict)
    except Exception as error:
        put(own)
        raise ValueError(f"{owner}: state does not fit: {error}") from error


class LRScheduler:
    """Base class: each step sets every group's "lr".

    The rate is a closed formula of the step count and the initial rate. Where something else has
    changed "lr" since, another schedule or an assignment, most schedules go on from there: they
    change it as the step changes the formula, so that schedules stepped one after the other
    multiply. `LambdaLR`, `CosineAnnealingWarmRestarts`, `CyclicLR` and `OneCycleLR` set the
    formula's rate whatever "lr" was. All this is as in PyTorch.

    Args:
        optimizer: whose groups are changed; their "lr" is the initial rate,
            unless an earlier schedule has already noted it as "initial_lr".
        last_epoch: -1 starts anew; otherwise the schedule starts at the step after this one, and
            those that go on from "lr" go on from what it is now.

    Raises:
        TypeError: `optimizer` is none, or `last_epoch` is no integer.
        ValueError: `last_epoch` is below -1.
        KeyError: `last_epoch` is not -1 and a group has no "initial_lr".
    """

    optimizer: Optimizer
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
        self._apply(self._first)

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        """Return the rate after `epoch` steps; pure."""
        raise NotImplementedError

    def _first(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        """Return the rate to start with at step `epoch` where the group has `lr`."""
        return self._rate(base_lr, group, epoch)

    def _next(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        """Return the rate that step `epoch` makes of `lr`."""
        return self._rate(base_lr, group, epoch)

    def _apply(self, rule: Callable[[float, float, int, int], float]) -> None:
        for number, group in enumerate(self.optimizer.param_groups):
            group["lr"] = rule(group["lr"], self.base_lrs[number], number, self.last_epoch)

    def _start(self) -> None:
        """Go to step 0, from the rates that the groups have."""
        self.last_epoch = 0
        self._apply(self._first)

    def _restart(self) -> None:
        """Go to step 0, from the initial rates."""
        self.last_epoch = 0
        self._apply(lambda lr, *at: self._rate(*at))

    def step(self) -> None:
        """Advance by one and set the rates."""
        self.last_epoch += 1
        self._apply(self._next)

    def get_last_lr(self) -> list[float]:
        """Return each group's rate."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer and functions, and the groups' present rates."""
        own = {name: value for name, value in vars(self).items() if name not in self._transient}
        return own | {"_last_lr": self.get_last_lr()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, and set the rates that the groups had then.

        Raises:
            ValueError: names, kinds or numbers of values differ, or they do not fit; nothing
                changes then.
        """
        groups = dict.fromkeys(("base_lrs", "_last_lr"), "parameter groups")
        restore(self, state_dict, groups, self._put)

    def _put(self, state_dict: dict[str, Any]) -> None:
        own = dict(state_dict)
        rates = own.pop("_last_lr")
        vars(self).update(own)
        self._apply(lambda lr, *at: self._rate(*at))  # settings that do not fit fail here
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
