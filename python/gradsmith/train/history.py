"""History: what a Trainer measured, epoch by epoch."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from .plotting import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["History"]


class History:
    """One row per epoch; `history["val_accuracy"]` is a column.

    Rows hold "epoch", "loss", the metrics, the same with `val_` before them, "lr", "seconds" (of
    training alone) and "samples_per_second".
    """

    def __init__(self) -> None:
        """Start empty."""
        self.rows: list[dict[str, float]] = []

    def __len__(self) -> int:
        """Count the epochs."""
        return len(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        """Return one value of every epoch, NaN where an epoch has none (no validation, say).

        Raises:
            KeyError: no epoch has it; the message names those that exist.
        """
        known = {key: None for row in self.rows for key in row}
        if self.rows and name not in known:
            raise KeyError(f"history has no {name!r}; it has {', '.join(known)}")
        return [row.get(name, math.nan) for row in self.rows]

    @property
    def last(self) -> dict[str, float]:
        """The latest epoch's row."""
        return self.rows[-1]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw every value over the epochs, training and validation together.

        Args:
            path: where to save the picture; it is only returned unless given.

        Raises:
            ModuleNotFoundError: matplotlib is not installed; the text says how to install it.
            ValueError: there are no epochs.
        """
        if not self.rows:
            raise ValueError("plot: there are no epochs")
        hidden = ("epoch", "seconds", "samples_per_second")
        names = dict.fromkeys(n.removeprefix("val_") for row in self.rows for n in row)
        shown = [name for name in names if name not in hidden]
        figure = new_figure(5 * len(shown), 4)
        for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            for label, key in (("training", name), ("validation", f"val_{name}")):
                if any(key in row for row in self.rows):
                    axes.plot(self["epoch"], self[key], label=label, marker=".")
            axes.set(title=name, xlabel="epoch")
            axes.legend()
        if path is not None:
            figure.savefig(os.fspath(path), dpi=120)
        return figure

    def __repr__(self) -> str:
        """Show size and latest row."""
        return f"History({len(self.rows)} epochs, last: {self.rows[-1] if self.rows else None})"
