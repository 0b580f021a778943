"""Losses that are composed of ops; the others are ops themselves. See the layers of `nn.loss`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import positive as checked_positive
from gradsmith._core import Tensor

from .._args import as_index, choice
from ._distance import pairwise_distance

__all__ = [
    "cosine_embedding_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_embedding_loss",
    "huber_loss",
    "l1_loss",
    "margin_ranking_loss",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "poisson_nll_loss",
    "smooth_l1_loss",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


def _reduce(op: str, loss: Tensor, reduction: str) -> Tensor:
    choice(op, "reduction", reduction, ("mean", "sum", "none"))
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _hinge(x: Tensor) -> Tensor:
    """max(x, 0) with slope 1 at 0, as PyTorch's margins have it."""
    return x.clamp(min=0)


def _of_one_shape(op: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Broadcast as PyTorch does, with its warning: (N, 1) against (N) compares all pairs."""
    if not isinstance(input, Tensor) or not isinstance(target, Tensor):
        return input, target  # the op names what is no tensor
    if input.shape == target.shape:
        return input, target
    try:
        expanded = gs.broadcast_tensors(input, target)
    except ValueError:  # the op says what is wrong
        return input, target
    warnings.warn(
        f"{op}: target of shape {tuple(target.shape)} is broadcast against input "
        f"{tuple(input.shape)}, which is seldom what is meant; give both the same shape",
        UserWarning,
        stacklevel=3,
    )
    return expanded[0], expanded[1]


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Squared error; see `nn.MSELoss`."""
    return _core.mse_loss(*_of_one_shape("mse_loss", input, target), reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Absolute error; see `nn.L1Loss`."""
    return _core.l1_loss(*_of_one_shape("l1_loss", input, target), reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Squared error below `beta`, absolute above; see `nn.SmoothL1Loss`."""
    return _core.smooth_l1_loss(*_of_one_shape("smooth_l1_loss", input, target), reduction, beta)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Squared error below `delta`, absolute above; see `nn.HuberLoss`."""
    return _core.huber_loss(*_of_one_shape("huber_loss", input, target), reduction, delta)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy against class indices or probabilities; see `nn.CrossEntropyLoss`."""
    return _core.cross_entropy(
        input, as_index(target), weight, ignore_index, reduction, label_smoothing
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of class indices; see `nn.NLLLoss`."""
    return _core.nll_loss(input, as_index(target), weight, ignore_index, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos of pairs labelled 1, max(0, cos - margin) of those labelled -1."""
    op = "cosine_embedding_loss"
    rank = len(target.shape)
    if rank > 1 or len(input1.shape) != rank + 1 or len(input2.shape) != rank + 1:
        raise ValueError(
            f"{op}: target (N) goes with inputs (N, D) and a scalar with (D), got input1 "
            f"{tuple(input1.shape)}, input2 {tuple(input2.shape)}, target {tuple(target.shape)}"
        )
    tiny = 1e-12  # keeps the slope finite at zero vectors
    square1, square2 = (input1 * input1).sum(-1) + tiny, (input2 * input2).sum(-1) + tiny
    cosine = (input1 * input2).sum(-1) / gs.sqrt(square1 * square2)
    apart = _hinge(cosine - margin)
    loss = gs.where(target == 1, 1 - cosine, gs.where(target == -1, apart, apart * 0))
    return _reduce(op, loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log var + (input - target)^2 / var) / 2, with `var` at least eps."""
    op = "gaussian_nll_loss"
    if not isinstance(var, Tensor):
        var = gs.full_like(input.detach(), var)
    shape, spread = tuple(input.shape), tuple(var.shape)
    if spread == shape[:-1] and spread != shape:
        var = var.unsqueeze(-1)  # one variance for all of the last axis
    elif len(spread) != len(shape) or any(
        own not in (size, 1) for own, size in zip(spread, shape, strict=True)
    ):
        raise ValueError(
            f"{op}: var {spread} must have the shape of input {shape}, or 1 for some of its "
            "sizes, or one axis less"
        )
    value = var.detach()
    if value.numel() and float(value.min()) < 0:
        raise ValueError(f"{op}: var must not be negative, got {float(value.min())}")
    var = var + (value.clamp(min=eps) - value)  # the gradient passes below eps too
    loss = 0.5 * (gs.log(var) + (input - target).square() / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(op, loss, reduction)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1."""
    far = _hinge(margin - input).masked_fill(target == 1, 0.0)
    return _reduce("hinge_embedding_loss", far + input.masked_fill(target == -1, 0.0), reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target (x1 - x2))."""
    ranks = {len(input1.shape), len(input2.shape), len(target.shape)}
    if len(ranks) != 1:
        raise ValueError(
            "margin_ranking_loss: all arguments must have the same rank, got "
            f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}"
        )
    loss = _hinge(margin - target * (input1 - input2))
    return _reduce("margin_ranking_loss", loss, reduction)


def _class_scores(op: str, input: Tensor, target: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return input as (N, C) and target with the N, after checks."""
    if len(input.shape) not in (1, 2) or len(target.shape) != len(input.shape) - rank:
        raise ValueError(
            f"{op}: input must be (N, C) or (C) with a target of {-rank} axes less, got input "
            f"{tuple(input.shape)}, target {tuple(target.shape)}"
        )
    index = as_index(target)
    if index.dtype is not gs.int64:
        raise TypeError(f"{op}: target must hold integers, got {target.dtype.name}")
    if len(input.shape) == 1:
        input, index = input.unsqueeze(0), index.unsqueeze(0)
    return input, index


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Sum over the other classes of max(0, margin - x[y] + x[i])^p / C; p is 1 or 2."""
    op = "multi_margin_loss"
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p}")
    scores, index = _class_scores(op, input, target, 1)
    classes = scores.shape[1]
    if index.shape[0] != scores.shape[0]:
        raise ValueError(
            f"{op}: target must have one class for each of the {scores.shape[0]} rows of input, "
            f"got shape {tuple(target.shape)}"
        )
    if index.numel() and not (index.min().item() >= 0 and index.max().item() < classes):
        raise ValueError(f"{op}: target must hold classes from 0 to {classes - 1}")
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ValueError(f"{op}: weight must have shape ({classes},), got {tuple(weight.shape)}")
    place = index.unsqueeze(1)
    terms = gs.relu(margin - gs.gather(scores, 1, place) + scores)
    terms = terms.masked_fill(gs.arange(classes, device=place.device) == place, 0.0)
    if p == 2:
        terms = terms.square()
    loss = terms.sum(1) / classes
    if weight is not None:
        loss = loss * gs.index_select(weight, 0, index)
    return _reduce(op, loss if len(input.shape) == 2 else loss.squeeze(0), reduction)


def multilabel_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Sum over labels y and other classes i of max(0, 1 - x[y] + x[i]) / C.

    Args:
        input: (N, C) or (C).
        target: int64 of the same shape: the labels, then -1 and anything.
        reduction: "mean", "sum" or "none".
    """
    op = "multilabel_margin_loss"
    scores, index = _class_scores(op, input, target, 0)
    if tuple(index.shape) != tuple(scores.shape):
        raise ValueError(
            f"{op}: target must have the shape of input {tuple(input.shape)}, "
            f"got {tuple(target.shape)}"
        )
    valid = (index < 0).long().cumsum(1) == 0
    if bool((valid & (index >= scores.shape[1])).any()):
        raise IndexError(f"{op}: target must lie in [-1, {scores.shape[1]}) up to its first -1")
    most = int(valid.sum(1).max()) if valid.numel() else 0
    index, valid = index.narrow(1, 0, most), valid.narrow(1, 0, most)
    places = index.masked_fill(~valid, 0)
    zeros = gs.zeros(scores.shape, dtype=gs.int64, device=scores.device)
    counts = gs.scatter_add(zeros, 1, places, valid.long())
    terms = gs.relu(1 - gs.gather(scores, 1, places).unsqueeze(2) + scores.unsqueeze(1))
    used = valid.unsqueeze(2) & (counts == 0).unsqueeze(1)
    loss = terms.masked_fill(~used, 0.0).sum((1, 2)) / scores.shape[1]
    return _reduce(op, loss if len(input.shape) == 2 else loss.squeeze(0), reduction)


def multilabel_soft_margin_loss(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Binary cross-entropy of sigmoid(x), the mean over the last axis."""
    loss = -(target * _core.log_sigmoid(input) + (1 - target) * _core.log_sigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduce("multilabel_soft_margin_loss", loss.mean(-1), reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - target x, or x - target log(x + eps) where the input is no logarithm.

    `full` adds Stirling's approximation of log(target!), for targets above 1.
    """
    loss = gs.exp(input) - target * input if log_input else input - target * gs.log(input + eps)
    if full:
        small = target.detach() <= 1
        t = target.masked_fill(small, 1.0)
        stirling = t * gs.log(t) - t + 0.5 * gs.log(2 * math.pi * t)
        loss = loss + stirling.masked_fill(small, 0.0)
    return _reduce("poisson_nll_loss", loss, reduction)


def soft_margin_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target x)) for targets 1 and -1."""
    return _reduce("soft_margin_loss", -_core.log_sigmoid(target * input), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) with the p-norm as d."""

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=distance,
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) (Balntas et al., 2016).

    Args:
        anchor: (N, D) or (D).
        positive: likewise, to be near.
        negative: likewise, to be far.
        distance_function: d; `pairwise_distance` unless given.
        margin: above 0.
        swap: use d(positive, negative) where that is smaller than d(anchor, negative).
        reduction: "mean", "sum" or "none".
    """
    op = "triplet_margin_loss"
    checked_positive(op, "margin", margin)
    if not len(anchor.shape) == len(positive.shape) == len(negative.shape):
        raise ValueError(
            f"{op}: anchor, positive and negative must have the same rank, got "
            f"{tuple(anchor.shape)}, {tuple(positive.shape)} and {tuple(negative.shape)}"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = gs.minimum(far, distance(positive, negative))
    return _reduce(op, _hinge(margin + near - far), reduction)
