"""Losses; `reduction` is "mean", "sum" or "none"."""

from __future__ import annotations

from collections.abc import Sequence

from gradsmith import _core
from gradsmith._checks import integer, number
from gradsmith._core import Tensor

from . import functional
from ._args import as_index, choice, positive_int, probability
from .module import Module

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CTCLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]

_REDUCTIONS = ("mean", "sum", "none")


class _Loss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        """Check and store the reduction."""
        super().__init__()
        self.reduction = choice(
            type(self).__name__, "reduction", reduction, self._allowed_reductions()
        )

    def _allowed_reductions(self) -> tuple[str, ...]:
        return _REDUCTIONS

    def extra_repr(self) -> str:
        """Show the reduction."""
        return f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """Squared error, (input - target)^2; a target of another shape is broadcast,
    with a warning."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """Absolute error, `|input - target|`; a target of another shape is broadcast,
    with a warning."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """`d^2 / (2 beta)` where `d = |input - target| < beta`, else `d - beta / 2`.

    From Girshick, 2015.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        if not number("SmoothL1Loss", "beta", beta) >= 0:
            raise ValueError(f"SmoothL1Loss: beta must not be negative, got {beta}")
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """`d^2 / 2` where `d = |input - target| < delta`, else `delta (d - delta / 2)`.

    From Huber, 1964.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        if not number("HuberLoss", "delta", delta) > 0:
            raise ValueError(f"HuberLoss: delta must be positive, got {delta}")
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return functional.huber_loss(input, target, self.reduction, self.delta)


class KLDivLoss(_Loss):
    """target (log target - input), where `input` holds log-probabilities.

    Args:
        reduction: also "batchmean": the sum over all, divided by the first axis.
        log_target: `target` holds log-probabilities too.
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        """Check and store the settings."""
        super().__init__(reduction)
        self.log_target = log_target

    def _allowed_reductions(self) -> tuple[str, ...]:
        return (*_REDUCTIONS, "batchmean")

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return _core.kl_div(input, target, self.reduction, self.log_target)


class _Weighted(_Loss):
    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        """Store the weights, a buffer."""
        super().__init__(reduction)
        self.register_buffer("weight", weight)


class BCELoss(_Weighted):
    """Binary cross-entropy of probabilities, -(t log p + (1 - t) log(1 - p)).

    Args:
        weight: factor per element, broadcast against the input.
        reduction: "mean", "sum" or "none".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return _core.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(_Weighted):
    """Binary cross-entropy of sigmoid(input), without overflow.

    Args:
        weight: factor per element, broadcast against the input.
        reduction: "mean", "sum" or "none".
        pos_weight: factor of the positive term, broadcast against the input.
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        """Store the weights."""
        super().__init__(weight, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return _core.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class NLLLoss(_Weighted):
    """-weight[target] input[target], where `input` holds log-probabilities per class.

    Args:
        weight: factor per class, shape (C).
        ignore_index: targets of this value count for nothing.
        reduction: "mean" divides by the sum of the weights used; or "sum" or "none".

    Shapes: input (N, C) or (N, C, d1, ...), target int64 (N) or (N, d1, ...).
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        """Store the settings."""
        super().__init__(weight, reduction)
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return _core.nll_loss(
            input, as_index(target), self.weight, self.ignore_index, self.reduction
        )


class CrossEntropyLoss(_Weighted):
    """Cross-entropy of softmax(input) against class indices or class probabilities.

    Args:
        weight: factor per class, shape (C).
        ignore_index: targets of this value count for nothing.
        reduction: "mean" divides by the sum of the weights used; or "sum" or "none".
        label_smoothing: share of the target spread evenly over all classes, in [0, 1].

    Shapes: input (C), (N, C) or (N, C, d1, ...); target int64 without the class axis, or
    probabilities in the shape of the input.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        """Check and store the settings."""
        super().__init__(weight, reduction)
        self.ignore_index = integer(type(self).__name__, "ignore_index", ignore_index)
        self.label_smoothing = probability("CrossEntropyLoss", "label_smoothing", label_smoothing)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compute the loss."""
        return _core.cross_entropy(
            input,
            as_index(target),
            self.weight,
            self.ignore_index,
            self.reduction,
            self.label_smoothing,
        )


class CTCLoss(_Loss):
    """Loss of a sequence of labels without their places in time (Graves et al., 2006).

    Minus the log-probability of all paths that become the target when repetitions are joined and
    blanks left out. The gradient is that with respect to `log_probs` as they stand, where
    PyTorch's takes log_softmax for granted; through log_softmax both are the same.

    Args:
        blank: the class that stands for no label.
        reduction: "mean" divides each loss by the target's length first; or "sum" or "none".
        zero_infinity: a target that is too long for its input counts 0 instead of infinity. Its
            gradient is 0 either way.

    Shapes: log_probs (T, N, C), or (T, C) of one sequence; targets integers (N, S), or (sum of the
    lengths) one behind the other, or (S); input_lengths and target_lengths a whole number for each
    sequence, as a tensor or a sequence, or one number. The result is (N) or () without reduction.

    Raises:
        ValueError: a length, a class or a shape does not fit, or a target holds the blank.
    """

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        """Store the settings."""
        super().__init__(reduction)
        self.blank = positive_int("CTCLoss", "blank", blank, 0)
        self.zero_infinity = zero_infinity

    def forward(
        self,
        log_probs: Tensor,
        targets: Tensor,
        input_lengths: Tensor | Sequence[int] | int,
        target_lengths: Tensor | Sequence[int] | int,
    ) -> Tensor:
        """Compute the loss."""
        return functional.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )
