"""Distances and similarities of vectors."""

from __future__ import annotations

import gradsmith as gs
from gradsmith._core import Tensor

__all__ = ["cosine_similarity", "pairwise_distance"]


def _at_least(length: Tensor, eps: float) -> Tensor:
    """Raise lengths below eps to it, without a change of the gradient."""
    low = length.detach()
    return length + (low.clamp(min=eps) - low)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """`x1 . x2 / (max(|x1|, eps) max(|x2|, eps))` along `dim`; shapes are broadcast."""
    x1, x2 = gs.broadcast_tensors(x1, x2)
    length1 = _at_least(gs.norm(x1, 2, dim, True), eps)
    length2 = _at_least(gs.norm(x2, 2, dim, True), eps)
    return ((x1 / length1) * (x2 / length2)).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """p-norm of x1 - x2 + eps over the last axis; shapes are broadcast."""
    return gs.norm(x1 - x2 + eps, p, -1, keepdim)
