"""Metrics gathered over the batches of an epoch.

A metric sees every batch's output and target and says its value at the end. Classification
metrics take outputs of shape (N, C), scores per class, and integer targets (N); further axes may
follow in both. One logit per sample, of the targets' shape, is taken too: targets then lie in
[0, 1] and mean class 1 above 0.5.
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


def _counted(name: str, output: Array, target: Array, ignore_index: int) -> tuple[Array, Array]:
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


def _classes(
    name: str, output: Array, target: Array, threshold: float, ignore_index: int
) -> tuple[Array, Array]:
    """Return predicted (-1 where a score is NaN) and true class of the samples that count."""
    if output.shape != target.shape:
        scores, truth = _counted(name, output, target, ignore_index)
        return np.where(np.isnan(scores).any(-1), -1, scores.argmax(-1)), truth
    counts = target != ignore_index
    logits, truth = output[counts], target[counts]
    if not ((truth >= 0) & (truth <= 1)).all():
        raise ValueError(f"{name}: targets of one logit per sample must lie in [0, 1]")
    predicted = np.where(np.isnan(logits), -1, (logits > threshold).astype(np.int64))
    return predicted, (truth > 0.5).astype(np.int64)  # labels may have been smoothed


class Accuracy(_Mean):
    """Share of samples whose highest score is at the target class.

    Args:
        threshold: above it one logit per sample means class 1; 0.5 where outputs are probabilities.
        ignore_index: targets of this value count for nothing, as in `nn.CrossEntropyLoss`.
        class_probabilities: targets of the outputs' shape are probabilities of classes, as that
            loss takes them, and the likeliest class counts; otherwise one logit stands for each.
    """

    name = "accuracy"

    def __init__(
        self,
        threshold: float = 0.0,
        ignore_index: int = -100,
        class_probabilities: bool = False,
    ) -> None:
        """Store the settings."""
        super().__init__()
        self.class_probabilities = class_probabilities
        self.threshold = threshold
        self.ignore_index = ignore_index

    def _values(self, output: Array, target: Array) -> Array:
        if self.class_probabilities and output.shape == target.shape and output.ndim > 1:
            target = target.argmax(1)
        predicted, truth = _classes("Accuracy", output, target, self.threshold, self.ignore_index)
        return np.asarray(predicted == truth)


class TopKAccuracy(_Mean):
    """Share of samples whose target class is among the k highest scores.

    Args:
        k: how many scores.
        ignore_index: targets of this value count for nothing.
    """

    def __init__(self, k: int = 5, ignore_index: int = -100) -> None:
        """Store the settings."""
        if k < 1:
            raise ValueError(f"TopKAccuracy: k must be at least 1, got {k}")
        super().__init__()
        self.k = k
        self.ignore_index = ignore_index
        self.name = f"top{k}"

    def _values(self, output: Array, target: Array) -> Array:
        scores, truth = _counted("TopKAccuracy", output, target, self.ignore_index)
        own = np.take_along_axis(scores, truth[:, None], axis=1)
        return np.asarray((~(scores <= own)).sum(1) < self.k)  # NaN is never reached


class MeanAbsoluteError(_Mean):
    """Mean of |output - target|."""

    name = "mae"

    def _values(self, output: Array, target: Array) -> Array:
        return np.abs(output - target)


class ConfusionMatrix(Metric):
    """Counts of (target class, predicted class); `compute()` is the accuracy.

    Args:
        num_classes: taken from the first batch unless given.
        ignore_index: targets of this value count for nothing.
    """

    name = "confusion"

    def __init__(self, num_classes: int | None = None, ignore_index: int = -100) -> None:
        """Store the settings."""
        self._given = num_classes
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        size = self._given or 0
        self.matrix: Array = np.zeros((size, size), dtype=np.int64)

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take one batch into account."""
        scores, truth = output.detach().numpy(), target.detach().numpy()
        own = type(self).__name__
        classes = scores.shape[1] if scores.ndim > truth.ndim else 2
        predicted, truth = _classes(own, scores, truth, 0.0, self.ignore_index)
        if (predicted < 0).any():
            raise ValueError(f"{own}: output holds NaN")
        if not self.matrix.size:
            self.matrix = np.zeros((classes, classes), dtype=np.int64)
        elif classes > len(self.matrix):
            raise ValueError(f"{own}: output has {classes} classes, expected {len(self.matrix)}")
        np.add.at(self.matrix, (truth, predicted), 1)

    def compute(self) -> float:
        """Return the accuracy."""
        total = self.matrix.sum()
        return float(np.trace(self.matrix) / total) if total else float("nan")


class _PerClass(ConfusionMatrix):
    """A score per class, averaged: "macro" over classes, "micro" over samples."""

    _kind: ClassVar[str]

    def __init__(
        self, average: str = "macro", num_classes: int | None = None, ignore_index: int = -100
    ) -> None:
        """Check and store the kind of average."""
        if average not in ("macro", "micro"):
            raise ValueError(
                f"{type(self).__name__}: average must be macro or micro, got {average!r}"
            )
        super().__init__(num_classes, ignore_index)
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


def resolve(metrics: Iterable[str | Metric], class_probabilities: bool = False) -> list[Metric]:
    """Turn names ("accuracy", "top5", "f1", ...) into metrics; metrics pass through.

    Args:
        metrics: the names and metrics.
        class_probabilities: what "accuracy" makes of targets of the outputs' shape.

    Raises:
        ValueError: a name is not known, or two metrics share one.
    """
    resolved: list[Metric] = []
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        if isinstance(metric, Metric):
            resolved.append(metric)
        elif metric == "accuracy":
            resolved.append(Accuracy(class_probabilities=class_probabilities))
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
