"""Distances and similarities of vectors."""

from __future__ import annotations

from gradsmith._checks import integer, number
from gradsmith._core import Tensor

from . import functional
from .module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """`x1 . x2 / (max(|x1|, eps) max(|x2|, eps))` along `dim`; shapes are broadcast."""

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        """Store the settings."""
        super().__init__()
        self.dim = integer(type(self).__name__, "dim", dim)
        self.eps = number(type(self).__name__, "eps", eps)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """p-norm of x1 - x2 + eps over the last axis; shapes are broadcast."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        """Store the settings."""
        super().__init__()
        self.norm = number(type(self).__name__, "p", p)
        self.eps = number(type(self).__name__, "eps", eps)
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
