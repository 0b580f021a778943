"""Schedules given by one formula of the step count and the initial rate."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

from gradsmith._checks import finite, nonnegative, number, positive
from gradsmith.optim.optimizer import Optimizer

from .base import LRScheduler, check_optimizer

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "PolynomialLR",
    "StepLR",
]


class _Functions(LRScheduler):
    """What schedules by functions share; the functions are not part of the state."""

    _transient = frozenset({"optimizer", "lr_lambdas"})

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        """Store one function per group."""
        owner = type(self).__name__
        check_optimizer(owner, optimizer)
        count = len(optimizer.param_groups)
        given = [lr_lambda] * count if callable(lr_lambda) else lr_lambda
        if not isinstance(given, Sequence) or not all(map(callable, given)):
            raise TypeError(
                f"{owner}: lr_lambda must be a function, or one per parameter group, "
                f"got {lr_lambda!r}"
            )
        self.lr_lambdas = list(given)
        if len(self.lr_lambdas) != count:
            raise ValueError(
                f"{owner}: {len(self.lr_lambdas)} functions for {count} parameter groups"
            )
        super().__init__(optimizer, last_epoch)


class LambdaLR(_Functions):
    """base * lr_lambda(epoch); functions are not part of the state."""

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        return base_lr * self.lr_lambdas[group](epoch)


class MultiplicativeLR(_Functions):
    """base * lr_lambda(1) * ... * lr_lambda(epoch); functions are not part of the state.

    At a milestone of `SequentialLR` it starts from the rate that it finds, times lr_lambda(0), as
    PyTorch has it.
    """

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        return base_lr * math.prod(map(self.lr_lambdas[group], range(1, epoch + 1)))

    def _first(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        return lr

    def _next(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        return lr * self.lr_lambdas[group](epoch)

    def _restart(self) -> None:
        self.last_epoch = 0
        self._apply(self._next)


class _Factor(LRScheduler):
    """What schedules share whose rate is the initial one times a factor."""

    def _factor(self, epoch: int) -> float:
        """Return the factor after `epoch` steps; pure."""
        raise NotImplementedError

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        return base_lr * self._factor(epoch)

    def _first(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        return lr if epoch else lr * self._factor(0)

    def _next(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        now, before = self._factor(epoch), self._factor(epoch - 1)
        # A rate of the formula's own goes on by the formula, so that rounding does not add up.
        if lr == base_lr * before or (before == 0 and now != 0):
            return base_lr * now
        return lr if now == before else lr * (now / before)


class _Stairs(_Factor):
    """What schedules share whose factor jumps at certain steps, that of their making included."""

    def _first(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        if epoch == 0:
            return super()._first(lr, base_lr, group, epoch)
        return self._next(lr, base_lr, group, epoch)


class StepLR(_Stairs):
    """base * gamma^floor(epoch / step_size)."""

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        """Store the settings."""
        self.step_size = positive("StepLR", "step_size", step_size)
        self.gamma = finite("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** (epoch // self.step_size)


class MultiStepLR(_Stairs):
    """base * gamma^(number of milestones reached)."""

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        """Store the settings."""
        if not isinstance(milestones, Sequence) or isinstance(milestones, str):
            raise TypeError(
                f"MultiStepLR: milestones must be a list, got {type(milestones).__name__}"
            )
        self.milestones = sorted(number("MultiStepLR", "milestones", step) for step in milestones)
        self.gamma = finite("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma ** bisect.bisect_right(self.milestones, epoch)


class ExponentialLR(_Factor):
    """base * gamma^epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        """Store the settings."""
        self.gamma = finite("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return self.gamma**epoch


class LinearLR(_Factor):
    """base times a factor that moves linearly from start to end over `total_iters`: warm-up.

    With 0 steps it never moves, as PyTorch has it.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        """Store the settings."""
        owner = "LinearLR"
        starts = 0 < number(owner, "start_factor", start_factor) <= 1
        if not starts or not 0 <= number(owner, "end_factor", end_factor) <= 1:
            raise ValueError(
                "LinearLR: start_factor must lie in (0, 1] and end_factor in [0, 1], "
                f"got {start_factor} and {end_factor}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = nonnegative(owner, "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        share = min(epoch, self.total_iters) / self.total_iters if self.total_iters else 0.0
        return self.start_factor + (self.end_factor - self.start_factor) * share


class ConstantLR(_Stairs):
    """base * factor for the first `total_iters` steps, then base.

    With 0 steps it stays at base * factor, as PyTorch has it: no step ends them.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        """Store the settings."""
        if not 0 <= finite("ConstantLR", "factor", factor) <= 1:
            raise ValueError(f"ConstantLR: factor must lie in [0, 1], got {factor}")
        self.factor = factor
        self.total_iters = nonnegative("ConstantLR", "total_iters", total_iters)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        scaled = epoch < self.total_iters or self.total_iters == 0
        return self.factor if scaled else 1.0


class PolynomialLR(_Factor):
    """base * (1 - epoch / total_iters)^power, and 0 from `total_iters` on."""

    def __init__(
        self,
        optimizer: Optimizer,
        total_iters: int = 5,
        power: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        """Store the settings."""
        self.total_iters = positive("PolynomialLR", "total_iters", total_iters)
        self.power = finite("PolynomialLR", "power", power)
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        return (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi epoch / T_max)) / 2 (Loshchilov and Hutter, 2017).

    Where something else has changed "lr", what lies above eta_min is multiplied; it comes down to
    eta_min at T_max all the same, and rises from there as if nothing had been changed.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        """Store the settings."""
        self.T_max = positive("CosineAnnealingLR", "T_max", T_max)
        self.eta_min = finite("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def _rate(self, base_lr: float, group: int, epoch: int) -> float:
        return self.eta_min + (base_lr - self.eta_min) * self._wave(epoch)

    def _wave(self, epoch: int) -> float:
        return (1 + math.cos(math.pi * epoch / self.T_max)) / 2

    def _first(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        return lr

    def _next(self, lr: float, base_lr: float, group: int, epoch: int) -> float:
        now, before = self._wave(epoch), self._wave(epoch - 1)
        if lr == self._rate(base_lr, group, epoch - 1):
            return self._rate(base_lr, group, epoch)
        if before == 0:  # nothing is left to multiply
            return lr + (base_lr - self.eta_min) * now
        return self.eta_min + (lr - self.eta_min) * (now / before)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Cosine cycles of T_0, T_0 T_mult, T_0 T_mult^2, ... steps (Loshchilov and Hutter, 2017)."""

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        """Store the settings."""
        self.T_0 = positive("CosineAnnealingWarmRestarts", "T_0", T_0)
        if isinstance(T_mult, bool) or not isinstance(T_mult, int) or T_mult < 1:
            raise ValueError(f"CosineAnnealingWarmRestarts: T_mult must be 1 or more, got {T_mult}")
        self.T_mult = T_mult
        self.eta_min = finite("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Advance by one, or to an epoch, which may be a fraction: epoch + batch / batches."""
        if epoch is None:
            super().step()
            return
        if finite("CosineAnnealingWarmRestarts", "epoch", epoch) < 0:
            raise ValueError(
                f"CosineAnnealingWarmRestarts: epoch must not be negative, got {epoch}"
            )
        self.last_epoch = epoch  # type: ignore[assignment]
        self._apply(self._next)

    def _rate(self, base_lr: float, group: int, epoch: float) -> float:
        length, start = self.T_0, 0.0
        if self.T_mult == 1:
            start = epoch - epoch % length
        while epoch >= start + length:
            start += length
            length *= self.T_mult
        wave = (1 + math.cos(math.pi * (epoch - start) / length)) / 2
        return self.eta_min + (base_lr - self.eta_min) * wave
