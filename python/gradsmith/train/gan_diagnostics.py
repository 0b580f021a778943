"""How good a generator's samples are, and how much of the data they cover."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["coverage", "diversity", "frechet_distance", "inception_score"]

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


def frechet_distance(real: Array, fake: Array) -> float:
    """Return the Frechet distance between two sets of features, taken as normal distributions.

    |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)) of their means and covariances, 0 where they
    agree. Of features of a classifier it is the measure of Heusel et al., 2017, whose classifier,
    Inception, is only one choice: distances of different features cannot be compared, nor those of
    different numbers of samples, for few samples seem farther away.

    Args:
        real: features (N, F), or samples (N, ...).
        fake: the same of M generated samples.

    Raises:
        ValueError: the shapes do not belong together, or one set has fewer than two samples.
    """
    _check("frechet_distance", real, fake, 2)
    means, covariances = [], []
    for samples in (real, fake):
        rows = samples.reshape(len(samples), -1).astype(np.float64)
        means.append(rows.mean(0))
        covariances.append(np.atleast_2d(np.cov(rows, rowvar=False)))
    first, second = covariances
    # C1 C2 has the eigenvalues of the symmetric C1^(1/2) C2 C1^(1/2), and a trace is their sum.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    product = np.linalg.eigvalsh(root @ second @ root)
    cross = np.sqrt(np.maximum(product, 0)).sum()
    shift = np.square(means[0] - means[1]).sum()
    return float(max(shift + np.trace(first) + np.trace(second) - 2 * cross, 0.0))


def inception_score(probabilities: Array) -> float:
    """Return exp of the mean KL divergence of a classifier's answers from their average.

    The measure of Salimans et al., 2016, for any classifier: between 1 and the number of classes,
    which is reached where every sample is surely of one class and all classes are equally
    frequent. It does not see whether samples of a class differ.

    Args:
        probabilities: (N, classes), each row sums to 1.

    Raises:
        ValueError: the shape is another, or a row is no distribution.
    """
    given = np.asarray(probabilities, np.float64)
    if given.ndim != 2 or not given.size:
        raise ValueError(
            f"inception_score: probabilities must have shape (N, classes), got {given.shape}"
        )
    if not (given >= 0).all() or not np.allclose(given.sum(1), 1, atol=1e-4):
        raise ValueError("inception_score: every row of probabilities must sum to 1, none negative")
    # log(0) is never multiplied by anything but 0
    tiny = np.finfo(np.float64).tiny
    ratio = np.log(np.maximum(given, tiny)) - np.log(np.maximum(given.mean(0), tiny))
    return float(np.exp((given * ratio).sum(1).mean()))
