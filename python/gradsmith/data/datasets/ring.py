"""A ring of Gaussians: the smallest test of whether a generator covers all modes."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith.data.dataset import TensorDataset

__all__ = ["GaussianRing"]


class GaussianRing(TensorDataset):
    """Points of equally likely Gaussians whose centres lie on a circle (Metz et al., 2017).

    Args:
        count: points.
        modes: Gaussians.
        radius: of the circle.
        std: of each Gaussian.
        seed: decides the points.

    Samples are (point float32 (2), number of its Gaussian int64).
    """

    def __init__(
        self,
        count: int = 10_000,
        modes: int = 8,
        radius: float = 1.0,
        std: float = 0.05,
        seed: int = 0,
    ) -> None:
        """Draw the points."""
        if count < 0 or modes < 1 or not radius > 0 or not std >= 0:
            raise ValueError(
                "GaussianRing: needs count >= 0, modes >= 1, radius > 0 and std >= 0, got "
                f"{count}, {modes}, {radius}, {std}"
            )
        angle = 2 * np.pi * np.arange(modes) / modes
        self.centres = radius * np.column_stack([np.cos(angle), np.sin(angle)])
        self.std = std
        rng = np.random.default_rng(seed)
        mode = rng.integers(modes, size=count)
        points = self.centres[mode] + std * rng.normal(size=(count, 2))
        super().__init__(gs.from_numpy(points.astype(np.float32)), gs.from_numpy(mode))

    def score(self, points: Tensor | np.ndarray[Any, Any]) -> tuple[int, float]:
        """Return how many modes `points` cover, and which share of them is good.

        A point is good within three deviations of a centre; a mode is covered by a good point.

        Args:
            points: (N, 2).
        """
        given = points.detach().numpy() if isinstance(points, Tensor) else np.asarray(points)
        if given.ndim != 2 or given.shape[1] != 2:
            raise ValueError(f"score: points must have shape (N, 2), got {given.shape}")
        if not len(given):
            return 0, float("nan")
        distance = np.linalg.norm(given[:, None] - self.centres[None], axis=2)
        good = distance.min(1) <= 3 * self.std
        return int(np.unique(distance.argmin(1)[good]).size), float(good.mean())
