"""Metrics of how well scores order the samples, whatever the threshold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gradsmith._checks import integer
from gradsmith._core import Tensor

from .base import Array, Metric, counted

__all__ = ["AUC", "AveragePrecision"]


def _area(scores: Array, truth: Array) -> float:
    """Return the chance that a positive scores above a negative one, ties counting half."""
    positives = int(truth.sum())
    negatives = truth.size - positives
    if not positives or not negatives:
        return float("nan")
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of equal scores
    above = ranks[at][truth].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


def _precision(scores: Array, truth: Array) -> float:
    """Return the mean, over the positives, of the precision where each one is just found."""
    positives = int(truth.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # equal scores come at once
    found = np.diff(np.append(0, hits[ends]))
    return float((found * hits[ends] / (ends + 1)).sum() / positives)


class _Ranking(Metric):
    """Gathers scores and targets; classes are taken one against the rest, and averaged."""

    running = False  # it sorts all samples

    def __init__(self, ignore_index: int = -100) -> None:
        """Store the settings."""
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._scores: list[Array] = []
        self._truth: list[Array] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take one batch into account."""
        name = type(self).__name__
        scores, truth = output.detach().numpy(), target.detach().numpy()
        if scores.shape == truth.shape:
            counts = truth != self.ignore_index
            scores, truth = scores[counts][:, None], truth[counts]
            if not np.isin(truth, (0, 1)).all():
                raise ValueError(f"{name}: targets of one score per sample must be 0 or 1")
        else:
            scores, truth = counted(name, scores, truth, self.ignore_index)
            scores = scores.astype(np.float64)
            if scores.shape[1] == 2:  # the one number that both scores come down to
                scores = scores[:, 1:] - scores[:, :1]
            else:
                scores = np.exp(scores - scores.max(1, keepdims=True, initial=-np.inf))
                scores /= scores.sum(1, keepdims=True)
        if np.isnan(scores).any():
            raise ValueError(f"{name}: output holds NaN")
        self._scores.append(scores)
        self._truth.append(truth.astype(np.int64))

    def _averaged(self, measure: Callable[[Array, Array], float]) -> float:
        if not self._scores:
            return float("nan")
        scores, truth = np.concatenate(self._scores), np.concatenate(self._truth)
        if scores.shape[1] == 1:
            return measure(scores[:, 0], truth == 1)
        values = [measure(scores[:, c], truth == c) for c in range(scores.shape[1])]
        known = [value for value in values if value == value]
        return sum(known) / len(known) if known else float("nan")


class AUC(_Ranking):
    """Area under the ROC curve: how often a positive sample scores above a negative one.

    Outputs are one score or logit per sample, with targets 0 and 1, or scores per class; of more
    than two classes it is the mean over each one (its softmax) against the rest. A Trainer shows it
    at the end of an epoch only.

    Args:
        ignore_index: targets of this value count for nothing.
    """

    name = "auc"

    def compute(self) -> float:
        """Return the area so far; NaN unless there are samples of both kinds."""
        return self._averaged(_area)


class AveragePrecision(_Ranking):
    """Area under the curve of precision over recall, as steps: the one to watch where positives
    are rare. Arguments as for `AUC`.
    """

    name = "average_precision"

    def compute(self) -> float:
        """Return the area so far; NaN without positive samples."""
        return self._averaged(_precision)
