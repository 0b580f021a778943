"""Convolutions and transposed convolutions over one, two and three axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from .._args import conv_padding, pair, sides, single, sizes, spatial, triple

__all__ = [
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
]

_Sizes = int | tuple[int, ...] | list[int]

conv_transpose2d = _core.conv_transpose2d


def _zeros(
    op: str,
    sizes: Callable[..., tuple[int, ...]],
    weight: Tensor,
    stride: _Sizes,
    padding: str,
    dilation: _Sizes,
) -> tuple[int, ...]:
    strides, dilations = sizes(op, "stride", stride), sizes(op, "dilation", dilation)
    if not isinstance(weight, Tensor) or len(weight.shape) != len(strides) + 2:
        return (0,)  # the op says what is wrong
    return conv_padding(op, padding, tuple(weight.shape[2:]), strides, dilations)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes | str = 0,
    dilation: _Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation along one axis; `padding` may be "same" or "valid", see `nn.Conv1d`."""
    if isinstance(padding, str):
        padding = _zeros("conv1d", single, weight, stride, padding, dilation)
    return _core.conv1d(input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes | str = 0,
    dilation: _Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over two axes; `padding` may be "same" or "valid", see `nn.Conv2d`."""
    if isinstance(padding, str):
        padding = _zeros("conv2d", pair, weight, stride, padding, dilation)
    return _core.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _check_weight(
    op: str, input: Tensor, weight: Tensor, axes: int, channel_axis: int, factor: int
) -> None:
    spatial(op, input, axes)
    if not isinstance(weight, Tensor):
        raise TypeError(f"{op}: argument 'weight' must be a Tensor, got {type(weight).__name__}")
    if len(weight.shape) != axes + 2:
        raise ValueError(f"{op}: weight must have {axes + 2} axes, got {tuple(weight.shape)}")
    channels = input.shape[-axes - 1]
    if channels != weight.shape[channel_axis] * factor:
        raise ValueError(
            f"{op}: input {tuple(input.shape)} has {channels} channels, "
            f"weight {tuple(weight.shape)} takes {weight.shape[channel_axis] * factor}"
        )


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes | str = 0,
    dilation: _Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over three axes; `padding` may be "same" or "valid", see `nn.Conv3d`.

    The taps of the first axis become channels of one convolution over the other two, which takes
    a copy of the input per tap.
    """
    _check_weight("conv3d", input, weight, 3, 1, groups)
    if isinstance(padding, str):
        padding = _zeros("conv3d", triple, weight, stride, padding, dilation)
    elif not isinstance(padding, (tuple, list)) or len(padding) != 6:
        padding = triple("conv3d", "padding", padding, 0)
    front, back, *rest = sides(tuple(padding), 3)
    strides, dilations = triple("conv3d", "stride", stride), triple("conv3d", "dilation", dilation)
    x = _core.pad(input if len(input.shape) == 5 else input.unsqueeze(0), (0,) * 4 + (front, back))
    taps, (batch, channels, depth, height, width) = weight.shape[2], x.shape
    reach = dilations[0] * (taps - 1) + 1
    if depth < reach:
        raise ValueError(
            f"conv3d: the kernel reaches over {reach} planes, the padded input has {depth}"
        )
    planes = (depth - reach) // strides[0] + 1
    last = (planes - 1) * strides[0] + 1
    x = x.transpose(1, 2)
    starts = range(0, reach, dilations[0])
    x = gs.stack([x[:, at : at + last : strides[0]] for at in starts], 3)
    y = _core.conv2d(
        x.reshape(batch * planes, channels * taps, height, width),
        weight.flatten(1, 2),
        bias,
        strides[1:],
        tuple(rest),
        dilations[1:],
        groups,
    )
    y = y.reshape(batch, planes, *y.shape[1:]).transpose(1, 2)
    return y if len(input.shape) == 5 else y.squeeze(0)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes = 0,
    output_padding: _Sizes = 0,
    groups: int = 1,
    dilation: _Sizes = 1,
) -> Tensor:
    """The adjoint of `conv1d` in its input; see `nn.ConvTranspose1d`."""
    op = "conv_transpose1d"
    _check_weight(op, input, weight, 1, 0, 1)
    y = _core.conv_transpose2d(
        input.unsqueeze(-2),
        weight.unsqueeze(-2),
        bias,
        (1, *single(op, "stride", stride)),
        (0, *single(op, "padding", padding, 0)),
        (0, *single(op, "output_padding", output_padding, 0)),
        groups,
        (1, *single(op, "dilation", dilation)),
    )
    return y.squeeze(-2)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes = 0,
    output_padding: _Sizes = 0,
    groups: int = 1,
    dilation: _Sizes = 1,
) -> Tensor:
    """The adjoint of `conv3d` in its input; see `nn.ConvTranspose3d`.

    One transposed convolution over the last two axes makes a plane per tap of the first; planes
    that fall on each other are added.
    """
    op = "conv_transpose3d"
    _check_weight(op, input, weight, 3, 0, 1)
    strides, dilations = triple(op, "stride", stride), triple(op, "dilation", dilation)
    paddings = triple(op, "padding", padding, 0)
    extra = triple(op, "output_padding", output_padding, 0)
    if not all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ValueError(
            f"{op}: output_padding {extra} must be smaller than stride {strides} or "
            f"dilation {dilations}"
        )
    x = (input if len(input.shape) == 5 else input.unsqueeze(0)).transpose(1, 2)
    batch, depth, taps = x.shape[0], x.shape[1], weight.shape[2]
    full = (depth - 1) * strides[0] + dilations[0] * (taps - 1) + 1 + extra[0]
    planes = full - 2 * paddings[0]
    if planes < 1:
        raise ValueError(f"{op}: input {tuple(input.shape)} would give {planes} planes")
    y = _core.conv_transpose2d(
        x.flatten(0, 1),
        weight.flatten(1, 2),
        None,
        strides[1:],
        paddings[1:],
        extra[1:],
        groups,
        dilations[1:],
    )
    channels = weight.shape[1] * groups
    y = y.reshape(batch, depth, channels, taps, *y.shape[2:]).transpose(2, 3).flatten(1, 2)
    starts = gs.arange(depth, device=y.device).unsqueeze(1) * strides[0]
    to = (starts + gs.arange(taps, device=y.device) * dilations[0]).flatten()
    zeros = gs.zeros((batch, full, *y.shape[2:]), dtype=y.dtype, device=y.device)
    y = gs.index_add(zeros, 1, to, y).narrow(1, paddings[0], planes).transpose(1, 2)
    if bias is not None:
        y = y + bias.reshape(-1, 1, 1, 1)
    return y if len(input.shape) == 5 else y.squeeze(0)


def output_padding(
    op: str,
    input: Tensor,
    output_size: Sequence[int],
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> tuple[int, ...]:
    """Return the output padding with which a transposed convolution gives `output_size`.

    Raises:
        ValueError: no padding below the stride does.
    """
    axes = len(kernel_size)
    spatial(op, input, axes)
    given = tuple(output_size)
    wanted = sizes(axes)(
        op, "output_size", given[-axes:] if len(given) == len(input.shape) else given
    )
    least = [
        (n - 1) * s - 2 * p + d * (k - 1) + 1
        for n, k, s, p, d in zip(
            input.shape[-axes:], kernel_size, stride, padding, dilation, strict=True
        )
    ]
    extra = tuple(w - low for w, low in zip(wanted, least, strict=True))
    if not all(0 <= e < s for e, s in zip(extra, stride, strict=True)):
        most = [low + s - 1 for low, s in zip(least, stride, strict=True)]
        raise ValueError(f"{op}: output_size must lie between {least} and {most}, got {wanted}")
    return extra
