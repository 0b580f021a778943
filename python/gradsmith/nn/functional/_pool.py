"""Pooling over one, two and three axes, and the inverse of max pooling.

Windows are boxes, so that a maximum or a mean over one is taken over its last two axes and then
over the first; pooling over one axis is pooling over two of which the first has size 1.
"""

from __future__ import annotations

import math
from typing import Any

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from .._args import as_index, single, sizes, spatial, spatial_size, triple

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

_Sizes = int | tuple[int, ...] | list[int]

max_pool2d = _core.max_pool2d


def _lowered(found: Any, axis: int) -> Any:
    """Take an axis of size 1 out of the values, and of the indices where there are some."""
    if isinstance(found, tuple):
        return tuple(part.squeeze(axis) for part in found)
    return found.squeeze(axis)


def _by_plane(input: Tensor, pool: Any) -> Any:
    """Pool the last two of three axes, (..., C, D, H, W), plane by plane."""
    lead = tuple(input.shape[:-2])
    found = pool(input.reshape(math.prod(lead), 1, *input.shape[-2:]))
    if isinstance(found, tuple):
        return tuple(part.reshape(*lead, *part.shape[-2:]) for part in found)
    return found.reshape(*lead, *found.shape[-2:])


def _across(input: Tensor, pool: Any) -> Any:
    """Pool the first of three axes."""
    rows, columns = input.shape[-2:]
    flat = pool(input.flatten(-2, -1))
    if isinstance(flat, tuple):
        return tuple(part.unflatten(-1, (rows, columns)) for part in flat)
    return flat.unflatten(-1, (rows, columns))


def _max_of_boxes(input: Tensor, planes: Any, across: Any, return_indices: bool) -> Any:
    """Maxima over planes and then across them, with flat D * H * W positions if wanted."""
    if not return_indices:
        return _across(_by_plane(input, planes), across)
    inner, places = _by_plane(input, planes)
    values, chosen = _across(inner, across)
    # `chosen` counts pooled planes of H' W'; the place in the original plane is looked up there.
    area, pooled = input.shape[-2] * input.shape[-1], inner.shape[-2] * inner.shape[-1]
    picked = gs.gather(places.flatten(-3), places.dim() - 3, chosen.flatten(-3))
    return values, chosen.floor_divide(pooled) * area + picked.reshape(*chosen.shape)


def max_pool1d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window along one axis; see `nn.MaxPool1d`."""
    op = "max_pool1d"
    spatial(op, input, 1)
    window = single(op, "kernel_size", kernel_size)
    found = _core.max_pool2d(
        input.unsqueeze(-2),
        (1, *window),
        (1, *(window if stride is None else single(op, "stride", stride))),
        (0, *single(op, "padding", padding, 0)),
        (1, *single(op, "dilation", dilation)),
        ceil_mode,
        return_indices,
    )
    return _lowered(found, -2)


def max_pool3d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    dilation: _Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum of each window over three axes; see `nn.MaxPool3d`."""
    op = "max_pool3d"
    spatial(op, input, 3)
    window = triple(op, "kernel_size", kernel_size)
    steps = window if stride is None else triple(op, "stride", stride)
    border, dilations = triple(op, "padding", padding, 0), triple(op, "dilation", dilation)

    rest = (ceil_mode, return_indices)
    return _max_of_boxes(
        input,
        lambda x: _core.max_pool2d(x, window[1:], steps[1:], border[1:], dilations[1:], *rest),
        lambda x: _core.max_pool2d(
            x, (window[0], 1), (steps[0], 1), (border[0], 0), (dilations[0], 1), *rest
        ),
        return_indices,
    )


def avg_pool1d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window along one axis; see `nn.AvgPool1d`."""
    op = "avg_pool1d"
    spatial(op, input, 1)
    window = single(op, "kernel_size", kernel_size)
    found = _core.avg_pool2d(
        input.unsqueeze(-2),
        (1, *window),
        (1, *(window if stride is None else single(op, "stride", stride))),
        (0, *single(op, "padding", padding, 0)),
        ceil_mode,
        count_include_pad,
    )
    return found.squeeze(-2)


def _magnitude(divisor_override: int | None) -> int | None:
    """Return what the op takes, a positive divisor; it says what is wrong with others."""
    negative = isinstance(divisor_override, int) and divisor_override < 0
    return -divisor_override if negative else divisor_override  # type: ignore[operator]


def _divided(y: Tensor, divisor_override: int | None) -> Tensor:
    """Give a mean over |divisor| the divisor's sign."""
    return -y if divisor_override is not None and divisor_override < 0 else y


