"""Losses of margins, rankings and distributions; `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradsmith._checks import finite, nonnegative, number, positive
from gradsmith._core import Tensor

from . import functional
from .loss import _Loss, _Weighted

__all__ = [
    "CosineEmbeddingLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "PoissonNLLLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class CosineEmbeddingLoss(_Loss):
    """1 - cos(x1, x2) where the target is 1, max(0, cos - margin) where it is -1.

    Shapes: inputs (N, D) or (D), target (N) or ().
    """

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.margin = finite("CosineEmbeddingLoss", "margin", margin)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class GaussianNLLLoss(_Loss):
    """(log var + (input - target)^2 / var) / 2 (Nix and Weigend, 1994).

    Args:
        full: add log(2 pi) / 2.
        eps: variances below are taken for this.
        reduction: "mean", "sum" or "none".

    Shapes: input and target (N, ...), var the same, or the last axis of size 1 or left out, or a
    number. Variances below 0 raise a ValueError.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.full = full
        self.eps = positive("GaussianNLLLoss", "eps", eps)

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        """Compute the loss."""
        return functional.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class HingeEmbeddingLoss(_Loss):
    """x where the target is 1, max(0, margin - x) where it is -1; x is a distance."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.margin = finite("HingeEmbeddingLoss", "margin", margin)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.hinge_embedding_loss(input, target, self.margin, self.reduction)


class MarginRankingLoss(_Loss):
    """max(0, margin - target (x1 - x2)): x1 is to be larger where the target is 1, x2 for -1."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.margin = finite("MarginRankingLoss", "margin", margin)

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class MultiLabelMarginLoss(_Loss):
    """Sum over labels y and other classes i of max(0, 1 - x[y] + x[i]) / C.

    Shapes: input (N, C) or (C), target int64 of the same shape: the labels, then -1 and anything.
    Takes memory of N C times the largest number of labels.
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.multilabel_margin_loss(input, target, self.reduction)


class MultiLabelSoftMarginLoss(_Weighted):
    """Binary cross-entropy of sigmoid(x) with targets 0 and 1, the mean over the classes.

    Args:
        weight: factor per class.
        reduction: "mean", "sum" or "none".

    Shapes: input and target (N, C).
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.multilabel_soft_margin_loss(input, target, self.weight, self.reduction)


class MultiMarginLoss(_Weighted):
    """Sum over the other classes of max(0, margin - x[y] + x[i])^p / C (Crammer and Singer, 2001).

    Args:
        p: 1 or 2.
        margin: how far the right class should be above the others.
        weight: factor per class, of the right one.
        reduction: "mean", "sum" or "none".

    Shapes: input (N, C) or (C), target int64 (N) or ().
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Tensor | None = None,
        reduction: str = "mean",
    ) -> None:
        """Check and store the settings."""
        super().__init__(weight, reduction)
        if p not in (1, 2):
            raise ValueError(f"MultiMarginLoss: p must be 1 or 2, got {p}")
        self.p = p
        self.margin = finite("MultiMarginLoss", "margin", margin)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, self.reduction
        )


class PoissonNLLLoss(_Loss):
    """Negative log-likelihood of counts: exp(x) - target x, without the constant log(target!).

    Args:
        log_input: the input is the logarithm of the rate; else x - target log(x + eps).
        full: add Stirling's approximation of log(target!), for targets above 1.
        eps: keeps the logarithm finite.
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.log_input = log_input
        self.full = full
        self.eps = nonnegative("PoissonNLLLoss", "eps", eps)

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.poisson_nll_loss(
            log_input, target, self.log_input, self.full, self.eps, self.reduction
        )


class SoftMarginLoss(_Loss):
    """log(1 + exp(-target x)) for targets 1 and -1."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.soft_margin_loss(input, target, self.reduction)


class TripletMarginLoss(_Loss):
    """`max(0, margin + |a - p|_p - |a - n|_p)` (Balntas et al., 2016).

    Args:
        margin: above 0.
        p: of the norm.
        eps: added to every difference.
        swap: use `|p - n|` where that is smaller than `|a - n|`.
        reduction: "mean", "sum" or "none".

    Shapes: anchor, positive and negative (N, D) or (D).
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.margin = positive("TripletMarginLoss", "margin", margin)
        self.p = number("TripletMarginLoss", "p", p)
        self.eps = number("TripletMarginLoss", "eps", eps)
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )


class TripletMarginWithDistanceLoss(_Loss):
    """max(0, margin + d(a, p) - d(a, n)) with a distance of the user's.

    Args:
        distance_function: takes two tensors; `PairwiseDistance` unless given.
        margin: above 0.
        swap: use d(p, n) where that is smaller than d(a, n).
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.distance_function: Any = distance_function or functional.pairwise_distance
        self.margin = positive("TripletMarginWithDistanceLoss", "margin", margin)
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
