"""Dropout."""

from __future__ import annotations

from gradsmith import _core
from gradsmith._core import Tensor

from ._args import probability
from .module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    """Zeroes each element with probability `p` in training and scales the rest by 1 / (1 - p).

    In evaluation it is the identity (Srivastava et al., 2014). `inplace` is taken for PyTorch's
    sake and changes nothing.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        """Check and store the probability."""
        super().__init__()
        self.inplace = inplace
        self.p = probability("Dropout", "p", p)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"p={self.p}"
