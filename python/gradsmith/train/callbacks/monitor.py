"""Callbacks that watch a value for improvement: Checkpoint, EarlyStopping."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradsmith._checks import finite, integer
from gradsmith._core import Tensor

from .base import Callback, Logs

if TYPE_CHECKING:
    from gradsmith.train.loop import Loop

__all__ = ["Checkpoint", "EarlyStopping"]

# What mode="auto" can tell from a name.
_LOWER = ("loss", "mae", "mse", "rmse", "error", "perplexity")
_HIGHER = r"(accuracy|acc|f1|precision|recall|auc|r2|iou|confusion|coverage|diversity|top\d+)$"


class _Monitor(Callback):
    """Watches one value of the logs for improvement."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        own = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(f"{own}: monitor must be a str, got {type(monitor).__name__}")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"{type(self).__name__}: mode must be auto, min or max, got {mode!r}")
        if mode == "auto":
            if not (monitor.endswith(_LOWER) or re.search(_HIGHER, monitor)):
                raise ValueError(
                    f"{type(self).__name__}: whether {monitor!r} should fall or rise is not known; "
                    "set mode to min or max"
                )
            mode = "min" if monitor.endswith(_LOWER) else "max"
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(finite(own, "min_delta", min_delta))
        self.best = math.inf if mode == "min" else -math.inf

    def _improved(self, logs: Logs) -> bool:
        if self.monitor not in logs:
            raise ValueError(
                f"{type(self).__name__}: there is no {self.monitor!r} in the logs; "
                f"available: {', '.join(logs)}"
            )
        value = logs[self.monitor]
        if self.mode == "min":
            better = value < self.best - self.min_delta
        else:
            better = value > self.best + self.min_delta
        if better:
            self.best = value
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the best value so far."""
        self.best = state_dict["best"]


class Checkpoint(_Monitor):
    """Saves the whole training state, from which `fit(resume=path)` continues exactly.

    Args:
        path: the file; "{epoch}" in it becomes the epoch's number, "{val_loss:.3f}" that value.
        monitor: the value that `save_best_only` watches.
        save_best_only: save only when the monitored value has improved.
        mode: "min", "max", or "auto" to tell from the name.
        every: save after every so many epochs.
    """

    runs_last = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        every: int = 1,
    ) -> None:
        """Check and store the settings."""
        super().__init__(monitor, mode, 0.0)
        if integer("Checkpoint", "every", every) < 1:
            raise ValueError(f"Checkpoint: every must be at least 1, got {every}")
        self.path = os.fspath(path)
        self.save_best_only = save_best_only
        self.every = every
        self.last_saved: str | None = None

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """Save if it is time."""
        if self.save_best_only:
            if not self._improved(logs):
                return
        elif trainer.epoch % self.every and trainer.epoch != trainer.epochs:
            return
        try:
            path = self.path.format(**{**logs, "epoch": trainer.epoch})
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"Checkpoint: path {self.path!r} names {error}; there are {', '.join(sorted(logs))}"
            ) from None
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        trainer.save_checkpoint(path)
        self.last_saved = path


class EarlyStopping(_Monitor):
    """Ends training when a value has not improved for more than `patience` epochs.

    Args:
        monitor: the value to watch.
        patience: epochs without improvement that are tolerated.
        min_delta: how much better counts as better.
        mode: "min", "max", or "auto" to tell from the name.
        restore_best: put the best epoch's weights back at the end.
        threshold: a value so good that training ends at once.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
        threshold: float | None = None,
    ) -> None:
        """Check and store the settings."""
        super().__init__(monitor, mode, min_delta)
        if integer("EarlyStopping", "patience", patience) < 0:
            raise ValueError(f"EarlyStopping: patience must not be negative, got {patience}")
        self.patience = patience
        self.restore_best = restore_best
        self.threshold = threshold
        self.bad_epochs = 0
        self.best_epoch = 0
        self._best_weights: dict[str, Tensor] | None = None

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """Count epochs without improvement."""
        improved = self._improved(logs)
        if self._good_enough(logs[self.monitor]):
            trainer.should_stop = True
        if improved:
            self.bad_epochs = 0
            self.best_epoch = trainer.epoch
            if self.restore_best:
                self._best_weights = trainer.validated_weights()
            return
        self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            trainer.should_stop = True

    def _good_enough(self, value: float) -> bool:
        if self.threshold is None:
            return False
        return value <= self.threshold if self.mode == "min" else value >= self.threshold

    def on_fit_end(self, trainer: Loop) -> None:
        """Put the best weights back."""
        if self._best_weights is not None:
            trainer.model.load_state_dict(self._best_weights)

    def state_dict(self) -> dict[str, Any]:
        """Return counts and best weights."""
        return {
            "best": self.best,
            "bad_epochs": self.bad_epochs,
            "best_epoch": self.best_epoch,
            "best_weights": self._best_weights,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore counts and best weights."""
        self.best = state_dict["best"]
        self.bad_epochs = state_dict["bad_epochs"]
        self.best_epoch = state_dict["best_epoch"]
        self._best_weights = state_dict["best_weights"]
