"""CyclicLR and OneCycleLR: up to a peak and down again, over and over or once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from gradsmith._checks import finite, number, positive
from gradsmith.optim.optimizer import Group, Optimizer

from .base import LRScheduler, check_optimizer

__all__ = ["CyclicLR", "OneCycleLR"]


def _per_group(
    owner: str, name: str, value: float | Sequence[float], groups: list[Group]
) -> list[float]:
    """Return one positive number per group."""
    values = list(value) if isinstance(value, Sequence) else [value] * len(groups)
    if len(values) != len(groups):
        raise ValueError(
            f"{owner}: {len(values)} values of {name} for {len(groups)} parameter groups"
        )
    for each in values:
        positive(owner, name, each)
    return values


def _momentum_range(
    owner: str, most: float, least: float, wanted: bool, groups: list[Group]
) -> tuple[float, float] | None:
    """Return the momentum at the ends and at the peak, or None if it is to stay."""
    finite(owner, "max_momentum", most)
    finite(owner, "base_momentum", least)
    if not wanted:
        return None
    if not all("momentum" in group or "betas" in group for group in groups):
        raise ValueError(f"{owner}: cycle_momentum needs an optimizer with momentum or betas")
    return most, least


def _set_momentum(group: Group, momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, group["betas"][1])
    else:
        group["momentum"] = momentum


class CyclicLR(LRScheduler):
    """Rates that rise from base_lr to max_lr and fall again, over and over (Smith, 2017).

    Call `step()` after every batch. With `cycle_momentum`, momentum (or the first beta) moves the
    other way. It starts at `base_lr` wherever the groups' "lr" was; PyTorch's, made after another
    schedule, has that one's initial rate until the first step.

    Args:
        optimizer: whose groups are changed.
        base_lr: the lowest rate, one for all groups or one per group.
        max_lr: the peak, likewise.
        step_size_up: steps of the rise.
        step_size_down: steps of the fall; as many unless given.
        mode: "triangular"; "triangular2", whose peaks halve; or "exp_range", whose height is
            gamma^steps.
        gamma: of "exp_range".
        scale_fn: factor of the height, instead of the mode's.
        scale_mode: what `scale_fn` gets: the number of the "cycle", from 1, or of "iterations".
        cycle_momentum: whether momentum moves too.
        base_momentum: momentum at the peak.
        max_momentum: momentum at the lowest rate.
        last_epoch: step count to start from; -1 starts anew.
    """

    _transient = frozenset({"optimizer", "scale_fn"})

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        """Check and store the settings, and set the first rates."""
        owner = "CyclicLR"
        check_optimizer(owner, optimizer)
        groups = optimizer.param_groups
        self.lows = _per_group(owner, "base_lr", base_lr, groups)
        self.max_lrs = _per_group(owner, "max_lr", max_lr, groups)
        up = positive(owner, "step_size_up", step_size_up)
        down = up if step_size_down is None else positive(owner, "step_size_down", step_size_down)
        self.total_size = float(up + down)
        self.step_ratio = up / self.total_size
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                f"{owner}: mode must be triangular, triangular2 or exp_range, got {mode!r}"
            )
        if scale_mode not in ("cycle", "iterations"):
            raise ValueError(f"{owner}: scale_mode must be cycle or iterations, got {scale_mode!r}")
        if scale_fn is not None and not callable(scale_fn):
            raise TypeError(f"{owner}: scale_fn must be a function, got {type(scale_fn).__name__}")
        self.mode = mode
        self.gamma = finite(owner, "gamma", gamma)
        self.scale_fn = scale_fn
        self.scale_mode = scale_mode
        self.momentum_range = _momentum_range(
            owner, max_momentum, base_momentum, cycle_momentum, groups
        )
        if last_epoch == -1:
            for group, low in zip(groups, self.lows, strict=True):
                group["lr"] = low
        super().__init__(optimizer, last_epoch)

    def _height(self, epoch: int) -> float:
        """Return where between low and peak the rate is, from 0 to 1."""
        cycle = math.floor(1 + epoch / self.total_size)
        at = 1 + epoch / self.total_size - cycle
        ratio = self.step_ratio
        height = at / ratio if at <= ratio else (at - 1) / (ratio - 1)
        if self.scale_fn is not None:
            return height * self.scale_fn(cycle if self.scale_mode == "cycle" else epoch)
        if self.mode == "triangular2":
            return height / 2.0 ** (cycle - 1)
        return height * self.gamma**epoch if self.mode == "exp_range" else height

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        low = self.lows[group]
        return low + (self.max_lrs[group] - low) * self._height(epoch)

    def _apply(self, rule: Callable[[float, float, int, int], float]) -> None:
        super()._apply(rule)
        if self.momentum_range is not None:
            most, least = self.momentum_range
            for group in self.optimizer.param_groups:
                _set_momentum(group, most - (most - least) * self._height(self.last_epoch))


class OneCycleLR(LRScheduler):
    """One rise from max_lr / div_factor to max_lr and one fall to a tiny rate (Smith, 2018).

    Call `step()` after every batch. With `cycle_momentum`, momentum (or the first beta) moves the
    other way. The first rate becomes the groups' "initial_lr", also for schedules made later.

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
        owner = "OneCycleLR"
        check_optimizer(owner, optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(f"{owner}: give total_steps, or epochs and steps_per_epoch")
            positive(owner, "epochs", epochs)
            total_steps = epochs * int(positive(owner, "steps_per_epoch", steps_per_epoch))
        self.total_steps = int(positive(owner, "total_steps", total_steps))
        if not 0 <= number(owner, "pct_start", pct_start) <= 1:
            raise ValueError(f"{owner}: pct_start must lie in [0, 1], got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"{owner}: anneal_strategy must be cos or linear, got {anneal_strategy!r}"
            )
        groups = optimizer.param_groups
        self.max_lrs = _per_group(owner, "max_lr", max_lr, groups)
        self.anneal_strategy = anneal_strategy
        self.momentum_range = _momentum_range(
            owner, max_momentum, base_momentum, cycle_momentum, groups
        )
        self.div_factor = positive(owner, "div_factor", div_factor)
        self.final_div_factor = positive(owner, "final_div_factor", final_div_factor)
        top = pct_start * self.total_steps - 1
        self.ends = [top, self.total_steps - 1]
        if three_phase:
            self.ends.insert(1, 2 * pct_start * self.total_steps - 2)
        if last_epoch == -1:
            for group, peak in zip(groups, self.max_lrs, strict=True):
                group["initial_lr"] = peak / self.div_factor
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

    def _apply(self, rule: Callable[[float, float, int, int], float]) -> None:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {self.last_epoch} is past the cycle of {self.total_steps} steps"
            )
        super()._apply(rule)
        if self.momentum_range is None:
            return
        ends, peak = self.momentum_range
        levels = [ends, peak, ends, ends] if len(self.ends) == 3 else [ends, peak, ends]
        momentum = self._at(levels, self.last_epoch)
        for group in self.optimizer.param_groups:
            _set_momentum(group, momentum)
