"""Figures that need no display; matplotlib is imported when the first one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["image_grid", "new_figure", "spread"]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of that size in inches.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the text says how to install it.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plots need matplotlib: pip install 'gradsmith[demo]'", name="matplotlib"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def spread(count: int) -> list[Any]:
    """Return `count` colours that run from dark to bright."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.9 * i / max(count - 1, 1)) for i in range(count)]


def image_grid(
    images: np.ndarray[Any, Any], columns: int = 8, value_range: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray[Any, Any]:
    """Lay images out side by side, two pixels apart, scaled to [0, 1].

    Args:
        images: (N, C, H, W) with one or three channels.
        columns: images side by side.
        value_range: what becomes 0 and 1; values outside are cut.

    Returns:
        One image (rows * (H + 2) + 2, columns * (W + 2) + 2, C), float32.

    Raises:
        ValueError: the shape is another, or `columns` is not positive.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or columns < 1:
        raise ValueError(
            f"image_grid: images must be (N, 1 or 3, H, W) and columns positive, "
            f"got shape {images.shape}, columns {columns}"
        )
    count, channels, high, wide = images.shape
    low, top = value_range
    columns = min(columns, max(count, 1))
    rows = -(-count // columns)
    grid = np.ones((rows * (high + 2) + 2, columns * (wide + 2) + 2, channels), np.float32)
    for i, image in enumerate(np.clip((images - low) / (top - low), 0, 1)):
        y, x = (i // columns) * (high + 2) + 2, (i % columns) * (wide + 2) + 2
        grid[y : y + high, x : x + wide] = image.transpose(1, 2, 0)
    return grid
