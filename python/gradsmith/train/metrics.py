"""Metrics gathered over the batches of an epoch.

A metric sees every batch's output and target and says its value at the end. Classification
metrics take outputs of shape (N, C), scores per class, and integer targets (N).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from gradsmith._core import Tensor

__all__ = [
    "F1",
    "Accuracy",
    "ConfusionMatrix",
    "MeanAbsoluteError",
    "Metric",
    "Precision",
    "Recall",
    "TopKAccuracy",
    "resolve",
]

Array = np.ndarray[Any, Any]


class Metric:
    """Base class: `reset()`, then `update()` per batch, then `compute()`."""

    name: str = "metric"

    def reset(self) -> None:
        """Forget everything."""
        raise NotImplementedError

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take one batch into account."""
        raise NotImplementedError

    def compute(self) -> float:
        """Return the value so far; NaN before any sample."""
        raise NotImplementedError


class _Mean(Metric):
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


def _labels(name: str, output: Array, target: Array) -> Array:
    """Return the predicted class per sample, checking shapes."""
    if output.ndim == target.ndim and output.shape == target.shape:  # one logit per sample
        return (output > 0).astype(np.int64)
    if output.ndim != target.ndim + 1 or output.shape[:1] + output.shape[2:] != target.shape:
        raise ValueError(
            f"{name}: output {output.shape} must have one more axis (classes, axis 1) than "
            f"target {target.shape}"
        )
    return output.argmax(1)


class Accuracy(_Mean):
    """Share of samples whose highest score is at the target class."""

    name = "accuracy"

    def _values(self, output: Array, target: Array) -> Array:
        return _labels("Accuracy", output, target) == target


class TopKAccuracy(_Mean):
    """Share of samples whose target class is among the k highest scores."""

    def __init__(self, k: int = 5) -> None:
        """Store k."""
        if k < 1:
            raise ValueError(f"TopKAccuracy: k must be at least 1, got {k}")
        super().__init__()
        self.k = k
        self.name = f"top{k}"

    def _values(self, output: Array, target: Array) -> Array:
        scores = np.take_along_axis(output, target[:, None], axis=1)
        return np.asarray((output > scores).sum(1) < self.k)


class MeanAbsoluteError(_Mean):
    """Mean of |output - target|."""

    name = "mae"

    def _values(self, output: Array, target: Array) -> Array:
        return np.abs(output - target)


class ConfusionMatrix(Metric):
    """Counts of (target class, predicted class); `compute()` is the accuracy."""

    name = "confusion"

    def __init__(self, num_classes: int | None = None) -> None:
        """Fix the number of classes, or take it from the first batch."""
        self._given = num_classes
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        size = self._given or 0
        self.matrix: Array = np.zeros((size, size), dtype=np.int64)

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take one batch into account."""
        scores, truth = output.detach().numpy(), target.detach().numpy()
        predicted = _labels(type(self).__name__, scores, truth)
        if not self.matrix.size:
            size = scores.shape[1] if scores.ndim > truth.ndim else 2
            self.matrix = np.zeros((size, size), dtype=np.int64)
        np.add.at(self.matrix, (truth.astype(np.int64), predicted), 1)

    def compute(self) -> float:
        """Return the accuracy."""
        total = self.matrix.sum()
        return float(np.trace(self.matrix) / total) if total else float("nan")


class _PerClass(ConfusionMatrix):
    """A score per class, averaged: "macro" over classes, "micro" over samples."""

    _kind: ClassVar[str]

    def __init__(self, average: str = "macro", num_classes: int | None = None) -> None:
        """Check and store the kind of average."""
        if average not in ("macro", "micro"):
            raise ValueError(
                f"{type(self).__name__}: average must be macro or micro, got {average!r}"
            )
        super().__init__(num_classes)
        self.average = average
        self.name = self._kind

    def compute(self) -> float:
        """Return the averaged score; a class without samples or predictions counts as 0."""
        if self.average == "micro":  # every score is the accuracy then
            return super().compute()
        hits = np.diagonal(self.matrix).astype(np.float64)
        predicted, actual = self.matrix.sum(0), self.matrix.sum(1)
        if not actual.sum():
            return float("nan")
        divisor = {
            "precision": predicted,
            "recall": actual,
            "f1": (predicted + actual) / 2,
        }[self._kind]
        present = (predicted + actual) > 0
        scores = np.divide(hits, divisor, out=np.zeros_like(hits), where=divisor > 0)
        return float(scores[present].mean())


class Precision(_PerClass):
    """Share of the predictions of a class that are right."""

    _kind = "precision"


class Recall(_PerClass):
    """Share of the samples of a class that are found."""

    _kind = "recall"


class F1(_PerClass):
    """Harmonic mean of precision and recall."""

    _kind = "f1"


_BY_NAME: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "f1": F1,
    "precision": Precision,
    "recall": Recall,
    "mae": MeanAbsoluteError,
    "confusion": ConfusionMatrix,
}


def resolve(metrics: Iterable[str | Metric]) -> list[Metric]:
    """Turn names ("accuracy", "top5", "f1", ...) into metrics; metrics pass through.

    Raises:
        ValueError: a name is not known, or two metrics share one.
    """
    resolved: list[Metric] = []
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        if isinstance(metric, Metric):
            resolved.append(metric)
        elif metric in _BY_NAME:
            resolved.append(_BY_NAME[metric]())
        elif metric.startswith("top") and metric[3:].isdigit():
            resolved.append(TopKAccuracy(int(metric[3:])))
        else:
            raise ValueError(
                f"metrics: {metric!r} is not known; allowed are {', '.join(_BY_NAME)}, topK"
            )
    names = [metric.name for metric in resolved]
    if len(set(names)) != len(names):
        raise ValueError(f"metrics: two of {names} share a name")
    return resolved
