"""What metrics share: the base class, means over samples, and checks of classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsmith._core import Tensor

__all__ = ["Array", "Mean", "Metric", "counted", "predicted_classes"]

Array = np.ndarray[Any, Any]


class Metric:
    """Base class: `reset()`, then `update()` per batch, then `compute()`."""

    name: str = "metric"
    running: bool = True  # cheap enough to be computed after every batch

    def reset(self) -> None:
        """Forget everything."""
        raise NotImplementedError

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take one batch into account."""
        raise NotImplementedError

    def compute(self) -> float:
        """Return the value so far; NaN before any sample."""
        raise NotImplementedError


class Mean(Metric):
    """A mean over samples of what `_values` gives for each."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sum = 0.0
        self._count = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take one batch into account."""
        values = self._values(output.detach().numpy(), target.detach().numpy())
        self._sum += float(values.sum())
        self._count += int(values.size)

    def compute(self) -> float:
        """Return the mean so far; NaN before any sample."""
        return self._sum / self._count if self._count else float("nan")

    def _values(self, output: Array, target: Array) -> Array:
        raise NotImplementedError


def counted(name: str, output: Array, target: Array, ignore_index: int) -> tuple[Array, Array]:
    """Return scores (M, C) and classes (M) of the M samples that count, checking both."""
    if output.ndim != target.ndim + 1 or output.shape[:1] + output.shape[2:] != target.shape:
        raise ValueError(
            f"{name}: output {output.shape} must have one more axis (classes, axis 1) than "
            f"target {target.shape}, or for one logit per sample its shape"
        )
    if output.shape[1] == 1:
        raise ValueError(
            f"{name}: output {output.shape} has one class; one logit per sample takes the "
            f"target's shape {target.shape}"
        )
    if target.dtype.kind not in "iu":
        raise ValueError(f"{name}: targets must be class numbers, got {target.dtype}")
    counts = target != ignore_index
    scores, classes = np.moveaxis(output, 1, -1)[counts], target[counts].astype(np.int64)
    outside = (classes < 0) | (classes >= output.shape[1])
    if outside.any():
        raise ValueError(
            f"{name}: target {classes[outside][0]} is outside of the {output.shape[1]} classes"
        )
    return scores, classes


def predicted_classes(
    name: str, output: Array, target: Array, threshold: float, ignore_index: int
) -> tuple[Array, Array]:
    """Return predicted (-1 where a score is NaN) and true class of the samples that count."""
    if output.shape != target.shape:
        scores, truth = counted(name, output, target, ignore_index)
        return np.where(np.isnan(scores).any(-1), -1, scores.argmax(-1)), truth
    counts = target != ignore_index
    logits, truth = output[counts], target[counts]
    if not ((truth >= 0) & (truth <= 1)).all():
        raise ValueError(f"{name}: targets of one logit per sample must lie in [0, 1]")
    predicted = np.where(np.isnan(logits), -1, (logits > threshold).astype(np.int64))
    return predicted, (truth > 0.5).astype(np.int64)  # labels may have been smoothed
