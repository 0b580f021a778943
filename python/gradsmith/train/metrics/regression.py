"""Metrics of numbers that are predicted."""

from __future__ import annotations

import math

import numpy as np

from gradsmith._core import Tensor

from .base import Array, Mean, Metric

__all__ = ["MeanAbsoluteError", "MeanSquaredError", "R2Score", "RootMeanSquaredError"]


def _same_shape(name: str, output: Array, target: Array) -> None:
    """Refuse what NumPy would broadcast into a matrix of differences."""
    if output.shape != target.shape:
        raise ValueError(f"{name}: output {output.shape} and target {target.shape} must be alike")


class MeanAbsoluteError(Mean):
    """Mean of `|output - target|`."""

    name = "mae"

    def _values(self, output: Array, target: Array) -> Array:
        _same_shape("MeanAbsoluteError", output, target)
        return np.abs(output - target)


class MeanSquaredError(Mean):
    """Mean of (output - target)^2."""

    name = "mse"

    def _values(self, output: Array, target: Array) -> Array:
        _same_shape(type(self).__name__, output, target)
        return np.square(output.astype(np.float64) - target)


class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean of (output - target)^2."""

    name = "rmse"

    def compute(self) -> float:
        """Return the root so far; NaN before any sample."""
        return math.sqrt(super().compute())


class R2Score(Metric):
    """Share of the targets' variance that outputs explain: 1 is perfect, 0 as good as the mean."""

    name = "r2"

    def __init__(self) -> None:
        """Start at nothing."""
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._count, self._mean, self._total, self._error = 0, 0.0, 0.0, 0.0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Take one batch into account."""
        given = output.detach().numpy().astype(np.float64)
        truth = target.detach().numpy().astype(np.float64)
        _same_shape("R2Score", given, truth)
        if not truth.size:
            return
        self._error += float(np.square(given - truth).sum())
        # Squares about the mean of all so far, joined from two parts without cancellation.
        mean, count = float(truth.mean()), self._count + truth.size
        apart = mean - self._mean
        self._total += float(np.square(truth - mean).sum())
        self._total += apart * apart * self._count * truth.size / count
        self._mean += apart * truth.size / count
        self._count = count

    def compute(self) -> float:
        """Return the share so far; NaN where the targets do not vary."""
        return 1 - self._error / self._total if self._total else float("nan")
