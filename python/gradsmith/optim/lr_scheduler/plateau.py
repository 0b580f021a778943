"""ReduceLROnPlateau: lower the rate when a measured value stops improving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gradsmith._checks import finite, nonnegative, number
from gradsmith.optim.optimizer import Optimizer

from .base import check_optimizer, restore

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau:
    """Multiplies the rate by `factor` after more than `patience` steps without improvement.

    Args:
        optimizer: whose groups are changed.
        mode: "min" if smaller is better, else "max".
        factor: what the rate is multiplied by, below 1.
        patience: steps without improvement that are tolerated.
        threshold: how much better counts as better.
        threshold_mode: "rel": a share of the best value; "abs": an amount.
        cooldown: steps after a cut during which nothing is counted.
        min_lr: rates are never set below it; one for all groups or one per group.
        eps: smaller changes of the rate are not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        """Check and store the settings."""
        owner = "ReduceLROnPlateau"
        check_optimizer(owner, optimizer)
        if not 0 < number(owner, "factor", factor) < 1:
            raise ValueError(f"{owner}: factor must lie in (0, 1), got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"{owner}: mode must be min or max, got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{owner}: threshold_mode must be rel or abs, got {threshold_mode!r}")
        count = len(optimizer.param_groups)
        floors: list[Any] = list(min_lr) if isinstance(min_lr, (list, tuple)) else [min_lr] * count
        if len(floors) != count:
            raise ValueError(
                f"{owner}: {len(floors)} values of min_lr for {count} parameter groups"
            )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        nonnegative(owner, "patience", patience)
        nonnegative(owner, "cooldown", cooldown)
        self.patience = patience
        self.threshold = finite(owner, "threshold", threshold)
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = [finite(owner, "min_lr", floor) for floor in floors]
        self.eps = finite(owner, "eps", eps)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0

    def _better(self, value: float) -> bool:
        margin = self.threshold
        if self.threshold_mode == "rel" and math.isfinite(self.best):
            margin *= self.best
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, metrics: float) -> None:
        """Note one measured value and lower the rate if it is time."""
        try:
            value = float(metrics)
        except (TypeError, ValueError):
            raise TypeError(
                f"ReduceLROnPlateau: step: metrics must be a number, got {type(metrics).__name__}"
            ) from None
        self.last_epoch += 1
        if self._better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, floor in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lowered = max(group["lr"] * self.factor, floor)
                if group["lr"] - lowered > self.eps:
                    group["lr"] = lowered
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def get_last_lr(self) -> list[float]:
        """Return each group's rate."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer."""
        return {name: value for name, value in vars(self).items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        restore(self, state_dict, {"min_lrs": "parameter groups"}, vars(self).update)
