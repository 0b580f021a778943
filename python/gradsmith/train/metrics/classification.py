"""Metrics of classification, from each sample's predicted class or scores."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from gradsmith._checks import integer, number
from gradsmith._core import Tensor

from .base import Array, Mean, Metric, counted, predicted_classes

__all__ = [
    "F1",
    "Accuracy",
    "ConfusionMatrix",
    "Perplexity",
    "Precision",
    "Recall",
    "TopKAccuracy",
]


class Accuracy(Mean):
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
        self.threshold = number("Accuracy", "threshold", threshold)
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)

    def _values(self, output: Array, target: Array) -> Array:
        if self.class_probabilities and output.shape == target.shape and output.ndim > 1:
            target = target.argmax(1)
        predicted, truth = predicted_classes(
            "Accuracy", output, target, self.threshold, self.ignore_index
        )
        return np.asarray(predicted == truth)


class TopKAccuracy(Mean):
    """Share of samples whose target class is among the k highest scores.

    Args:
        k: how many scores.
        ignore_index: targets of this value count for nothing.
    """

    def __init__(self, k: int = 5, ignore_index: int = -100) -> None:
        """Store the settings."""
        if integer("TopKAccuracy", "k", k) < 1:
            raise ValueError(f"TopKAccuracy: k must be at least 1, got {k}")
        super().__init__()
        self.k = k
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)
        self.name = f"top{k}"

    def _values(self, output: Array, target: Array) -> Array:
        scores, truth = counted("TopKAccuracy", output, target, self.ignore_index)
        own = np.take_along_axis(scores, truth[:, None], axis=1)
        return np.asarray((~(scores <= own)).sum(1) < self.k)  # NaN is never reached


class Perplexity(Mean):
    """exp of the mean cross entropy (in nats) of scores: how many choices are left, as it were.

    Args:
        ignore_index: targets of this value count for nothing.
    """

    name = "perplexity"

    def __init__(self, ignore_index: int = -100) -> None:
        """Store the settings."""
        super().__init__()
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)

    def _values(self, output: Array, target: Array) -> Array:
        scores, truth = counted("Perplexity", output, target, self.ignore_index)
        scores = scores.astype(np.float64)
        scores -= scores.max(-1, keepdims=True, initial=-np.inf)
        own = np.take_along_axis(scores, truth[:, None], axis=1)[:, 0]
        return np.log(np.exp(scores).sum(-1)) - own

    def compute(self) -> float:
        """Return the perplexity so far; NaN before any sample."""
        mean = super().compute()
        return math.exp(mean) if not mean > 700 else math.inf


class ConfusionMatrix(Metric):
    """Counts of (target class, predicted class); `compute()` is the accuracy.

    Args:
        num_classes: taken from the first batch unless given.
        ignore_index: targets of this value count for nothing.
        threshold: above it one logit per sample means class 1; 0.5 where outputs are probabilities.
    """

    name = "confusion"

    def __init__(
        self, num_classes: int | None = None, ignore_index: int = -100, threshold: float = 0.0
    ) -> None:
        """Store the settings."""
        if num_classes is not None and integer(type(self).__name__, "num_classes", num_classes) < 1:
            raise ValueError(
                f"{type(self).__name__}: num_classes must be at least 1, got {num_classes}"
            )
        self._given = num_classes
        self.threshold = number(type(self).__name__, "threshold", threshold)
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)
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
        predicted, truth = predicted_classes(own, scores, truth, self.threshold, self.ignore_index)
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
        self,
        average: str = "macro",
        num_classes: int | None = None,
        ignore_index: int = -100,
        threshold: float = 0.0,
    ) -> None:
        """Check and store the kind of average."""
        if average not in ("macro", "micro"):
            raise ValueError(
                f"{type(self).__name__}: average must be macro or micro, got {average!r}"
            )
        super().__init__(num_classes, ignore_index, threshold)
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
