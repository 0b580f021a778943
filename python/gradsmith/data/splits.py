"""Folds for cross-validation, and weights against unequal classes."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor

from .sampler import whole_numbers

__all__ = ["class_weights", "k_fold", "sample_weights"]

Indices = np.ndarray[Any, np.dtype[np.int64]]


def _labels(owner: str, labels: Any) -> Indices:
    given = labels.detach().numpy() if isinstance(labels, Tensor) else labels
    return whole_numbers(owner, "labels", given)


def k_fold(
    count: int, k: int = 5, *, labels: Any = None, shuffle: bool = True, seed: int = 0
) -> list[tuple[Indices, Indices]]:
    """Return k pairs of indices (the rest, the fold); every sample is in one fold.

    Args:
        count: samples.
        k: folds, whose sizes differ by at most one.
        labels: one class per sample: every fold then holds its share of each class.
        shuffle: draw who is in which fold; otherwise folds are runs of neighbours.
        seed: decides the draw.

    Raises:
        ValueError: k is below 2 or above `count`, or there is not one label per sample.
    """
    if isinstance(k, bool) or not isinstance(k, int) or not 2 <= k <= count:
        raise ValueError(f"k_fold: k must be a whole number in [2, {count}], got {k!r}")
    order = np.arange(count)
    if shuffle:
        order = np.random.default_rng(seed).permutation(count)
    if labels is None:
        fold_of = np.empty(count, np.int64)
        fold_of[order] = np.arange(count) * k // count
    else:
        classes = _labels("k_fold", labels)
        if classes.size != count:
            raise ValueError(f"k_fold: there are {classes.size} labels for {count} samples")
        # Dealt out class by class like cards: the next class goes on where the last one ended.
        sorted_order = order[np.argsort(classes[order], kind="stable")]
        fold_of = np.empty(count, np.int64)
        fold_of[sorted_order] = np.arange(count) % k
    return [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(k)]


def class_weights(labels: Any, num_classes: int | None = None) -> Tensor:
    """Return a weight per class, for `nn.CrossEntropyLoss(weight=...)`, that evens classes out.

    A class has the weight samples / (classes present * samples of the class); one without samples
    has 0.

    Args:
        labels: one class per sample.
        num_classes: how many there are; as many as the labels show unless given.

    Raises:
        ValueError: there are no labels, or one is out of range.
    """
    counts = _counts("class_weights", labels, num_classes)
    present = np.count_nonzero(counts)
    weights = np.divide(counts.sum(), present * counts, out=np.zeros(counts.size), where=counts > 0)
    return gs.from_numpy(weights.astype(np.float32))


def sample_weights(labels: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a weight per sample, for `WeightedRandomSampler`, that draws all classes equally.

    Args:
        labels: one class per sample.

    Raises:
        ValueError: there are no labels, or one is negative.
    """
    counts = _counts("sample_weights", labels, None)
    return 1.0 / counts[_labels("sample_weights", labels)]


def _counts(owner: str, labels: Any, num_classes: int | None) -> Indices:
    classes = _labels(owner, labels)
    top = num_classes if num_classes is not None else (classes.max() + 1 if classes.size else 0)
    if not classes.size or classes.min() < 0 or classes.max() >= top:
        found = f"{classes.min()} to {classes.max()}" if classes.size else "none"
        raise ValueError(f"{owner}: labels must be classes from 0 to {top - 1}, got {found}")
    return np.bincount(classes, minlength=int(top)).astype(np.int64)
