"""How much of the data a generator covers: numbers that fall when it collapses."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["coverage", "diversity"]

Array = np.ndarray[Any, Any]


def _distances(a: Array, b: Array) -> Array:
    """Return the Euclidean distances (N, M) between rows, the samples' features taken together."""
    a = a.reshape(len(a), -1).astype(np.float64)
    b = b.reshape(len(b), -1).astype(np.float64)
    squares = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * (a @ b.T)
    return np.sqrt(np.maximum(squares, 0))


def _check(owner: str, real: Array, fake: Array, least: int) -> None:
    if real.shape[1:] != fake.shape[1:] or min(len(real), len(fake)) < least:
        raise ValueError(
            f"{owner}: real {real.shape} and fake {fake.shape} must hold at least {least} samples "
            "each, of one shape"
        )


def diversity(real: Array, fake: Array) -> float:
    """Return the mean distance among fake samples, as a share of that among real ones.

    Near 0 the generator gives almost the same sample whatever the noise.

    Args:
        real: samples (N, ...).
        fake: samples (M, ...).
    """
    _check("diversity", real, fake, 2)
    spread = [
        _distances(samples, samples).sum() / (len(samples) * (len(samples) - 1))
        for samples in (fake, real)
    ]
    return float(spread[0] / spread[1]) if spread[1] else float("nan")


def coverage(real: Array, fake: Array, k: int = 5) -> float:
    """Return the share of real samples with a fake one nearer than their k-th real neighbour.

    The measure of Naeem et al., 2020: 1 minus 2^-k or so where fake samples are distributed as the
    real ones, near 0 where most of the data is never generated.

    Args:
        real: samples (N, ...), N > k.
        fake: samples (M, ...).
        k: which neighbour's distance counts as near.
    """
    _check("coverage", real, fake, 1)
    if not 1 <= k < len(real):
        raise ValueError(f"coverage: k must be in [1, {len(real)}), got {k}")
    radius = np.partition(_distances(real, real), k, axis=1)[:, k]  # the 0th is the sample itself
    return float((_distances(real, fake).min(1) <= radius).mean())
