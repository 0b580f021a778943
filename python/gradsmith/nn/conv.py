"""Convolution layers over one, two and three axes, and transposed ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from . import functional, init
from ._args import choice, conv_padding, positive_int, sides, sizes
from .functional._conv import output_padding as transposed_padding
from .module import Module
from .parameter import Parameter

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

_Sizes = int | tuple[int, ...]
_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What the convolutions share: sizes, checks, parameters and their initial values."""

    _axes: ClassVar[int]
    _transposed: ClassVar[bool] = False
    _modes: ClassVar[tuple[str, ...]] = _MODES

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Sizes,
        stride: _Sizes = 1,
        padding: _Sizes | str = 0,
        dilation: _Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__()
        name, of = type(self).__name__, sizes(self._axes)
        self.in_channels = positive_int(name, "in_channels", in_channels)
        self.out_channels = positive_int(name, "out_channels", out_channels)
        self.kernel_size = of(name, "kernel_size", kernel_size)
        self.stride = of(name, "stride", stride)
        self.dilation = of(name, "dilation", dilation)
        self.groups = positive_int(name, "groups", groups)
        self.padding_mode = choice(name, "padding_mode", padding_mode, self._modes)
        self.padding = self._padding(name, padding)
        for label, channels in (("in", self.in_channels), ("out", self.out_channels)):
            if channels % self.groups:
                raise ValueError(
                    f"{name}: {label}_channels ({channels}) must be divisible by "
                    f"groups ({self.groups})"
                )
        first, second = self.out_channels, self.in_channels
        if self._transposed:
            first, second = second, first
        shape = (first, second // self.groups, *self.kernel_size)
        self.weight = Parameter(gs.empty(shape, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(gs.empty((self.out_channels,), dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _padding(self, name: str, padding: _Sizes | str) -> tuple[int, ...]:
        if isinstance(padding, str) and not self._transposed:
            return conv_padding(name, padding, self.kernel_size, self.stride, self.dilation)
        return sizes(self._axes)(name, "padding", padding, 0)

    def _padded(self, input: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Return the input, with its border where that is not of zeros, and the zeros to add."""
        if self.padding_mode == "zeros":
            return input, self.padding
        around = sides(self.padding, self._axes)
        last_first = [around[at + side] for at in range(len(around) - 2, -1, -2) for side in (0, 1)]
        return functional.pad(input, last_first, self.padding_mode), (0,) * self._axes

    def reset_parameters(self) -> None:
        """Draw fresh initial values: uniform in +-1/sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def extra_repr(self) -> str:
        """Show what differs from the defaults."""
        ones, zeros = (1,) * len(self.kernel_size), (0,) * len(self.kernel_size)
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        if self.padding != zeros:
            parts.append(f"padding={self.padding}")
        if self.dilation != ones:
            parts.append(f"dilation={self.dilation}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class Conv1d(_Conv):
    """Cross-correlation along one axis.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps.
        stride: step of the window.
        padding: width of the border, or "valid", or "same" (stride 1).
        dilation: distance between taps.
        groups: blocks of channels that do not see each other; must divide both channel counts.
        bias: whether to add a learned constant per output channel.
        padding_mode: what the border holds: "zeros", "reflect", "replicate" or "circular".
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, C, L) or (C, L), output (N, out_channels, L'), weight
    (out_channels, C / groups, K).
    """

    _axes = 1

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        own: Any = self._parameters  # without a detour through __getattr__
        x, padding = self._padded(input)
        return _core.conv1d(
            x, own["weight"], own["bias"], self.stride, padding, self.dilation, self.groups
        )


class Conv2d(_Conv):
    """Cross-correlation over two axes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: window, an int or (height, width).
        stride: step of the window.
        padding: width of the border, or "valid", or "same" (stride 1).
        dilation: distance between taps.
        groups: blocks of channels that do not see each other; must divide both channel counts.
        bias: whether to add a learned constant per output channel.
        padding_mode: what the border holds: "zeros", "reflect", "replicate" or "circular".
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, C, H, W) or (C, H, W), output (N, out_channels, H', W') with H' = floor((H +
    2 padding - dilation (kernel - 1) - 1) / stride) + 1, weight (out_channels, C / groups, KH, KW).
    """

    _axes = 2

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return self.forward_activated(input, "none")

    def forward_activated(self, input: Tensor, activation: str) -> Tensor:
        """Apply the layer and then an activation of `functional.linear`, in one pass."""
        own: Any = self._parameters
        x, padding = self._padded(input)
        return _core.conv2d(
            x,
            own["weight"],
            own["bias"],
            self.stride,
            padding,
            self.dilation,
            self.groups,
            activation,
        )


class Conv3d(_Conv):
    """Cross-correlation over three axes; arguments as of `Conv2d`.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), output (N, out_channels, D', H', W'), weight
    (out_channels, C / groups, KD, KH, KW).
    """

    _axes = 3

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        x, padding = self._padded(input)
        return functional.conv3d(
            x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class _ConvTranspose(_Conv):
    """What the transposed convolutions share: the order of arguments, and the size of the output.

    Several sizes of an input give one size of a convolution's output; `output_padding`, or
    `output_size` in the call, says which one is meant.
    """

    _transposed = True
    _modes = ("zeros",)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Sizes,
        stride: _Sizes = 1,
        padding: _Sizes = 0,
        output_padding: _Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: _Sizes = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.output_padding = sizes(self._axes)(
            type(self).__name__, "output_padding", output_padding, 0
        )

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Apply the layer; `output_size`, with or without batch and channels, fixes the size."""
        extra = self.output_padding
        if output_size is not None:
            extra = transposed_padding(
                type(self).__name__,
                input,
                output_size,
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
            )
        apply: Any = _TRANSPOSED[self._axes - 1]
        return apply(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def extra_repr(self) -> str:
        """Show what differs from the defaults."""
        text = super().extra_repr()
        return f"{text}, output_padding={self.output_padding}" if any(self.output_padding) else text


_TRANSPOSED = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of `Conv1d` in its input; arguments as of `ConvTranspose2d`.

    Shapes: input (N, C, L) or (C, L), output (N, out_channels, L'), weight (C, out_channels /
    groups, K).
    """

    _axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of `Conv2d` in its input, growing what strides shrink (Zeiler et al., 2010).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: window, an int or (height, width).
        stride: distance of neighbouring inputs in the output.
        padding: what is cut off every side of the output.
        output_padding: rows and columns added at the end, below stride or dilation.
        groups: blocks of channels that do not see each other; must divide both channel counts.
        bias: whether to add a learned constant per output channel.
        dilation: distance between taps.
        padding_mode: only "zeros".
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, C, H, W) or (C, H, W), output (N, out_channels, H', W') with H' = (H - 1)
    stride - 2 padding + dilation (kernel - 1) + output_padding + 1, weight (C, out_channels /
    groups, KH, KW).
    """

    _axes = 2


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of `Conv3d` in its input; arguments as of `ConvTranspose2d`.

    Shapes: input (N, C, D, H, W) or (C, D, H, W), output (N, out_channels, D', H', W'), weight (C,
    out_channels / groups, KD, KH, KW).
    """

    _axes = 3
