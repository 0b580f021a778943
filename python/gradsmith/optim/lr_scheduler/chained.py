"""ChainedScheduler: several schedules at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradsmith.optim.optimizer import Optimizer

from .base import LRScheduler, check_optimizer

__all__ = ["ChainedScheduler"]


class ChainedScheduler:
    """Multiplies the factors by which each schedule changes the initial rates.

    Args:
        schedulers: the schedules, of one optimizer.
        optimizer: that of the schedules unless given.

    Raises:
        TypeError: an entry is no schedule of the step count.
        ValueError: there is none, or they belong to several optimizers.
    """

    optimizer: Optimizer

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        """Check the settings and set the first rates."""
        owner, schedulers = "ChainedScheduler", list(schedulers)
        if not schedulers:
            raise ValueError(f"{owner}: schedulers is empty")
        for scheduler in schedulers:
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(
                    f"{owner}: schedulers must be schedules of the step count, "
                    f"got {type(scheduler).__name__}"
                )
        self.optimizer = schedulers[0].optimizer if optimizer is None else optimizer
        check_optimizer(owner, self.optimizer)
        if any(scheduler.optimizer is not self.optimizer for scheduler in schedulers):
            raise ValueError(f"{owner}: every schedule must belong to the same optimizer")
        self.schedulers = schedulers
        self._apply()

    def _apply(self) -> None:
        for number, group in enumerate(self.optimizer.param_groups):
            rate = base = self.schedulers[0].base_lrs[number]
            for scheduler in self.schedulers:
                found = scheduler._rate(base, number, scheduler.last_epoch)
                rate *= found / base if base else 0.0
            group["lr"] = rate

    def step(self) -> None:
        """Advance every schedule by one and set the rates."""
        for scheduler in self.schedulers:
            scheduler.step()
        self._apply()

    def get_last_lr(self) -> list[float]:
        """Return each group's rate."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return every schedule's state."""
        return {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, and set the rates.

        Raises:
            ValueError: names, kinds or the number of values differ.
        """
        stored = state_dict.get("schedulers")
        if set(state_dict) != {"schedulers"} or not isinstance(stored, (list, tuple)):
            raise ValueError("ChainedScheduler: state must hold 'schedulers' alone")
        if len(stored) != len(self.schedulers):
            raise ValueError(
                f"ChainedScheduler: state has {len(stored)} schedules, "
                f"expected {len(self.schedulers)}"
            )
        for scheduler, state in zip(self.schedulers, stored, strict=True):
            scheduler.load_state_dict(state)
        self._apply()
