"""Pooling layers over one, two and three axes.

Inputs are (N, C, L), (N, C, H, W) or (N, C, D, H, W), or one sample without the N.
"""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith._checks import integer, number
from gradsmith._core import Tensor

from . import functional
from ._args import positive_int, sizes
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

_Sizes = int | tuple[int, ...]


class _Window(Module):
    """What layers with a sliding window share; the stride is the window's size unless given."""

    _axes: ClassVar[int]

    def __init__(self, kernel_size: _Sizes, stride: _Sizes | None, padding: _Sizes) -> None:
        super().__init__()
        name, of = type(self).__name__, sizes(self._axes)
        self.kernel_size = of(name, "kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else of(name, "stride", stride)
        self.padding = of(name, "padding", padding, 0)

    def _apply_function(self, name: str, *args: Any) -> Any:
        return getattr(functional, f"{name}{self._axes}d")(*args)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPool(_Window):
    """What `MaxPool2d` and the like share."""

    def __init__(
        self,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        dilation: _Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        """Check and store the settings."""
        super().__init__(kernel_size, stride, padding)
        self.dilation = sizes(self._axes)(type(self).__name__, "dilation", dilation)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Apply the layer; a pair (values, indices) with `return_indices`."""
        return self._apply_function(
            "max_pool",
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
        return f"{super().extra_repr()}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class MaxPool1d(_MaxPool):
    """Maximum over a sliding window along one axis; arguments as of `MaxPool2d`."""

    _axes = 1


class MaxPool2d(_MaxPool):
    """Maximum over a sliding window.

    Args:
        kernel_size: window, an int or one per axis.
        stride: step; the window's size unless given.
        padding: minus infinities on every side, at most half the window.
        dilation: distance between taps.
        return_indices: also return where each maximum was found, as flat positions in its plane.
        ceil_mode: let the last window hang over the edge.
    """

    _axes = 2


class MaxPool3d(_MaxPool):
    """Maximum over a sliding window over three axes; arguments as of `MaxPool2d`."""

    _axes = 3


class _MaxUnpool(_Window):
    """What `MaxUnpool2d` and the like share."""

    def __init__(
        self, kernel_size: _Sizes, stride: _Sizes | None = None, padding: _Sizes = 0
    ) -> None:
        """Check and store the settings."""
        super().__init__(kernel_size, stride, padding)

    def forward(self, input: Tensor, indices: Tensor, output_size: Any = None) -> Tensor:
        """Apply the layer; `output_size` says which of several possible sizes is meant."""
        result: Tensor = self._apply_function(
            "max_unpool",
            input,
            indices,
            self.kernel_size,
            self.stride,
            self.padding,
            output_size,
        )
        return result


class MaxUnpool1d(_MaxUnpool):
    """The inverse of `MaxPool1d`; arguments as of `MaxUnpool2d`."""

    _axes = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts maxima back where the max pooling of the same settings found them, among zeros.

    Args:
        kernel_size: window of the pooling.
        stride: its step; the window's size unless given.
        padding: its padding.
    """

    _axes = 2


class MaxUnpool3d(_MaxUnpool):
    """The inverse of `MaxPool3d`; arguments as of `MaxUnpool2d`."""

    _axes = 3


class AvgPool1d(_Window):
    """Mean over a sliding window along one axis.

    Args:
        kernel_size: window.
        stride: step; the window's size unless given.
        padding: zeros on both sides, at most half the window.
        ceil_mode: let the last window hang over the edge.
        count_include_pad: whether padding counts in the divisor.
    """

    _axes = 1

    def __init__(
        self,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        """Check and store the settings."""
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class _AvgPool(_Window):
    """What `AvgPool2d` and the like share."""

    def __init__(
        self,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        padding: _Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        """Check and store the settings."""
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        owner, divisor = type(self).__name__, divisor_override
        self.divisor_override = (
            None if divisor is None else integer(owner, "divisor_override", divisor)
        )
        if self.divisor_override == 0:
            raise ValueError(f"{owner}: divisor_override must not be 0")

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        result: Tensor = self._apply_function(
            "avg_pool",
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )
        return result


class AvgPool2d(_AvgPool):
    """Mean over a sliding window.

    Args:
        kernel_size: window, an int or one per axis.
        stride: step; the window's size unless given.
        padding: zeros on every side, at most half the window.
        ceil_mode: let the last window hang over the edge.
        count_include_pad: whether padding counts in the divisor.
        divisor_override: divide by this instead.
    """

    _axes = 2


class AvgPool3d(_AvgPool):
    """Mean over a sliding window over three axes; arguments as of `AvgPool2d`."""

    _axes = 3


class _LPPool(_Window):
    """What `LPPool2d` and the like share."""

    def __init__(
        self,
        norm_type: float,
        kernel_size: _Sizes,
        stride: _Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        """Check and store the settings."""
        super().__init__(kernel_size, stride, 0)
        self.norm_type = float(number(type(self).__name__, "norm_type", norm_type))
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        result: Tensor = self._apply_function(
            "lp_pool", input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode
        )
        return result

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """(sum of x^p)^(1/p) over a sliding window along one axis; arguments as of `LPPool2d`."""

    _axes = 1


class LPPool2d(_LPPool):
    """(sum of x^p)^(1/p) over a sliding window.

    Args:
        norm_type: p; infinity gives the largest `|x|`, minus infinity the smallest.
        kernel_size: window, an int or one per axis.
        stride: step; the window's size unless given.
        ceil_mode: let the last window hang over the edge.
    """

    _axes = 2


class LPPool3d(_LPPool):
    """(sum of x^p)^(1/p) over a sliding window over three axes; arguments as of `LPPool2d`."""

    _axes = 3


class _Adaptive(Module):
    _axes: ClassVar[int]

    def __init__(self, output_size: int | tuple[int | None, ...] | None) -> None:
        """Store the wanted size; None keeps the input's."""
        super().__init__()
        name, axes = type(self).__name__, self._axes
        wanted = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * axes
        if len(wanted) != axes:
            raise ValueError(f"{name}: output_size must be one size or {axes}, got {output_size!r}")
        for size in wanted:
            if size is not None:
                positive_int(name, "output_size", size)
        self.output_size = tuple(wanted)

    def extra_repr(self) -> str:
        """Show the output size."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """Mean over windows laid out so that the output has `output_size`."""

    _axes = 1

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """Mean over windows laid out so that the output has `output_size`, (H', W') or one int."""

    _axes = 2

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_Adaptive):
    """Mean over windows laid out so that the output has `output_size`, (D', H', W') or one int."""

    _axes = 3

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.adaptive_avg_pool3d(input, self.output_size)


class _AdaptiveMax(_Adaptive):
    """What `AdaptiveMaxPool2d` and the like share."""

    def __init__(
        self, output_size: int | tuple[int | None, ...] | None, return_indices: bool = False
    ) -> None:
        """Store the settings."""
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Any:
        """Apply the layer; a pair (values, indices) with `return_indices`."""
        pool = getattr(functional, f"adaptive_max_pool{self._axes}d")
        return pool(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMax):
    """Maximum over windows that give `output_size`; arguments as of `AdaptiveMaxPool2d`."""

    _axes = 1


class AdaptiveMaxPool2d(_AdaptiveMax):
    """Maximum over windows laid out so that the output has `output_size`, one size or one per axis.

    Args:
        output_size: one size or one per axis; None keeps the input's.
        return_indices: also return where each maximum was found, as flat positions in its plane.
    """

    _axes = 2


class AdaptiveMaxPool3d(_AdaptiveMax):
    """Maximum over windows that give `output_size`; arguments as of `AdaptiveMaxPool2d`."""

    _axes = 3
