"""History: what a Trainer measured, epoch by epoch."""

from __future__ import annotations

import math

__all__ = ["History"]


class History:
    """One row per epoch; `history["val_accuracy"]` is a column.

    Rows hold "epoch", "loss", the metrics, the same with "val_" before them, "lr", "seconds" (of
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

    def __repr__(self) -> str:
        """Show size and latest row."""
        return f"History({len(self.rows)} epochs, last: {self.rows[-1] if self.rows else None})"
