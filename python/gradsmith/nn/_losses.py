"""Elementwise losses, composed of tensor operations and so differentiable at any order."""

from __future__ import annotations

import math

from gradsmith import _core
from gradsmith._core import Tensor

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "smooth_l1_loss",
]

# log(p) is cut off here, so that a wrong prediction of probability 0 costs 100, not infinity.
_SMALLEST = math.exp(-100)


def _same_shape(op: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ValueError(
            f"{op}: input has shape {tuple(input.shape)}, target {tuple(target.shape)}; "
            "they must be equal"
        )


def _reduced(op: str, values: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise ValueError(f"{op}: reduction must be mean, sum or none; got {reduction!r}")


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Squared error, (input - target)^2; input and target have one shape."""
    _same_shape("mse_loss", input, target)
    return _reduced("mse_loss", (input - target).square(), reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Absolute error, |input - target|; input and target have one shape."""
    _same_shape("l1_loss", input, target)
    return _reduced("l1_loss", (input - target).abs(), reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2."""
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    _same_shape("smooth_l1_loss", input, target)
    distance = (input - target).abs()
    values = _core.where(distance < beta, distance.square() * (0.5 / beta), distance - 0.5 * beta)
    return _reduced("smooth_l1_loss", values, reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """d^2 / 2 where d = |input - target| < delta, else delta (d - delta / 2)."""
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    _same_shape("huber_loss", input, target)
    distance = (input - target).abs()
    values = _core.where(
        distance < delta, distance.square() * 0.5, (distance - 0.5 * delta) * delta
    )
    return _reduced("huber_loss", values, reduction)


def kl_div(
    input: Tensor, target: Tensor, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """target (log target - input), 0 where target is 0; `input` holds log-probabilities.

    Args:
        input: log-probabilities.
        target: probabilities of the same shape, or their logarithms.
        reduction: "mean", "sum", "none", or "batchmean": the sum divided by the first axis.
        log_target: whether `target` holds logarithms.
    """
    _same_shape("kl_div", input, target)
    if log_target:
        values = target.exp() * (target - input)
    else:
        logarithm = _core.where(target > 0, target, 1.0).log()
        values = target * (logarithm - input)
    if reduction == "batchmean":
        return values.sum() / max(values.shape[0], 1) if values.ndim else values
    return _reduced("kl_div", values, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)), with logarithms cut off at -100.

    Args:
        input: probabilities p.
        target: t, of the same shape.
        weight: factor per element, broadcast.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: shapes differ, or a probability lies outside [0, 1].
    """
    _same_shape("binary_cross_entropy", input, target)
    if ((input < 0) | (input > 1)).any().item():
        raise ValueError("binary_cross_entropy: input must hold probabilities, in [0, 1]")
    positive = target * input.clamp(_SMALLEST).log()
    negative = (1 - target) * (1 - input).clamp(_SMALLEST).log()
    values = -(positive + negative)
    if weight is not None:
        values = values * weight
    return _reduced("binary_cross_entropy", values, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input): (1 - t) x - log(sigmoid(x)), without overflow.

    Args:
        input: logits x.
        target: t, of the same shape.
        weight: factor per element, broadcast.
        reduction: "mean", "sum" or "none".
        pos_weight: factor of the positive term, broadcast.
    """
    _same_shape("binary_cross_entropy_with_logits", input, target)
    logarithm = _core.log_sigmoid(input)
    if pos_weight is not None:
        logarithm = logarithm * (1 + (pos_weight - 1) * target)
    values = (1 - target) * input - logarithm
    if weight is not None:
        values = values * weight
    return _reduced("binary_cross_entropy_with_logits", values, reduction)
