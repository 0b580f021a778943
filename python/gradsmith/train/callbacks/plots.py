"""HistoryPlot: the learning curves as a picture that grows with training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from .base import Callback, Logs

if TYPE_CHECKING:
    from gradsmith.train.loop import Loop

__all__ = ["HistoryPlot"]


class HistoryPlot(Callback):
    """Draws `trainer.history` into one file after every epoch, or every so many.

    Args:
        path: the picture.
        every: draw after every so many epochs, and after the last.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the text says how to install it.
    """

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        """Check and store the settings."""
        if every < 1:
            raise ValueError(f"HistoryPlot: every must be at least 1, got {every}")
        self.path = Path(path)
        self.every = every

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """Draw if it is time."""
        if trainer.epoch % self.every == 0 or trainer.epoch == trainer.epochs:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            trainer.history.plot(self.path)
