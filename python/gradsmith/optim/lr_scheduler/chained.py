"""ChainedScheduler: several schedules at once."""

from __future__ import annotations

from collections.abc import Sequence

from gradsmith.optim.optimizer import Optimizer

from .base import LRScheduler
from .composite import Composite

__all__ = ["ChainedScheduler"]


class ChainedScheduler(Composite):
    """Steps each schedule in turn, so that what they change the rates by multiplies.

    One that sets its formula's rate whatever "lr" was (see `LRScheduler`) leaves nothing of those
    before it.

    Args:
        schedulers: the schedules, of one optimizer.
        optimizer: that of the schedules unless given.

    Raises:
        TypeError: an entry is no schedule of the step count.
        ValueError: there is none, or they belong to several optimizers.
    """

    def __init__(
        self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None
    ) -> None:
        """Check the schedules; making them has set the first rates."""
        if not schedulers:
            raise ValueError("ChainedScheduler: schedulers is empty")
        if optimizer is None:
            optimizer = getattr(schedulers[0], "optimizer", None)
        super().__init__(optimizer, list(schedulers))

    def step(self) -> None:
        """Advance every schedule by one and set the rates."""
        for scheduler in self.schedulers:
            scheduler.step()

    def _start(self) -> None:
        for scheduler in self.schedulers:
            scheduler._start()

    def _restart(self) -> None:
        first, *others = self.schedulers
        first._restart()
        for scheduler in others:
            scheduler._start()
