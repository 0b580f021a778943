"""Rearranging pixels, resampling, and windows as columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor
from gradsmith._interop import on_device

from .._args import choice, pair, positive_int
from ._pool import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

__all__ = [
    "channel_shuffle",
    "fold",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
]

_Sizes = int | tuple[int, ...] | list[int]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) to (..., C, H r, W r): channels become pixels (Shi et al., 2016)."""
    r = positive_int("pixel_shuffle", "upscale_factor", upscale_factor)
    if len(input.shape) < 3 or input.shape[-3] % (r * r):
        raise ValueError(
            f"pixel_shuffle: input must be (..., C, H, W) with C divisible by {r * r}, "
            f"got {tuple(input.shape)}"
        )
    *lead, channels, height, width = input.shape
    split = input.reshape(math.prod(lead), channels // (r * r), r, r, height, width)
    mixed = split.permute(0, 1, 4, 2, 5, 3)
    return mixed.reshape(*lead, channels // (r * r), height * r, width * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) to (..., C r^2, H, W): the inverse of `pixel_shuffle`."""
    r = positive_int("pixel_unshuffle", "downscale_factor", downscale_factor)
    if len(input.shape) < 3 or input.shape[-2] % r or input.shape[-1] % r:
        raise ValueError(
            f"pixel_unshuffle: input must be (..., C, H, W) with H and W divisible by {r}, "
            f"got {tuple(input.shape)}"
        )
    *lead, channels, height, width = input.shape
    split = input.reshape(math.prod(lead), channels, height // r, r, width // r, r)
    mixed = split.permute(0, 1, 3, 5, 2, 4)
    return mixed.reshape(*lead, channels * r * r, height // r, width // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, C, ...): take turns between `groups` blocks of channels (Zhang et al., 2018)."""
    positive_int("channel_shuffle", "groups", groups)
    if len(input.shape) < 3 or input.shape[1] % groups:
        raise ValueError(
            f"channel_shuffle: input must be (N, C, ...) with C divisible by {groups}, "
            f"got {tuple(input.shape)}"
        )
    split = input.unflatten(1, (groups, input.shape[1] // groups))
    return split.transpose(1, 2).reshape(input.shape)


# ---- resampling, one axis after the other ----

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
MODES = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area")
_CUBIC = -0.75  # the slope parameter of Keys (1981) that image libraries use

_Taps = list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def _taps(mode: str, size: int, wanted: int, scale: float | None, corners: bool) -> _Taps:
    """Return indices into an axis of `size` and their weights, for every one of `wanted` places."""
    at = np.arange(wanted)
    if mode.startswith("nearest"):
        # In single precision, as PyTorch has it, lest a rounding error picks another neighbour.
        step = np.float32(size / wanted if scale is None else 1 / scale)
        half = np.float32(0.5 if mode == "nearest-exact" else 0.0)
        source = np.floor((at.astype(np.float32) + half) * step)
        return [(np.minimum(source.astype(np.int64), size - 1), np.ones(wanted))]
    if corners:
        place = at * ((size - 1) / (wanted - 1) if wanted > 1 else 0.0)
    else:
        place = (at + 0.5) * (size / wanted if scale is None else 1 / scale) - 0.5
    if mode != "bicubic":
        place = np.maximum(place, 0.0)
    low = np.floor(place).astype(np.int64)
    if mode != "bicubic":
        low = np.minimum(low, size - 1)
        share = np.minimum(place - low, 1.0)
        return [(low, 1 - share), (np.minimum(low + 1, size - 1), share)]
    share, weights = place - low, []
    for distance in (1 + share, share, 1 - share, 2 - share):
        near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
        far = ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC
        weights.append(np.where(distance <= 1, near, far))
    return [
        (np.clip(low + at, 0, size - 1), w) for at, w in zip(range(-1, 3), weights, strict=True)
    ]


def _resample(x: Tensor, dim: int, taps: _Taps) -> Tensor:
    total = None
    for index, weight in taps:
        part = gs.index_select(x, dim, on_device(index, x.device))
        if len(taps) > 1:
            shape = (-1, *(1,) * (len(x.shape) - 1 - dim))
            part = part * on_device(weight, x.device).to(x.dtype).reshape(shape)
        total = part if total is None else total + part
    assert total is not None
    return total


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample the spatial axes of (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    Args:
        input: one to three spatial axes.
        size: of the result; or give `scale_factor`.
        scale_factor: size of the result over the input's, rounded down.
        mode: "nearest", "nearest-exact", "linear" (one axis), "bilinear", "bicubic" (two),
            "trilinear" (three) or "area" (adaptive mean).
        align_corners: whether the centres of the corner pixels fall on each other; only for the
            modes with "linear" or "cubic"; no unless given.
        recompute_scale_factor: derive the step from the rounded size and not from `scale_factor`.
        antialias: not offered; must be False.

    Raises:
        ValueError: mode and number of axes do not go together, or both or neither of `size` and
            `scale_factor` are given.
    """
    op, axes = "interpolate", len(input.shape) - 2
    choice(op, "mode", mode, MODES)
    if not 1 <= axes <= 3:
        raise ValueError(f"{op}: input must have 3, 4 or 5 axes, got {tuple(input.shape)}")
    smooth = mode.endswith(("linear", "cubic"))
    if smooth and mode not in (_LINEAR[axes], "bicubic" if axes == 2 else ""):
        raise ValueError(f"{op}: mode {mode!r} does not fit input {tuple(input.shape)}")
    if align_corners is not None and not smooth:
        raise ValueError(f"{op}: align_corners goes with linear and cubic modes, not {mode!r}")
    if antialias:
        raise ValueError(f"{op}: antialias is not offered")
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{op}: give either size or scale_factor")
    given: Any = size if scale_factor is None else scale_factor
    values = list(given) if isinstance(given, (tuple, list)) else [given] * axes
    if len(values) != axes:
        raise ValueError(f"{op}: {len(values)} sizes or factors for {axes} spatial axes")
    sizes = tuple(input.shape[2:])
    scales: list[float | None] = [None] * axes
    if scale_factor is not None:
        wanted = [math.floor(float(n) * float(s)) for n, s in zip(sizes, values, strict=True)]
        if not recompute_scale_factor:
            scales = [float(s) for s in values]
    else:
        if recompute_scale_factor:
            raise ValueError(f"{op}: recompute_scale_factor needs scale_factor")
        wanted = [positive_int(op, "size", value) for value in values]
    if 0 in sizes or min(wanted) < 1:
        raise ValueError(f"{op}: cannot make size {tuple(wanted)} of {tuple(input.shape)}")
    if mode == "area":
        pools = (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)
        return pools[axes - 1](input, tuple(wanted))
    y = input
    for axis, (old, new, scale) in enumerate(zip(sizes, wanted, scales, strict=True), 2):
        # As PyTorch has it, a factor does not count where a linear mode keeps the size, or where
        # the nearest of two axes are taken once or twice each.
        if mode == "nearest" and axes == 2 and new in (old, 2 * old):
            scale = None
        if new == old and (scale is None or mode == _LINEAR[axes]):
            continue
        y = _resample(y, axis, _taps(mode, old, new, scale, bool(align_corners)))
    return y.clone() if y is input else y


# ---- windows as columns ----


def _windows(
    op: str,
    device: Any,
    plane: Sequence[int],
    kernel_size: _Sizes,
    dilation: _Sizes,
    padding: _Sizes,
    stride: _Sizes,
) -> tuple[Tensor, int, tuple[int, int]]:
    """Return where each tap of each window lies in the padded plane, the windows, and padding."""
    taps, steps = pair(op, "kernel_size", kernel_size), pair(op, "stride", stride)
    spread, border = pair(op, "dilation", dilation), pair(op, "padding", padding, 0)
    rows = []
    for size, k, s, d, p in zip(plane, taps, steps, spread, border, strict=True):
        count = (size + 2 * p - d * (k - 1) - 1) // s + 1
        if count < 1:
            raise ValueError(
                f"{op}: a kernel of {taps} with dilation {spread} does not fit into "
                f"{tuple(plane)} padded by {border}"
            )
        starts = gs.arange(count, device=device) * s
        rows.append(gs.arange(k, device=device).unsqueeze(1) * d + starts)
    width = plane[1] + 2 * border[1]
    across, down = rows[1].unsqueeze(0).unsqueeze(2), rows[0].unsqueeze(1).unsqueeze(3)
    places = down * width + across  # (KH, KW, H', W')
    return places, places.shape[2] * places.shape[3], border


def unfold(
    input: Tensor,
    kernel_size: _Sizes,
    dilation: _Sizes = 1,
    padding: _Sizes = 0,
    stride: _Sizes = 1,
) -> Tensor:
    """Windows as columns: (N, C, H, W) to (N, C KH KW, windows); see `nn.Unfold`."""
    if len(input.shape) not in (3, 4):
        raise ValueError(
            f"unfold: input must be (N, C, H, W) or (C, H, W), got {tuple(input.shape)}"
        )
    places, windows, (top, left) = _windows(
        "unfold", input.device, tuple(input.shape[-2:]), kernel_size, dilation, padding, stride
    )
    *lead, channels = input.shape[:-2]
    flat = _core.pad(input, (left, left, top, top)).flatten(-2)
    rows = channels * places.shape[0] * places.shape[1]
    return gs.index_select(flat, -1, places.flatten()).reshape(*lead, rows, windows)


def fold(
    input: Tensor,
    output_size: _Sizes,
    kernel_size: _Sizes,
    dilation: _Sizes = 1,
    padding: _Sizes = 0,
    stride: _Sizes = 1,
) -> Tensor:
    """Add columns up where their windows were: the adjoint of `unfold`; see `nn.Fold`."""
    height, width = pair("fold", "output_size", output_size)
    places, windows, (top, left) = _windows(
        "fold", input.device, (height, width), kernel_size, dilation, padding, stride
    )
    taps = places.shape[0] * places.shape[1]
    shape = tuple(input.shape)
    if len(shape) not in (2, 3) or shape[-2] % taps or shape[-1] != windows:
        raise ValueError(
            f"fold: input must be (N, C * {taps}, {windows}) or (C * {taps}, {windows}), "
            f"got {shape}"
        )
    lead = (*shape[:-2], shape[-2] // taps)
    tall, wide = height + 2 * top, width + 2 * left
    zeros = gs.zeros((*lead, tall * wide), dtype=input.dtype, device=input.device)
    flat = gs.index_add(zeros, len(lead), places.flatten(), input.reshape(*lead, taps * windows))
    plane = flat.reshape(*lead, tall, wide)
    return plane.narrow(-2, top, height).narrow(-1, left, width)
