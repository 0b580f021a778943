"""Pooling layers over two spatial axes; inputs are (N, C, H, W)."""

from __future__ import annotations

from typing import Any

from gradsmith import _core
from gradsmith._core import Tensor

from ._args import pair, spatial_size
from .module import Module

__all__ = ["AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool2d", "MaxPool2d"]


class MaxPool2d(Module):
    """Maximum over a sliding window.

    Args:
        kernel_size: window, an int or (height, width).
        stride: step; the window's size unless given.
        padding: minus infinities on every side, at most half the window.
        dilation: distance between taps.
        return_indices: also return where each maximum was found, as flat H * W positions.
        ceil_mode: let the last window hang over the edge.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        """Check and store the settings."""
        super().__init__()
        self.kernel_size = pair("MaxPool2d", "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("MaxPool2d", "stride", stride)
        self.padding = pair("MaxPool2d", "padding", padding, 0)
        self.dilation = pair("MaxPool2d", "dilation", dilation)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Apply the layer; a pair (values, indices) with `return_indices`."""
        return _core.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """Mean over a sliding window.

    Args:
        kernel_size: window, an int or (height, width).
        stride: step; the window's size unless given.
        padding: zeros on every side, at most half the window.
        ceil_mode: let the last window hang over the edge.
        count_include_pad: whether padding counts in the divisor.
        divisor_override: divide by this instead.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        """Check and store the settings."""
        super().__init__()
        self.kernel_size = pair("AvgPool2d", "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else pair("AvgPool2d", "stride", stride)
        self.padding = pair("AvgPool2d", "padding", padding, 0)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _Adaptive(Module):
    def __init__(self, output_size: int | tuple[int | None, int | None] | None) -> None:
        """Store the wanted size; None keeps the input's."""
        super().__init__()
        sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2
        if len(sizes) != 2:
            raise ValueError(
                f"{type(self).__name__}: output_size must be one or two sizes, got {output_size!r}"
            )
        name = type(self).__name__
        for size in sizes:
            if size is not None:
                pair(name, "output_size", size)
        self.output_size = (sizes[0], sizes[1])

    def extra_repr(self) -> str:
        """Show the output size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_Adaptive):
    """Mean over windows laid out so that the output has `output_size`, (H', W') or one int."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return _core.adaptive_avg_pool2d(input, spatial_size(input, self.output_size))


class AdaptiveMaxPool2d(_Adaptive):
    """Maximum over windows laid out so that the output has `output_size`, (H', W') or one int.

    Args:
        output_size: (H', W') or one int; None keeps the input's size.
        return_indices: also return where each maximum was found, as flat H * W positions.
    """

    def __init__(
        self, output_size: int | tuple[int | None, int | None] | None, return_indices: bool = False
    ) -> None:
        """Store the settings."""
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Apply the layer; a pair (values, indices) with `return_indices`."""
        return _core.adaptive_max_pool2d(
            input, spatial_size(input, self.output_size), self.return_indices
        )
