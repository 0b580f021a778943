"""Random small changes of images that keep what they show, on whole batches of arrays.

Each takes images (N, C, H, W), never a single one, and a generator first, so that `on_images` can
make a DataLoader's transform of several:
`DataLoader(..., transform=on_images(partial(random_shift, pixels=2)))`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._checks import integer, nonnegative, number

__all__ = [
    "normalize", "on_images", "random_affine", "random_crop", "random_erase", "random_flip",
    "random_shift",
]  # fmt: skip

Array = np.ndarray[Any, Any]
_AT_ONCE = 16  # images whose intermediate arrays are small enough to be recycled, not mapped afresh


def _check_images(owner: str, images: Array) -> None:
    if not isinstance(images, np.ndarray):
        raise TypeError(f"{owner}: images must be an array, got {type(images).__name__}")
    if images.ndim != 4:
        raise ValueError(
            f"{owner}: images must be (N, C, H, W), got shape {images.shape}; "
            "a single image becomes a batch by images[None]"
        )


def _probability(owner: str, p: float) -> float:
    if not 0 <= number(owner, "p", p) <= 1:
        raise ValueError(f"{owner}: p must be in [0, 1], got {p}")
    return p


def _count(owner: str, name: str, value: int) -> int:
    """Return an int that is not negative."""
    if integer(owner, name, value) < 0:
        raise ValueError(f"{owner}: {name} must not be negative, got {value}")
    return int(value)


def on_images(*steps: Callable[[Array, np.random.Generator], Array]) -> Callable[..., Any]:
    """Return a DataLoader's `transform` that applies the steps to each batch's first item."""

    def transform(batch: Sequence[Any], rng: np.random.Generator) -> tuple[Any, ...]:
        images, *rest = batch
        changed = images.numpy()
        for step in steps:
            changed = step(changed, rng)
        return gs.from_numpy(np.ascontiguousarray(changed)), *rest

    return transform


def normalize(mean: Sequence[float], std: Sequence[float]) -> Callable[..., Array]:
    """Return a step that shifts and scales each channel: (x - mean) / std.

    Args:
        mean: one number per channel.
        std: one positive number per channel.
    """
    if len(mean) != len(std) or not all(s > 0 for s in std):
        raise ValueError(f"normalize: needs one positive std for each mean, got {mean} and {std}")
    shift = np.asarray(mean, np.float32)[:, None, None]
    scale = np.asarray(std, np.float32)[:, None, None]

    def step(images: Array, rng: np.random.Generator | None = None) -> Array:
        _check_images("normalize", images)
        if images.shape[-3] != len(shift):
            raise ValueError(f"normalize: images {images.shape} do not have {len(shift)} channels")
        return (images - shift) / scale

    return step


def random_flip(images: Array, rng: np.random.Generator, p: float = 0.5) -> Array:
    """Mirror each image left to right with probability p.

    Args:
        images: (N, C, H, W).
        rng: decides which.
        p: the probability.
    """
    _check_images("random_flip", images)
    chosen = rng.random(len(images)) < _probability("random_flip", p)
    return np.where(chosen[:, None, None, None], images[..., ::-1], images)


def random_crop(images: Array, rng: np.random.Generator, pixels: int) -> Array:
    """Shift each image on its own by up to `pixels` along both axes, filling with zeros.

    Args:
        images: (N, C, H, W).
        rng: decides the shifts.
        pixels: the largest shift.
    """
    _check_images("random_crop", images)
    pixels = _count("random_crop", "pixels", pixels)
    count, _, high, wide = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (high, wide), axis=(2, 3))
    down, right = rng.integers(0, 2 * pixels + 1, (2, count))
    return np.ascontiguousarray(windows[np.arange(count), :, down, right])


def random_erase(images: Array, rng: np.random.Generator, size: int, p: float = 1.0) -> Array:
    """Set a square of each image to zero with probability p (DeVries and Taylor, 2017).

    Args:
        images: (N, C, H, W).
        rng: decides which, and where; the square's middle lies in the image.
        size: side of the square.
        p: the probability.
    """
    _check_images("random_erase", images)
    size, p = _count("random_erase", "size", size), _probability("random_erase", p)
    count, _, high, wide = images.shape
    row, column = rng.integers(0, high, count), rng.integers(0, wide, count)
    chosen = rng.random(count) < p

    def within(places: Array, middle: Array) -> Array:
        start = (middle - size // 2)[:, None]
        return (places >= start) & (places < start + size)

    inside = within(np.arange(high), row)[:, :, None] & within(np.arange(wide), column)[:, None]
    return np.where((inside & chosen[:, None, None])[:, None], np.zeros((), images.dtype), images)


def random_shift(images: Array, rng: np.random.Generator, pixels: int) -> Array:
    """Shift the whole batch by up to `pixels` along both axes, filling with zeros.

    Args:
        images: (N, C, H, W).
        rng: decides the shift.
        pixels: the largest shift.
    """
    _check_images("random_shift", images)
    pixels = _count("random_shift", "pixels", pixels)
    high, wide = images.shape[-2:]
    down, right = rng.integers(0, 2 * pixels + 1, 2)
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    return np.ascontiguousarray(padded[:, :, down : down + high, right : right + wide])


def random_affine(
    images: Array, rng: np.random.Generator, degrees: float, pixels: float, scale: float
) -> Array:
    """Rotate, shift and scale every image on its own, with bilinear interpolation.

    Args:
        images: (N, C, H, W); integers are mixed as float32 and rounded.
        rng: decides the changes.
        degrees: the largest rotation, either way.
        pixels: the largest shift along each axis.
        scale: the largest relative change of size, less than 1.
    """
    _check_images("random_affine", images)
    for name, value in (("degrees", degrees), ("pixels", pixels), ("scale", scale)):
        nonnegative("random_affine", name, value)
    if scale >= 1:
        raise ValueError(f"random_affine: scale must be less than 1, got {scale}")
    given = images.dtype
    if given not in (np.float32, np.float64):  # neither angles nor places fit in bytes or halves
        images = images.astype(np.float32)
    count = len(images)
    angle = np.deg2rad(rng.uniform(-degrees, degrees, count))
    size = rng.uniform(1 - scale, 1 + scale, count)
    shift = rng.uniform(-pixels, pixels, (2, count))
    moves = np.stack([np.cos(angle) / size, np.sin(angle) / size, *shift]).astype(images.dtype)
    moved = np.empty_like(images, order="C")
    for start in range(0, count, _AT_ONCE):
        few = slice(start, start + _AT_ONCE)
        moved[few] = _affine(images[few], moves[:, few, None, None])
    # Mixing does not leave the range of the values, so that rounding does not either.
    return (moved if given.kind == "f" else np.rint(moved)).astype(given, copy=False)


def _affine(images: Array, moves: Array) -> Array:
    """Sample images (N, C, H, W) at places given by cos, sin and two shifts, (4, N, 1, 1)."""
    count, channels, high, wide = images.shape
    cos, sin, down, right = moves
    y = np.arange(high, dtype=images.dtype)[:, None] - (high - 1) / 2
    x = np.arange(wide, dtype=images.dtype) - (wide - 1) / 2
    # Where each output pixel comes from, in an image with a border of one zero.
    from_y = np.clip(cos * y + sin * x + (down + (high + 1) / 2), 0, high + 0.999)
    from_x = np.clip(cos * x - sin * y + (right + (wide + 1) / 2), 0, wide + 0.999)
    top, left = from_y.astype(np.intp), from_x.astype(np.intp)
    below, beside = from_y - top.astype(images.dtype), from_x - left.astype(images.dtype)

    border = ((0, 0), (0, 0), (1, 1), (1, 1))
    planes = np.pad(images.transpose(1, 0, 2, 3), border).reshape(channels, -1)
    row, image = wide + 2, (high + 2) * (wide + 2)
    corner = top * row + left + image * np.arange(count)[:, None, None]

    def between(offset: int) -> Array:
        """Mix a pixel with its right neighbour; (C, N, H, W)."""
        here = planes.take(corner + offset, axis=1)
        return here + beside * (planes.take(corner + (offset + 1), axis=1) - here)

    upper = between(0)
    return (upper + below * (between(row) - upper)).transpose(1, 0, 2, 3)
