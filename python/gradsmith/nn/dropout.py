"""Dropout of elements and of whole channels.

`inplace` is taken for PyTorch's sake and changes nothing: the result is always a new tensor.
"""

from __future__ import annotations

from gradsmith import _core
from gradsmith._core import Tensor

from . import functional
from ._args import probability
from .module import Module

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        """Check and store the probability."""
        super().__init__()
        self.inplace = inplace
        self.p = probability(type(self).__name__, "p", p)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"


class Dropout(_Dropout):
    """Zeroes each element with probability `p` in training and scales the rest by 1 / (1 - p).

    In evaluation it is the identity (Srivastava et al., 2014).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.dropout(input, self.p, self.training)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels of (N, C, L) or (C, L) (Tompson et al., 2015)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.dropout1d(input, self.p, self.training)


class Dropout2d(_Dropout):
    """`Dropout` of whole channels of (N, C, H, W) or (N, C, L) (Tompson et al., 2015)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.dropout2d(input, self.p, self.training)


class Dropout3d(_Dropout):
    """`Dropout` of whole channels of (N, C, D, H, W) or (C, D, H, W) (Tompson et al., 2015)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.dropout3d(input, self.p, self.training)


class AlphaDropout(_Dropout):
    """Sets elements to SELU's limit at minus infinity with probability `p`, then scales and shifts.

    Mean 0 and variance 1 are kept, for networks of SELU (Klambauer et al., 2017).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels of (N, C, ...)."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.feature_alpha_dropout(input, self.p, self.training)
