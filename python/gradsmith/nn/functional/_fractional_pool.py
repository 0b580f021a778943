"""Fractional max pooling, composed of ops; see `nn.FractionalMaxPool2d`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import number
from gradsmith._core import Tensor

from .._args import sizes, spatial

__all__ = ["fractional_max_pool2d", "fractional_max_pool3d", "output_ratios"]

_Sizes = int | tuple[int, ...]
_Ratios = float | tuple[float, ...]


def _fractional(
    axes: int,
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None,
    output_ratio: _Ratios | None,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    op = f"fractional_max_pool{axes}d"
    spatial(op, input, axes)
    x = input if len(input.shape) == axes + 2 else input.unsqueeze(0)
    batch, channels, *source = x.shape
    window = sizes(axes)(op, "kernel_size", kernel_size)
    if output_size is not None:
        wanted = list(sizes(axes)(op, "output_size", output_size))
    elif output_ratio is not None:
        ratios = output_ratios(op, axes, output_ratio)
        wanted = [int(size * r) for size, r in zip(source, ratios, strict=True)]
    else:
        raise ValueError(f"{op}: give either output_size or output_ratio")
    for size, kernel, out in zip(source, window, wanted, strict=True):
        if out < 1 or out + kernel - 1 > size:
            raise ValueError(
                f"{op}: windows {window} at {tuple(wanted)} places do not fit input {tuple(source)}"
            )
    if samples is None:
        samples = gs.rand(batch, channels, axes, dtype=gs.float64)
    elif tuple(samples.shape[1:]) != (channels, axes) or samples.shape[0] < batch:
        raise ValueError(
            f"{op}: _random_samples must be ({batch}, {channels}, {axes}), or more in the first "
            f"axis, got {tuple(samples.shape)}"
        )
    shares = samples.detach().to("cpu").numpy()[:batch].reshape(-1, axes)
    # The samples stand in the order of the axes' names in PyTorch: width first in two axes.
    order = (1, 0) if axes == 2 else (0, 1, 2)
    places = np.zeros((len(shares), *(1,) * 2 * axes), dtype=np.int64)
    for axis, at in enumerate(order):
        starts = _starts(shares[:, at], source[axis], wanted[axis], window[axis])
        shape = [1] * (2 * axes)
        shape[axis], shape[axes + axis] = wanted[axis], window[axis]
        along = starts[:, :, None] + np.arange(window[axis])
        places = places * source[axis] + along.reshape(-1, *shape)
    area, count = math.prod(wanted), math.prod(window)
    index = _core.from_numpy(places.reshape(len(shares), area * count)).to(x.device)
    planes = x.reshape(len(shares), math.prod(source))
    boxes = _core.gather(planes, 1, index).reshape(len(shares), area, count)
    best = boxes.detach().argmax(2, keepdim=True)
    result = (*input.shape[:-axes], *wanted)
    y = _core.gather(boxes, 2, best).reshape(result)
    if not return_indices:
        return y
    return y, _core.gather(index.reshape(len(shares), area, count), 2, best).reshape(result)


def _starts(shares: np.ndarray[Any, Any], size: int, out: int, window: int) -> Any:
    """Return where the windows begin, (planes, out): steps of two sizes, the last at the end."""
    step = (size - window) / (out - 1) if out > 1 else 0.0
    begun = shares[:, None]
    starts = ((np.arange(out) + begun) * step).astype(np.int64) - (begun * step).astype(np.int64)
    starts[:, -1] = size - window
    return starts


def output_ratios(owner: str, axes: int, given: _Ratios) -> tuple[float, ...]:
    """Return one ratio per axis."""
    ratios = given if isinstance(given, (tuple, list)) else (given,) * axes
    if len(ratios) != axes or not all(0 < number(owner, "output_ratio", r) < 1 for r in ratios):
        raise ValueError(
            f"{owner}: output_ratio must be one or {axes} numbers in (0, 1), got {given}"
        )
    return tuple(ratios)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None = None,
    output_ratio: _Ratios | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Maxima of windows at random places, two axes; see `nn.FractionalMaxPool2d`."""
    return _fractional(
        2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: _Sizes,
    output_size: _Sizes | None = None,
    output_ratio: _Ratios | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """Maxima of windows at random places, three axes; see `nn.FractionalMaxPool3d`."""
    return _fractional(
        3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )
