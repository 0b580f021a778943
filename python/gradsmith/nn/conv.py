"""Convolution layers: Conv1d, Conv2d."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from . import init
from ._args import choice, conv_padding, pair, positive_int, single
from .module import Module
from .parameter import Parameter

__all__ = ["Conv1d", "Conv2d"]


class _Conv(Module):
    """What the convolutions share: sizes, checks, parameters and their initial values."""

    _tuple: ClassVar[Callable[..., tuple[int, ...]]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__()
        name, sizes = type(self).__name__, type(self)._tuple
        self.in_channels = positive_int(name, "in_channels", in_channels)
        self.out_channels = positive_int(name, "out_channels", out_channels)
        self.kernel_size = sizes(name, "kernel_size", kernel_size)
        self.stride = sizes(name, "stride", stride)
        self.dilation = sizes(name, "dilation", dilation)
        self.groups = positive_int(name, "groups", groups)
        self.padding_mode = choice(name, "padding_mode", padding_mode, ("zeros",))
        self.padding = self._padding(name, padding)
        for label, channels in (("in", self.in_channels), ("out", self.out_channels)):
            if channels % self.groups:
                raise ValueError(
                    f"{name}: {label}_channels ({channels}) must be divisible by "
                    f"groups ({self.groups})"
                )
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight = Parameter(gs.empty(shape, dtype=dtype, device=device))
        if bias:
            self.bias = Parameter(gs.empty((self.out_channels,), dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _padding(self, name: str, padding: int | tuple[int, ...] | str) -> tuple[int, ...]:
        if not isinstance(padding, str):
            return type(self)._tuple(name, "padding", padding, 0)
        return conv_padding(name, padding, self.kernel_size, self.stride, self.dilation)

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
        return ", ".join(parts)


class Conv1d(_Conv):
    """Cross-correlation along one axis.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps.
        stride: step of the window.
        padding: zeros on both sides, or "valid", or "same" (stride 1).
        dilation: distance between taps.
        groups: blocks of channels that do not see each other; must divide both channel counts.
        bias: whether to add a learned constant per output channel.
        padding_mode: only "zeros".
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, C, L), output (N, out_channels, L'), weight (out_channels, C / groups, K).
    """

    _tuple = staticmethod(single)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        own: Any = self._parameters  # without a detour through __getattr__
        return _core.conv1d(
            input,
            own["weight"],
            own["bias"],
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
        )


class Conv2d(_Conv):
    """Cross-correlation over two axes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: window, an int or (height, width).
        stride: step of the window.
        padding: zeros on every side, or "valid", or "same" (stride 1).
        dilation: distance between taps.
        groups: blocks of channels that do not see each other; must divide both channel counts.
        bias: whether to add a learned constant per output channel.
        padding_mode: only "zeros".
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, C, H, W), output (N, out_channels, H', W') with H' = floor((H + 2 padding
    - dilation (kernel - 1) - 1) / stride) + 1, weight (out_channels, C / groups, KH, KW).
    """

    _tuple = staticmethod(pair)

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer."""
        return self.forward_activated(input, "none")

    def forward_activated(self, input: Tensor, activation: str) -> Tensor:
        """Apply the layer and then an activation of `functional.linear`, in one pass."""
        own: Any = self._parameters
        return _core.conv2d(
            input,
            own["weight"],
            own["bias"],
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            activation,
        )
