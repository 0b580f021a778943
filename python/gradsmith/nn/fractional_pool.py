"""Fractional max pooling over two and three axes."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith._core import Tensor

from . import functional
from ._args import sizes
from .functional._fractional_pool import output_ratios
from .module import Module

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d"]

_Sizes = int | tuple[int, ...]
_Ratios = float | tuple[float, ...]


class _FractionalMaxPool(Module):
    """Maxima of windows that begin at random places."""

    _axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: _Sizes,
        output_size: _Sizes | None = None,
        output_ratio: _Ratios | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        """Check and store the settings."""
        super().__init__()
        own, of = type(self).__name__, sizes(self._axes)
        self.kernel_size = of(own, "kernel_size", kernel_size)
        if (output_size is None) == (output_ratio is None):
            raise ValueError(f"{own}: give either output_size or output_ratio")
        self.output_size = None if output_size is None else of(own, "output_size", output_size)
        self.output_ratio = (
            None if output_ratio is None else output_ratios(own, self._axes, output_ratio)
        )
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Tensor) -> Any:
        """Apply the layer."""
        function = getattr(functional, f"fractional_max_pool{self._axes}d")
        return function(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        wanted = (
            f"output_ratio={self.output_ratio}"
            if self.output_size is None
            else f"output_size={self.output_size}"
        )
        return f"kernel_size={self.kernel_size}, {wanted}"


class FractionalMaxPool2d(_FractionalMaxPool):
    """Maxima of overlapping windows whose steps are of two sizes, in random order (Graham, 2014).

    The result is smaller than the input by any factor, not by whole ones alone.

    Args:
        kernel_size: the window's size.
        output_size: the result's size; or
        output_ratio: its share of the input's, one number or one per axis, in (0, 1).
        return_indices: also return where the maxima are, as `nn.MaxUnpool2d` takes it.
        _random_samples: (N, C, 2) in [0, 1), which decide the places; drawn anew unless given.

    Shapes: input (N, C, H, W) or (C, H, W).
    """

    _axes = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """`FractionalMaxPool2d` over three axes: input (N, C, D, H, W) or (C, D, H, W)."""

    _axes = 3
