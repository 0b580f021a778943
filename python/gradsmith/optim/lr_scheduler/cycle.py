"""OneCycleLR: up to a peak and far down again, once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradsmith._checks import positive
from gradsmith.optim.optimizer import Optimizer

from .base import LRScheduler, check_optimizer

__all__ = ["OneCycleLR"]


class OneCycleLR(LRScheduler):
    """One rise from max_lr / div_factor to max_lr and one fall to a tiny rate (Smith, 2018).

    Call `step()` after every batch. With `cycle_momentum`, momentum (or the first beta) moves the
    other way.

    Args:
        optimizer: whose groups are changed.
        max_lr: the peak, one for all groups or one per group.
        total_steps: length of the cycle; or give `epochs` and `steps_per_epoch`.
        epochs: epochs of training.
        steps_per_epoch: batches per epoch.
        pct_start: share of the cycle that rises.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: whether momentum moves too.
        base_momentum: momentum at the peak.
        max_momentum: momentum at both ends.
        div_factor: max_lr divided by the first rate.
        final_div_factor: first rate divided by the last.
        three_phase: fall back to the first rate symmetrically, then to the last.
        last_epoch: step count to start from; -1 starts anew.

    Raises:
        ValueError: a setting is out of range, or `step()` goes past the end.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        """Check and store the settings, and set the first rates."""
        check_optimizer("OneCycleLR", optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        self.total_steps = int(positive("OneCycleLR", "total_steps", total_steps))
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start must lie in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"OneCycleLR: anneal_strategy must be cos or linear, got {anneal_strategy!r}"
            )
        groups = optimizer.param_groups
        peaks = list(max_lr) if isinstance(max_lr, Sequence) else [max_lr] * len(groups)
        if len(peaks) != len(groups):
            raise ValueError(
                f"OneCycleLR: {len(peaks)} values of max_lr for {len(groups)} parameter groups"
            )
        for peak in peaks:
            positive("OneCycleLR", "max_lr", peak)
        self.max_lrs = peaks
        self.anneal_strategy = anneal_strategy
        self.momentum_range = (max_momentum, base_momentum) if cycle_momentum else None
        self.div_factor = positive("OneCycleLR", "div_factor", div_factor)
        self.final_div_factor = positive("OneCycleLR", "final_div_factor", final_div_factor)
        top = pct_start * self.total_steps - 1
        self.ends = [top, self.total_steps - 1]
        if three_phase:
            self.ends.insert(1, 2 * pct_start * self.total_steps - 2)
        if cycle_momentum and not all("momentum" in g or "betas" in g for g in groups):
            raise ValueError("OneCycleLR: cycle_momentum needs an optimizer with momentum or betas")
        super().__init__(optimizer, last_epoch)

    def _at(self, levels: list[float], epoch: int) -> float:
        """Interpolate between levels[i] and levels[i + 1] in phase i."""
        start = 0.0
        for phase, end in enumerate(self.ends):
            if epoch <= end or phase == len(self.ends) - 1:
                share = min((epoch - start) / (end - start), 1.0) if end != start else 1.0
                low, high = levels[phase], levels[phase + 1]
                if self.anneal_strategy == "linear":
                    return low + (high - low) * share
                return high + (low - high) / 2 * (1 + math.cos(math.pi * share))
            start = end
        raise AssertionError

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        peak = self.max_lrs[group]
        first = peak / self.div_factor
        last = first / self.final_div_factor
        levels = [first, peak, first, last] if len(self.ends) == 3 else [first, peak, last]
        return self._at(levels, epoch)

    def _apply(self) -> None:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {self.last_epoch} is past the cycle of {self.total_steps} steps"
            )
        super()._apply()
        if self.momentum_range is None:
            return
        ends, peak = self.momentum_range
        levels = [ends, peak, ends, ends] if len(self.ends) == 3 else [ends, peak, ends]
        momentum = self._at(levels, self.last_epoch)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
