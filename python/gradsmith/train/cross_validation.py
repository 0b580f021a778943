"""cross_validate: one model per fold, and the spread of what they reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradsmith._core import Tensor
from gradsmith.data import Subset, TensorDataset, k_fold

from .trainer import Trainer

__all__ = ["CrossValidation", "cross_validate"]


@dataclass
class CrossValidation:
    """What `cross_validate` measured.

    Attributes:
        rows: loss and metrics on the held-out fold, one dict per fold.
        trainers: the trained models' trainers, one per fold.
    """

    rows: list[dict[str, float]]
    trainers: list[Trainer]

    def mean(self, name: str) -> float:
        """Return the mean of one value over the folds."""
        return float(np.mean([row[name] for row in self.rows]))

    def std(self, name: str) -> float:
        """Return the standard deviation of one value over the folds (divided by k - 1)."""
        return float(np.std([row[name] for row in self.rows], ddof=1))

    def __str__(self) -> str:
        """Show mean and deviation of every value."""
        names = self.rows[0]
        return "  ".join(f"{n} {self.mean(n):.4f} ± {self.std(n):.4f}" for n in names)


def cross_validate(
    build: Callable[[], Trainer],
    data: Any,
    k: int = 5,
    *,
    labels: Any = None,
    seed: int = 0,
    **fit_options: Any,
) -> CrossValidation:
    """Train k models, each on all folds but one, and evaluate it on that one.

    Args:
        build: makes a new trainer with a new model; called once per fold.
        data: a dataset, or a pair (inputs, target).
        k: folds.
        labels: one class per sample: each fold then has its share of every class.
        seed: decides who is in which fold.
        fit_options: passed on to `Trainer.fit`, as `epochs=10`.

    Raises:
        ValueError: there are fewer than k samples, or fewer than 2 folds.
    """
    if isinstance(data, (tuple, list)) and all(isinstance(d, (Tensor, np.ndarray)) for d in data):
        data = TensorDataset(*data)
    rows, trainers = [], []
    for train, held_out in k_fold(len(data), k, labels=labels, seed=seed):
        trainer = build()
        trainer.fit(Subset(data, train), **fit_options)
        rows.append(trainer.evaluate(Subset(data, held_out)))
        trainers.append(trainer)
    return CrossValidation(rows, trainers)
