"""What the examples on tables share: networks for yes or no, and how their odds are judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.train import Callback

Array = np.ndarray[Any, Any]


def classifier(inputs: int, hidden: Sequence[int] = (), dropout: float = 0.0) -> nn.Sequential:
    """Return a network with two classes; without hidden layers it is logistic regression."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(inputs, size), nn.ReLU(), nn.Dropout(dropout)]
        inputs = size
    return nn.Sequential(*layers, nn.Linear(inputs, 2))


def trainer(
    model: nn.Module,
    *,
    weight_decay: float,
    class_weights: Tensor | None = None,
    callbacks: Sequence[Callback] = (),
) -> gs.Trainer:
    """Return a silent trainer; the examples train too many networks to show each."""
    optimizer = gs.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=weight_decay)
    loss = nn.CrossEntropyLoss(weight=class_weights)
    metrics = ("accuracy", "auc")
    return gs.Trainer(model, loss, optimizer, metrics=metrics, callbacks=callbacks, progress=False)


def log_odds(model: nn.Module, inputs: Tensor) -> Array:
    """Return log(p / (1 - p)) of class 1, (N)."""
    scores = gs.train.predict(model, inputs).double().numpy()
    return np.asarray(scores[:, 1] - scores[:, 0])


def probabilities(odds: Array) -> Array:
    """Return p of log odds."""
    return np.asarray(1 / (1 + np.exp(-odds)))


def auc(odds: Array, labels: Array) -> float:
    """Return the area under the ROC curve."""
    metric = gs.train.metrics.AUC()
    metric.update(gs.tensor(odds), gs.tensor(labels))
    return metric.compute()


def brier(chance: Array, labels: Array) -> float:
    """Return the mean squared error of probabilities (Brier, 1950)."""
    return float(np.square(chance - labels).mean())


def costs(chance: Array, labels: Array, threshold: float | Array, miss: float) -> Array:
    """Return the cost of each case, where a false alarm costs 1 and a miss `miss`."""
    alarm = chance > threshold
    return np.where(labels == 1, miss * ~alarm, alarm)


def cheapest_threshold(chance: Array, labels: Array, miss: float) -> float:
    """Return the threshold with the least costs, halfway between two of the chances."""
    edges = np.unique(np.concatenate([[0.0], chance, [1.0]]))
    candidates = (edges[1:] + edges[:-1]) / 2
    return float(min(candidates, key=lambda t: costs(chance, labels, t, miss).mean()))


def reliability(chance: Array, labels: Array, bins: int = 10) -> tuple[Array, Array]:
    """Return mean predicted and observed share of class 1 in bins of equal size."""
    parts = np.array_split(np.argsort(chance, kind="stable"), bins)
    return (
        np.array([chance[part].mean() for part in parts]),
        np.array([labels[part].mean() for part in parts]),
    )
