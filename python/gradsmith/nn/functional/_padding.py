"""pad: constant, reflected, replicated and circular borders."""

from __future__ import annotations

from collections.abc import Sequence

from gradsmith import _core
from gradsmith._core import Tensor

__all__ = ["pad"]


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Widen the last axes; negative widths crop.

    Args:
        input: any shape.
        pad: (before, after) of the last axis, then of the one before it, and so on.
        mode: "constant", "reflect" (without the edge), "replicate" or "circular".
        value: of a constant border; 0 unless given.

    Raises:
        ValueError: widths do not come in pairs or are too many, or the mode is another; reflection
            needs widths below the axis's size, circular ones at most it.
    """
    widths = tuple(pad)
    if mode == "constant" or not any(width < 0 for width in widths):
        return _core.pad(input, widths, mode, 0.0 if value is None else value)
    # A reflected or replicated border is made from all of the axis, a circular one from what stays.
    grow = tuple(max(width, 0) for width in widths)
    crop = tuple(min(width, 0) for width in widths)
    if mode == "circular":
        return _core.pad(_core.pad(input, crop), grow, mode)
    return _core.pad(_core.pad(input, grow, mode), crop)
