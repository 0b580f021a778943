"""find_lr: the range test for learning rates."""

from __future__ import annotations

import copy
import itertools
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradsmith._checks import positive

from .plotting import new_figure
from .trainer import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RateSearch", "find_lr"]

_SMOOTHING = 0.9


class RateSearch(NamedTuple):
    """What `find_lr` measured; `suggestion` is where the loss falls most steeply."""

    rates: list[float]
    losses: list[float]  # smoothed
    suggestion: float

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw loss over rate, and save the picture if a path is given.

        Raises:
            ModuleNotFoundError: matplotlib is not installed; the text says how to install it.
        """
        figure = new_figure(7, 4.5)
        axes = figure.subplots()
        axes.plot(self.rates, self.losses)
        axes.axvline(self.suggestion, linestyle=":", label=f"{self.suggestion:.2g}")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
        axes.legend()
        if path is not None:
            figure.savefig(os.fspath(path), dpi=120)
        return figure


def find_lr(
    trainer: Trainer,
    train: Any,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    batch_size: int = 32,
    stop: float = 4.0,
) -> RateSearch:
    """Train with rates that grow from `low` to `high` and see where the loss falls (Smith, 2017).

    Afterwards model (its mode as well), optimizer, random generator and data are as they were.

    Args:
        trainer: what is trained; groups of parameters keep the ratios of their rates.
        train: a DataLoader, a dataset, or a pair (inputs, target).
        low: the first rate.
        high: the last rate.
        steps: batches; the data is repeated if need be.
        batch_size: for data that is not a DataLoader.
        stop: end as soon as the smoothed loss is so many times the smallest.

    Raises:
        ValueError: an argument is out of range, there is no data, or the loss is not finite before
            three steps are done.
    """
    if not positive("find_lr", "low", low) < positive("find_lr", "high", high):
        raise ValueError(f"find_lr: low must be below high, got {low} and {high}")
    if steps < 3:
        raise ValueError(f"find_lr: steps must be at least 3, got {steps}")
    state = copy.deepcopy(trainer.state_dict())
    loader = trainer._loader("find_lr", train, batch_size, True, 0)
    if not len(loader):
        raise ValueError("find_lr: train has no batches")
    loader_state = loader.state_dict()
    groups = trainer.optimizer.param_groups
    top = max(group["lr"] for group in groups) or 1.0
    shares = [group["lr"] / top for group in groups]
    modes = [(module, module.training) for module in trainer.model.modules()]
    rates: list[float] = []
    losses: list[float] = []
    mean = 0.0
    try:
        batches = itertools.chain.from_iterable(itertools.repeat(loader))
        trainer.model.train()
        for step, batch in zip(range(steps), batches, strict=False):
            rate = low * (high / low) ** (step / (steps - 1))
            for group, share in zip(groups, shares, strict=True):
                group["lr"] = rate * share
            loss = trainer._train_batch(batch)
            mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
            smoothed = mean / (1 - _SMOOTHING ** (step + 1))
            if not math.isfinite(smoothed):
                break
            rates.append(rate)
            losses.append(smoothed)
            if step and smoothed > stop * min(losses) and min(losses) > 0:
                break
    finally:
        trainer.load_state_dict(state)
        for module, training in modes:
            module.training = training
        trainer.optimizer.zero_grad()
        loader.load_state_dict(loader_state)
    if len(losses) < 3:
        raise ValueError(f"find_lr: the loss grows or is not finite from a rate of {low} on")
    return RateSearch(rates, losses, _steepest(rates, losses))


def _steepest(rates: list[float], losses: list[float]) -> float:
    """Return the rate, before the smallest loss, at which the loss falls fastest."""
    end = max(int(np.argmin(losses)) + 1, 3)
    slopes = np.gradient(np.asarray(losses[:end]), np.log(rates[:end]))
    return rates[int(slopes.argmin())]