def avg_pool2d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window over two axes; see `nn.AvgPool2d`."""
    divisor = _magnitude(divisor_override)
    y = _core.avg_pool2d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
    return _divided(y, divisor_override)


def avg_pool3d(
    input: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window over three axes; see `nn.AvgPool3d`."""
    op = "avg_pool3d"
    spatial(op, input, 3)
    window = triple(op, "kernel_size", kernel_size)
    steps = window if stride is None else triple(op, "stride", stride)
    border = triple(op, "padding", padding, 0)
    rest = (ceil_mode, count_include_pad)
    # The divisor is a product of the axes' own, so that means of means are the means; one that is
    # given divides only once.
    first, last = None if divisor_override is None else 1, _magnitude(divisor_override)
    y = _by_plane(
        input, lambda x: _core.avg_pool2d(x, window[1:], steps[1:], border[1:], *rest, first)
    )
    y = _across(
        y,
        lambda x: _core.avg_pool2d(x, (window[0], 1), (steps[0], 1), (border[0], 0), *rest, last),
    )
    return _divided(y, divisor_override)


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows that give `output_size`; None keeps the input's size."""
    spatial("adaptive_avg_pool1d", input, 1)
    size = single("adaptive_avg_pool1d", "output_size", spatial_size(input, output_size, 1), 0)
    return _core.adaptive_avg_pool2d(input.unsqueeze(-2), (1, *size)).squeeze(-2)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows that give `output_size`; None keeps the input's size."""
    return _core.adaptive_avg_pool2d(input, spatial_size(input, output_size))


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows that give `output_size`; None keeps the input's size."""
    op = "adaptive_avg_pool3d"
    spatial(op, input, 3)
    planes, *size = triple(op, "output_size", spatial_size(input, output_size, 3), 0)
    y = _by_plane(input, lambda x: _core.adaptive_avg_pool2d(x, size))
    return _across(y, lambda x: _core.adaptive_avg_pool2d(x, (planes, x.shape[-1])))


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows that give `output_size`; None keeps the input's size."""
    op = "adaptive_max_pool1d"
    spatial(op, input, 1)
    size = single(op, "output_size", spatial_size(input, output_size, 1), 0)
    found = _core.adaptive_max_pool2d(input.unsqueeze(-2), (1, *size), return_indices)
    return _lowered(found, -2)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows that give `output_size`; None keeps the input's size."""
    return _core.adaptive_max_pool2d(input, spatial_size(input, output_size), return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows that give `output_size`; None keeps the input's size."""
    op = "adaptive_max_pool3d"
    spatial(op, input, 3)
    planes, *size = triple(op, "output_size", spatial_size(input, output_size, 3), 0)
    return _max_of_boxes(
        input,
        lambda x: _core.adaptive_max_pool2d(x, size, return_indices),
        lambda x: _core.adaptive_max_pool2d(x, (planes, x.shape[-1]), return_indices),
        return_indices,
    )


def _lp(
    axes: int,
    input: Tensor,
    norm_type: float,
    kernel_size: _Sizes,
    stride: _Sizes | None,
    ceil_mode: bool,
) -> Tensor:
    op, power = f"lp_pool{axes}d", float(norm_type)
    if power == 0 or math.isnan(power):
        raise ValueError(f"{op}: norm_type must not be {norm_type}")
    window = sizes(axes)(op, "kernel_size", kernel_size)
    if math.isinf(power):
        sign = math.copysign(1.0, power)
        most: Any = (max_pool1d, max_pool2d, max_pool3d)[axes - 1]
        largest: Tensor = most(gs.abs(input) * sign, window, stride, 0, 1, ceil_mode)
        return largest * sign
    mean = (avg_pool1d, avg_pool2d, avg_pool3d)[axes - 1]
    sums = mean(input.pow(power), window, stride, 0, ceil_mode)
    # Odd powers may add up to something negative, whose root is NaN; a sum of 0 has slope 0.
    return (gs.sign(sums) * gs.relu(gs.abs(sums)) * math.prod(window)).pow(1 / power)


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p)^(1/p) of each window along one axis; see `nn.LPPool1d`."""
    return _lp(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p)^(1/p) of each window over two axes; see `nn.LPPool2d`."""
    return _lp(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p)^(1/p) of each window over three axes; see `nn.LPPool3d`."""
    return _lp(3, input, norm_type, kernel_size, stride, ceil_mode)


def _unpool(
    axes: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None,
    padding: _Sizes,
    output_size: Any,
) -> Tensor:
    op = f"max_unpool{axes}d"
    spatial(op, input, axes)
    of = sizes(axes)
    window = of(op, "kernel_size", kernel_size)
    steps = window if stride is None else of(op, "stride", stride)
    border = of(op, "padding", padding, 0)
    if tuple(indices.shape) != tuple(input.shape):
        raise ValueError(
            f"{op}: indices must have the shape of input {tuple(input.shape)}, "
            f"got {tuple(indices.shape)}"
        )
    usual = [
        (n - 1) * s + k - 2 * p
        for n, k, s, p in zip(input.shape[-axes:], window, steps, border, strict=True)
    ]
    if output_size is None:
        wanted = tuple(usual)
    else:
        wanted = of(op, "output_size", tuple(output_size)[-axes:])
        for got, size, step in zip(wanted, usual, steps, strict=True):
            if not size - step < got < size + step:
                raise ValueError(
                    f"{op}: output_size must be within the stride {steps} of {tuple(usual)}, "
                    f"got {wanted}"
                )
    lead, area = tuple(input.shape[:-axes]), math.prod(wanted)
    places = as_index(indices).reshape(math.prod(lead), math.prod(input.shape[-axes:]))
    if places.numel() and not 0 <= int(places.min()) <= int(places.max()) < area:
        raise ValueError(
            f"{op}: indices must lie in [0, {area}), got {int(places.min())} to {int(places.max())}"
        )
    planes = gs.arange(places.shape[0], device=places.device).unsqueeze(1)
    flat = (places + planes * area).flatten()
    # Overlapping windows may name one place twice, with the same value, which must count once.
    order = gs.arange(flat.numel(), device=flat.device)
    last = gs.zeros((places.shape[0] * area,), dtype=gs.int64, device=flat.device)
    last[flat] = order
    values = input.flatten().masked_fill(last[flat] != order, 0.0)
    zeros = gs.zeros(last.shape, dtype=input.dtype, device=input.device)
    return gs.index_add(zeros, 0, flat, values).reshape(*lead, *wanted)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Put maxima back where `max_pool1d` found them; see `nn.MaxUnpool1d`."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Put maxima back where `max_pool2d` found them; see `nn.MaxUnpool2d`."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: _Sizes,
    stride: _Sizes | None = None,
    padding: _Sizes = 0,
    output_size: Any = None,
) -> Tensor:
    """Put maxima back where `max_pool3d` found them; see `nn.MaxUnpool3d`."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)
