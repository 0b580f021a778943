"""Callbacks: code that a Trainer calls while it trains."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gradsmith._core import Tensor

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["CSVLogger", "Callback", "Checkpoint", "EarlyStopping"]

Logs = Mapping[str, float]


class Callback:
    """Base class; every method may be left as it is.

    `runs_last` callbacks run after the others, so that what they save is complete.
    """

    runs_last: bool = False

    def on_fit_start(self, trainer: Trainer) -> None:
        """Training begins or resumes."""

    def on_epoch_start(self, trainer: Trainer) -> None:
        """An epoch begins."""

    def on_batch_end(self, trainer: Trainer, logs: Logs) -> None:
        """A training batch is done; `logs` holds the running means of this epoch."""

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """An epoch, validation included, is done; `logs` is its row of the history."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """Ctrl-C was pressed; `on_fit_end` follows, then KeyboardInterrupt is passed on."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """Training is over, however it ended."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""


# What mode="auto" can tell from a name.
_LOWER = ("loss", "mae", "mse", "rmse", "error", "perplexity")
_HIGHER = r"(accuracy|acc|f1|precision|recall|auc|iou|confusion|top\d+)$"


class _Monitor(Callback):
    """Watches one value of the logs for improvement."""

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
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
        self.min_delta = abs(min_delta)
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
        if every < 1:
            raise ValueError(f"Checkpoint: every must be at least 1, got {every}")
        self.path = os.fspath(path)
        self.save_best_only = save_best_only
        self.every = every
        self.last_saved: str | None = None

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
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
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
    ) -> None:
        """Check and store the settings."""
        super().__init__(monitor, mode, min_delta)
        if patience < 0:
            raise ValueError(f"EarlyStopping: patience must not be negative, got {patience}")
        self.patience = patience
        self.restore_best = restore_best
        self.bad_epochs = 0
        self.best_epoch = 0
        self._best_weights: dict[str, Tensor] | None = None

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Count epochs without improvement."""
        if self._improved(logs):
            self.bad_epochs = 0
            self.best_epoch = trainer.epoch
            if self.restore_best:
                state = trainer.model.state_dict()
                self._best_weights = {name: tensor.clone() for name, tensor in state.items()}
            return
        self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            trainer.should_stop = True

    def on_fit_end(self, trainer: Trainer) -> None:
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


class CSVLogger(Callback):
    """Appends one line per epoch to a CSV file; a resumed run continues the same file.

    Lines of epochs that are trained again are dropped first.

    Args:
        path: the file.
        append: keep lines from an earlier run, even when this run is not resumed.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        """Store the settings."""
        self.path = Path(path)
        self.append = append
        self._stream: TextIO | None = None
        self._columns: list[str] | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Open the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._columns = None

        def before(epoch: str) -> bool:
            """Whether a line stays; one that a crash has torn does not."""
            try:
                return float(epoch) <= trainer.epoch
            except ValueError:
                return False

        kept: list[list[str]] = []
        if (self.append or trainer.epoch > 0) and self.path.exists():
            with self.path.open(newline="") as old:
                kept = [row for row in csv.reader(old) if row]
        if kept:
            self._columns = kept[0]
            if not self.append and "epoch" in kept[0]:
                at = kept[0].index("epoch")
                kept[1:] = [row for row in kept[1:] if len(row) == len(kept[0]) and before(row[at])]
        self._stream = self.path.open("w", newline="")
        csv.writer(self._stream).writerows(kept)

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Write and flush one line."""
        assert self._stream is not None
        line = io.StringIO()
        if self._columns is None:
            self._columns = list(logs)
            csv.writer(line).writerow(self._columns)
        csv.writer(line).writerow([logs.get(column, "") for column in self._columns])
        self._stream.write(line.getvalue())
        self._stream.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
