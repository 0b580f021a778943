"""Metrics gathered over the batches of an epoch.

A metric sees every batch's output and target and says its value at the end. Classification
metrics take outputs of shape (N, C), scores per class, and integer targets (N); further axes may
follow in both. One logit per sample, of the targets' shape, is taken too: targets then lie in
[0, 1] and mean class 1 above 0.5. Where outputs are probabilities (`nn.BCELoss`), metrics want
`threshold=0.5`; a Trainer with that loss gives it to those it is asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterable

from .base import Metric
from .classification import (
    F1,
    Accuracy,
    ConfusionMatrix,
    Perplexity,
    Precision,
    Recall,
    TopKAccuracy,
)
from .ranking import AUC, AveragePrecision
from .regression import MeanAbsoluteError, MeanSquaredError, R2Score, RootMeanSquaredError

__all__ = [
    "AUC",
    "F1",
    "Accuracy",
    "AveragePrecision",
    "ConfusionMatrix",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "TopKAccuracy",
    "resolve",
]

_OF_CLASSES: dict[str, type[ConfusionMatrix]] = {
    "confusion": ConfusionMatrix,
    "f1": F1,
    "precision": Precision,
    "recall": Recall,
}
_OTHERS: dict[str, type[Metric]] = {
    "auc": AUC,
    "average_precision": AveragePrecision,
    "mae": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "rmse": RootMeanSquaredError,
    "r2": R2Score,
    "perplexity": Perplexity,
}


def resolve(
    metrics: Iterable[str | Metric], class_probabilities: bool = False, threshold: float = 0.0
) -> list[Metric]:
    """Turn names ("accuracy", "top5", "f1", ...) into metrics; metrics pass through.

    Args:
        metrics: the names and metrics.
        class_probabilities: what "accuracy" makes of targets of the outputs' shape.
        threshold: above it one output per sample means class 1, in metrics given by name.

    Raises:
        TypeError: one is neither a name nor a metric.
        ValueError: a name is not known, or two metrics share one.
    """
    resolved: list[Metric] = []
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics: must be names and Metrics, got {type(metrics).__name__}")
    for metric in [metrics] if isinstance(metrics, str) else metrics:
        if isinstance(metric, Metric):
            resolved.append(metric)
        elif not isinstance(metric, str):
            raise TypeError(f"metrics: must be names and Metrics, got {type(metric).__name__}")
        elif metric == "accuracy":
            resolved.append(Accuracy(threshold, class_probabilities=class_probabilities))
        elif metric in _OF_CLASSES:
            resolved.append(_OF_CLASSES[metric](threshold=threshold))
        elif metric in _OTHERS:
            resolved.append(_OTHERS[metric]())
        elif metric.startswith("top") and metric[3:].isdigit():
            resolved.append(TopKAccuracy(int(metric[3:])))
        else:
            known = ", ".join(["accuracy", *_OF_CLASSES, *_OTHERS])
            raise ValueError(f"metrics: {metric!r} is not known; allowed are {known}, topK")
    names = [metric.name for metric in resolved]
    if len(set(names)) != len(names):
        raise ValueError(f"metrics: two of {names} share a name")
    return resolved
