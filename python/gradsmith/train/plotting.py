"""Figures that need no display; matplotlib is imported when the first one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure", "spread"]


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
