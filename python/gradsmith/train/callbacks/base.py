"""Callback: code that a Trainer or GANTrainer calls while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradsmith.train.loop import Loop

__all__ = ["Callback", "Logs"]

Logs = Mapping[str, float]


class Callback:
    """Base class; every method may be left as it is.

    `runs_first` callbacks run before the others, which see what those leave behind; `runs_last`
    callbacks run after them, so that what they save is complete.
    """

    runs_first: bool = False
    runs_last: bool = False

    def on_fit_start(self, trainer: Loop) -> None:
        """Training begins or resumes."""

    def on_epoch_start(self, trainer: Loop) -> None:
        """An epoch begins."""

    def on_gradients(self, trainer: Loop) -> None:
        """The gradients of a step are complete; clipping and the optimizer's step follow."""

    def on_step_end(self, trainer: Loop) -> None:
        """The optimizer has changed the parameters."""

    def on_batch_end(self, trainer: Loop, logs: Logs) -> None:
        """A training batch is done; `logs` holds the running means of this epoch."""

    def on_validation_start(self, trainer: Loop) -> None:
        """The training batches of an epoch are done; validation, if there is any, follows."""

    def on_validation_end(self, trainer: Loop) -> None:
        """Validation is over; `on_epoch_end` follows."""

    def on_epoch_end(self, trainer: Loop, logs: Logs) -> None:
        """An epoch, validation included, is done; `logs` is its row of the history."""

    def on_interrupt(self, trainer: Loop) -> None:
        """Ctrl-C was pressed; `on_fit_end` follows, then KeyboardInterrupt is passed on."""

    def on_fit_end(self, trainer: Loop) -> None:
        """Training is over, however it ended."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
