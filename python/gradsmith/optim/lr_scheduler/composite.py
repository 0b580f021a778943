"""Composite: the base of schedules that are made of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from .base import LRScheduler, check_optimizer, restore

__all__ = ["Composite"]


class Composite(LRScheduler):
    """Several schedules of one optimizer; the rates, and most of the state, are theirs."""

    _transient = frozenset({"optimizer", "schedulers"})
    _counted: ClassVar[dict[str, str]] = {"schedulers": "schedules"}

    def __init__(self, optimizer: Any, schedulers: list[LRScheduler]) -> None:
        """Check and store the schedules."""
        owner = type(self).__name__
        for scheduler in schedulers:
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(
                    f"{owner}: schedulers must be schedules of the step count, "
                    f"got {type(scheduler).__name__}"
                )
        check_optimizer(owner, optimizer)
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError(f"{owner}: every schedule must belong to the same optimizer")
        self.optimizer = optimizer
        self.schedulers = schedulers

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and every schedule's state."""
        own = {name: value for name, value in vars(self).items() if name not in self._transient}
        return own | {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, and set the rates that the groups had then.

        Raises:
            ValueError: names, kinds or numbers of values differ, or they do not fit; nothing
                changes then.
        """
        restore(self, state_dict, self._counted, self._put)

    def _order(self) -> Iterable[int]:
        """Return the numbers of the schedules, the one that sets the momentum last."""
        return range(len(self.schedulers))

    def _put(self, state_dict: dict[str, Any]) -> None:
        own = dict(state_dict)
        states = own.pop("schedulers")
        vars(self).update(own)
        for number in self._order():
            self.schedulers[number].load_state_dict(states[number])
