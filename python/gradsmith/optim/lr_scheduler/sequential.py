"""SequentialLR: one schedule after the other."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import Any

from gradsmith.optim.optimizer import Optimizer

from .base import LRScheduler, check_optimizer

__all__ = ["SequentialLR"]


class SequentialLR:
    """Follows each schedule in turn, switching at the milestones; each starts from its step 0.

    Args:
        optimizer: the optimizer that all schedules were made for.
        schedulers: the schedules.
        milestones: step counts at which the next one takes over; one fewer than schedules.
    """

    optimizer: Optimizer

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler | SequentialLR],
        milestones: Sequence[int],
    ) -> None:
        """Check the settings and set the first schedule's rates."""
        check_optimizer("SequentialLR", optimizer)
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need one milestone fewer, "
                f"got {len(milestones)}"
            )
        if list(milestones) != sorted(set(milestones)) or any(m <= 0 for m in milestones):
            raise ValueError(f"SequentialLR: milestones must rise from above 0, got {milestones}")
        for scheduler in schedulers:
            if not isinstance(scheduler, (LRScheduler, SequentialLR)):
                raise TypeError(
                    "SequentialLR: schedulers must be schedules of the step count, "
                    f"got {type(scheduler).__name__}"
                )
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError("SequentialLR: every schedule must belong to the same optimizer")
        self.optimizer = optimizer
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        self.last_epoch = 0
        self._apply()

    def _apply(self) -> None:
        current = bisect.bisect_right(self.milestones, self.last_epoch)
        start = self.milestones[current - 1] if current else 0
        self.schedulers[current].last_epoch = self.last_epoch - start
        self.schedulers[current]._apply()

    def step(self) -> None:
        """Advance by one and set the rates."""
        self.last_epoch += 1
        self._apply()

    def get_last_lr(self) -> list[float]:
        """Return each group's rate."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return the step count and every schedule's state."""
        return {
            "last_epoch": self.last_epoch,
            "milestones": list(self.milestones),
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, and set the rates."""
        if set(state_dict) != set(self.state_dict()):
            raise ValueError(
                f"SequentialLR: state has the entries {sorted(state_dict)}, "
                f"expected {sorted(self.state_dict())}"
            )
        if len(state_dict["schedulers"]) != len(self.schedulers):
            raise ValueError(
                f"SequentialLR: state has {len(state_dict['schedulers'])} schedules, "
                f"expected {len(self.schedulers)}"
            )
        for scheduler, state in zip(self.schedulers, state_dict["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        self.milestones = list(state_dict["milestones"])
        self.last_epoch = state_dict["last_epoch"]
        self._apply()
