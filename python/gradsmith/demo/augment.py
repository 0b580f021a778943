"""Random small changes of images that keep what they show."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["random_affine", "random_shift"]

Array = np.ndarray[Any, Any]


def random_shift(images: Array, rng: np.random.Generator, pixels: int) -> Array:
    """Shift the whole batch by up to `pixels` along both axes, filling with zeros.

    Args:
        images: (N, C, H, W).
        rng: decides the shift.
        pixels: the largest shift.
    """
    high, wide = images.shape[-2:]
    down, right = rng.integers(0, 2 * pixels + 1, 2)
    padded = np.pad(images, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    return np.ascontiguousarray(padded[:, :, down : down + high, right : right + wide])


def random_affine(
    images: Array, rng: np.random.Generator, degrees: float, pixels: float, scale: float
) -> Array:
    """Rotate, shift and scale every image on its own, with bilinear interpolation.

    Args:
        images: (N, C, H, W), float32.
        rng: decides the changes.
        degrees: the largest rotation, either way.
        pixels: the largest shift along each axis.
        scale: the largest relative change of size.
    """
    count, _, high, wide = images.shape
    angle = np.deg2rad(rng.uniform(-degrees, degrees, count))
    size = rng.uniform(1 - scale, 1 + scale, count)
    down, right = rng.uniform(-pixels, pixels, (2, count, 1, 1))
    cos, sin = (np.cos(angle) / size)[:, None, None], (np.sin(angle) / size)[:, None, None]

    # Where each output pixel comes from, in an image with a border of one zero.
    y, x = np.mgrid[:high, :wide] - np.array([(high - 1) / 2, (wide - 1) / 2])[:, None, None]
    from_y = np.clip(cos * y + sin * x + (high - 1) / 2 + down + 1, 0, high + 0.999)
    from_x = np.clip(cos * x - sin * y + (wide - 1) / 2 + right + 1, 0, wide + 0.999)
    top, left = from_y.astype(np.intp), from_x.astype(np.intp)
    below = (from_y - top).astype(images.dtype)[..., None]
    beside = (from_x - left).astype(images.dtype)[..., None]

    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    each = np.arange(count)[:, None, None]

    def at(row: Array, column: Array) -> Array:
        return padded[each, :, row, column]  # (N, H, W, C)

    upper = (1 - beside) * at(top, left) + beside * at(top, left + 1)
    lower = (1 - beside) * at(top + 1, left) + beside * at(top + 1, left + 1)
    moved = (1 - below) * upper + below * lower
    return np.ascontiguousarray(moved.transpose(0, 3, 1, 2))
