"""Standardizer: mean 0 and deviation 1 by the numbers of the training data alone."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

__all__ = ["Standardizer"]

Array = np.ndarray[Any, Any]


class Standardizer:
    """Shifts and scales columns: y = (x - mean) / std, with mean and std of the data it was fit to.

    Fit it to training data only, or numbers of the test data leak into training. A column that
    does not vary is only shifted. NaN counts for nothing and stays NaN.

    Attributes:
        mean: one number per column, float64.
        std: one number per column, float64.
    """

    mean: Array
    std: Array

    def fit(self, values: Array) -> Self:
        """Take mean and deviation from (N,) or (N, columns); N must be positive.

        Raises:
            ValueError: there are no rows, or a column holds no number at all, or an infinite one.
        """
        given = np.asarray(values, dtype=np.float64)
        if given.ndim not in (1, 2) or not len(given):
            raise ValueError(
                f"Standardizer: values must be (N,) or (N, columns), N > 0; got {given.shape}"
            )
        if np.isnan(given).all(0).any():
            raise ValueError("Standardizer: a column holds no number")
        if np.isinf(given).any():
            raise ValueError("Standardizer: a column holds an infinite number")
        self.mean = np.asarray(np.nanmean(given, 0))
        spread = np.asarray(np.nanstd(given, 0))
        # Rounding gives a constant column a deviation that is not quite 0.
        constant = spread <= 1e-12 * np.maximum(np.abs(self.mean), 1e-300)
        self.std = np.where(constant, 1.0, spread)
        return self

    def transform(self, values: Array) -> Array:
        """Return the scaled values, float64.

        Raises:
            ValueError: `fit` has not been called, or there are not as many columns.
        """
        return (self._checked("transform", values) - self.mean) / self.std

    def inverse(self, values: Array, column: int | None = None) -> Array:
        """Return scaled values, of all columns or of one, as they were.

        Raises:
            ValueError: `fit` has not been called, or there are not as many columns.
        """
        given = self._checked("inverse", values, column is None)
        if column is None:
            return given * self.std + self.mean
        return given * self.std[column] + self.mean[column]

    def _checked(self, method: str, values: Array, of_all: bool = True) -> Array:
        if not hasattr(self, "mean"):
            raise ValueError(f"Standardizer: fit comes before {method}")
        given = np.asarray(values, dtype=np.float64)
        if of_all and self.mean.ndim and given.shape[-1:] != self.mean.shape:
            raise ValueError(
                f"Standardizer: {method} needs {self.mean.size} columns, got shape {given.shape}"
            )
        return given
