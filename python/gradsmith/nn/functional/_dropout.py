"""Dropout of whole channels, and the dropout that keeps mean and variance of SELU networks.

`inplace` is taken for PyTorch's sake and changes nothing.
"""

from __future__ import annotations

import math

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from .._args import probability

__all__ = ["alpha_dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]

# What SELU tends to for large negative values: -scale * alpha of Klambauer et al.
_SATURATED = -1.7580993408473766


def _channels(op: str, input: Tensor, ranks: tuple[int, int], single: bool) -> tuple[int, ...]:
    """Return the shape of one value per sample and channel."""
    rank = len(input.shape)
    if rank not in ranks:
        raise ValueError(
            f"{op}: input must have {ranks[0]} or {ranks[1]} axes, got {tuple(input.shape)}"
        )
    lead = 1 if single and rank == ranks[0] else 2
    return (*input.shape[:lead], *(1,) * (rank - lead))


def _drop(op: str, input: Tensor, p: float, training: bool, shape: tuple[int, ...]) -> Tensor:
    probability(op, "p", p)
    if not training or p == 0:
        return input
    ones = gs.ones(shape, dtype=input.dtype, device=input.device)
    return input * _core.dropout(ones, p)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, L) or (C, L); see `nn.Dropout1d`."""
    return _drop("dropout1d", input, p, training, _channels("dropout1d", input, (2, 3), True))


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, H, W) or (N, C, L); see `nn.Dropout2d`."""
    return _drop("dropout2d", input, p, training, _channels("dropout2d", input, (3, 4), False))


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W); see `nn.Dropout3d`."""
    return _drop("dropout3d", input, p, training, _channels("dropout3d", input, (4, 5), True))


def _alpha(op: str, input: Tensor, p: float, training: bool, shape: tuple[int, ...]) -> Tensor:
    probability(op, "p", p)
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0.0
    kept = gs.empty(shape, dtype=input.dtype, device=input.device).bernoulli_(1 - p)
    scale = 1 / math.sqrt((1 - p) * (1 + p * _SATURATED**2))
    return input * (kept * scale) + ((1 - kept) - p) * (scale * _SATURATED)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Set elements to SELU's saturation, keeping mean and variance; see `nn.AlphaDropout`."""
    return _alpha("alpha_dropout", input, p, training, tuple(input.shape))


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Alpha dropout of whole channels of (N, C, ...); see `nn.FeatureAlphaDropout`."""
    if len(input.shape) < 2:
        raise ValueError(
            f"feature_alpha_dropout: input must be (N, C, ...), got {tuple(input.shape)}"
        )
    shape = (*input.shape[:2], *(1,) * (len(input.shape) - 2))
    return _alpha("feature_alpha_dropout", input, p, training, shape)
