"""Layers that rearrange or resample pixels: shuffles, Upsample, Unfold, Fold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradsmith._checks import positive
from gradsmith._core import Tensor

from . import functional
from ._args import choice, pair, positive_int
from .functional._vision import MODES
from .module import Module

__all__ = [
    "ChannelShuffle",
    "Fold",
    "PixelShuffle",
    "PixelUnshuffle",
    "Unfold",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
]

_Sizes = int | tuple[int, ...]


class PixelShuffle(Module):
    """(..., C r^2, H, W) to (..., C, H r, W r): channels become pixels (Shi et al., 2016)."""

    def __init__(self, upscale_factor: int) -> None:
        """Store the factor."""
        super().__init__()
        self.upscale_factor = positive_int("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """Show the factor."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """(..., C, H r, W r) to (..., C r^2, H, W): the inverse of `PixelShuffle`."""

    def __init__(self, downscale_factor: int) -> None:
        """Store the factor."""
        super().__init__()
        self.downscale_factor = positive_int("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """Show the factor."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Takes turns between `groups` blocks of the channels of (N, C, ...) (Zhang et al., 2018)."""

    def __init__(self, groups: int) -> None:
        """Store the number of blocks."""
        super().__init__()
        self.groups = positive_int("ChannelShuffle", "groups", groups)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """Show the number of blocks."""
        return f"groups={self.groups}"


class Upsample(Module):
    """Resamples the spatial axes of (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    Args:
        size: of the result; or give `scale_factor`.
        scale_factor: size of the result over the input's, rounded down.
        mode: "nearest", "linear" (one axis), "bilinear", "bicubic" (two), "trilinear" (three).
        align_corners: whether the centres of the corner pixels fall on each other.
        recompute_scale_factor: derive the step from the rounded size.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        """Store the settings."""
        super().__init__()
        own = type(self).__name__
        for value in _each(size):
            positive_int(own, "size", value)
        for value in _each(scale_factor):
            positive(own, "scale_factor", value)
        self.size = size
        self.scale_factor = scale_factor
        self.mode = choice(own, "mode", mode, MODES)
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        size: Any = ("size", self.size) if self.size is not None else None
        name, value = size or ("scale_factor", self.scale_factor)
        return f"{name}={value}, mode={self.mode!r}"


def _each(value: Any) -> Sequence[Any]:
    """Return the numbers of an argument that is one number, several, or none."""
    if value is None:
        return ()
    return value if isinstance(value, (tuple, list)) else (value,)


class UpsamplingNearest2d(Upsample):
    """`Upsample` of (N, C, H, W) by nearest neighbours."""

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
    ) -> None:
        """Store the settings."""
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of (N, C, H, W), bilinear with aligned corners."""

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
    ) -> None:
        """Store the settings."""
        super().__init__(size, scale_factor, "bilinear", align_corners=True)


class _Columns(Module):
    def __init__(
        self, kernel_size: _Sizes, dilation: _Sizes, padding: _Sizes, stride: _Sizes
    ) -> None:
        super().__init__()
        own = type(self).__name__
        self.kernel_size = pair(own, "kernel_size", kernel_size)
        self.dilation = pair(own, "dilation", dilation)
        self.padding = pair(own, "padding", padding, 0)
        self.stride = pair(own, "stride", stride)

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Unfold(_Columns):
    """Windows as columns.

    Args:
        kernel_size: window, an int or (height, width).
        dilation: distance between taps.
        padding: zeros on every side.
        stride: step of the window.

    Shapes: input (N, C, H, W) or (C, H, W), output (N, C KH KW, number of windows).
    """

    def __init__(
        self,
        kernel_size: _Sizes,
        dilation: _Sizes = 1,
        padding: _Sizes = 0,
        stride: _Sizes = 1,
    ) -> None:
        """Store the settings."""
        super().__init__(kernel_size, dilation, padding, stride)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(_Columns):
    """Adds columns up where `Unfold` took them from: its adjoint.

    Args:
        output_size: height and width of the result.
        kernel_size: window, an int or (height, width).
        dilation: distance between taps.
        padding: what is cut off every side.
        stride: step of the window.

    Shapes: input (N, C KH KW, number of windows), output (N, C, H, W); both also without N.
    """

    def __init__(
        self,
        output_size: _Sizes,
        kernel_size: _Sizes,
        dilation: _Sizes = 1,
        padding: _Sizes = 0,
        stride: _Sizes = 1,
    ) -> None:
        """Store the settings."""
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = pair("Fold", "output_size", output_size)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return functional.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"output_size={self.output_size}, {super().extra_repr()}"
