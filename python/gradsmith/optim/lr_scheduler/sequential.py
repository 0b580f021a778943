"""SequentialLR: one schedule after the other."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import ClassVar

from gradsmith.optim.optimizer import Optimizer

from .base import LRScheduler
from .composite import Composite

__all__ = ["SequentialLR"]


class SequentialLR(Composite):
    """Follows each schedule in turn, switching at the milestones; each starts from its step 0.

    The first starts from the groups' "initial_lr", which a `OneCycleLR` among the schedules has
    set to its own first rate, as in PyTorch; the others from the "initial_lr" that they were made
    with. `ChainedScheduler` and `SequentialLR` may be among them.

    Args:
        optimizer: the optimizer that all schedules were made for.
        schedulers: the schedules.
        milestones: step counts at which the next one takes over; one fewer than schedules.

    Raises:
        TypeError: `optimizer` is none, or an entry is no schedule of the step count.
        ValueError: milestones do not rise from above 0 or are not one fewer than schedules, or
            these belong to several optimizers.
    """

    _counted: ClassVar[dict[str, str]] = {"schedulers": "schedules", "milestones": "milestones"}

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
    ) -> None:
        """Check the settings and set the first schedule's rates."""
        super().__init__(optimizer, list(schedulers))
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need one milestone fewer, "
                f"got {len(milestones)}"
            )
        if list(milestones) != sorted(set(milestones)) or any(m <= 0 for m in milestones):
            raise ValueError(f"SequentialLR: milestones must rise from above 0, got {milestones}")
        self.milestones = list(milestones)
        self._start()

    def _current(self) -> int:
        return bisect.bisect_right(self.milestones, self.last_epoch)

    def step(self) -> None:
        """Advance by one and set the rates."""
        self.last_epoch += 1
        scheduler = self.schedulers[self._current()]
        if self.last_epoch in self.milestones:
            scheduler._restart()
        else:
            scheduler.step()

    def _start(self) -> None:
        self.last_epoch = 0
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.schedulers[0]._start()

    def _restart(self) -> None:
        self.last_epoch = 0
        self.schedulers[0]._restart()

    def _order(self) -> Iterable[int]:
        upcoming = self._current() + 1
        return [*range(upcoming, len(self.schedulers)), *range(upcoming)]
