"""Loop: what Trainer and GANTrainer share: epochs, callbacks, data, checkpoints, exact resume."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith.data import DataLoader, TensorDataset
from gradsmith.nn import Module

from .callbacks import Callback
from .history import History
from .progress import Progress

__all__ = ["Loop"]

_FORMAT = 1


class Loop:
    """Runs epochs, calls callbacks, and saves and restores everything that decides the rest.

    Subclasses train one epoch in `_epoch` and add their optimizers to the state in `_parts` and
    `_load_parts`.
    """

    def __init__(self, model: Module, callbacks: Sequence[Callback], progress: bool | str) -> None:
        """Store the model and put the callbacks in order."""
        self.model = model
        if not isinstance(callbacks, (list, tuple)) or not all(
            isinstance(callback, Callback) for callback in callbacks
        ):
            raise TypeError(
                f"{type(self).__name__}: callbacks must be a list of Callbacks, got {callbacks!r}"
            )
        self.callbacks = list(callbacks)
        if progress:
            self.callbacks.append(Progress(progress if isinstance(progress, str) else "auto"))
        self.callbacks.sort(key=lambda each: each.runs_last - each.runs_first)  # stable

        self.history = History()
        self.epoch = 0  # epochs completed
        self.epochs = 0  # epochs wanted
        self.batch = 0  # batches completed in this epoch
        self.batches = 0  # batches per epoch
        self.should_stop = False
        self.averaged: dict[str, Tensor] | None = None  # weights that validation takes instead
        self._loaders: dict[str, DataLoader] = {}
        self._loader_states: dict[str, Any] = {}

    def validated_weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights that validation measures: an average's where one is kept."""
        weights = self.model.state_dict() if self.averaged is None else self.averaged
        return {name: tensor.clone() for name, tensor in weights.items()}

    def _epoch(self) -> dict[str, float]:
        """Train one epoch, count it in `self.epoch`, and return its row of the history."""
        raise NotImplementedError

    def _parts(self) -> dict[str, Any]:
        """Return what the state holds besides what every loop has."""
        raise NotImplementedError

    def _load_parts(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `_parts` returned."""
        raise NotImplementedError

    def _run(
        self, loaders: dict[str, DataLoader], epochs: int, resume: str | os.PathLike[str] | None
    ) -> History:
        """Train until `epochs` epochs are complete; the contract is that of `Trainer.fit`."""
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            raise ValueError(f"fit: epochs must be a whole number of at least 0, got {epochs!r}")
        self._loaders = loaders
        self.batches = len(loaders["train"])
        if not self.batches:
            raise ValueError("fit: train has no batches")
        self.should_stop = False  # an earlier fit may have been stopped
        if resume is not None:
            self.load_checkpoint(resume)
        for name, state in self._loader_states.items():
            if name in self._loaders:
                self._loaders[name].load_state_dict(state)
        self._loader_states = {}
        self.epochs = epochs

        try:
            self._call("on_fit_start")
            while self.epoch < epochs and not self.should_stop:
                self._call("on_epoch_start")
                logs = self._epoch()
                self.history.rows.append(logs)
                self._call("on_epoch_end", logs)
        except KeyboardInterrupt:
            self._call("on_interrupt")
            raise
        finally:
            self._call("on_fit_end")
        return self.history

    # -- checkpoints -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything that decides how training goes on."""
        return {
            "format": _FORMAT,
            "epoch": self.epoch,
            "should_stop": self.should_stop,
            "model": self.model.state_dict(),
            **self._parts(),
            "rng": gs.get_rng_state(),
            "loaders": {
                **{name: loader.state_dict() for name, loader in self._loaders.items()},
                **self._loader_states,  # restored, and not yet in use
            },
            "history": self.history.rows,
            "callbacks": {
                name: state
                for name, callback in self._named_callbacks()
                if (state := callback.state_dict())
            },
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned, the global random generator included.

        Raises:
            ValueError: the state is of another format, or of another model, optimizer or schedule.
        """
        owner = type(self).__name__
        if not isinstance(state_dict, Mapping) or "format" not in state_dict:
            raise ValueError(f"load_checkpoint: this is no checkpoint of a {owner}")
        if (found := state_dict["format"]) != _FORMAT:
            raise ValueError(f"load_checkpoint: format must be {_FORMAT}, got {found!r}")
        # Parts that fit must not be loaded where another one does not.
        before, loader_states = copy.deepcopy(self.state_dict()), self._loader_states
        try:
            self._apply(state_dict)
        except Exception as error:
            self._apply(before)
            self._loader_states = loader_states
            if isinstance(error, (ValueError, MemoryError)):
                raise
            text = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"load_checkpoint: it does not fit: {text}") from error

    def _apply(self, state_dict: Mapping[str, Any]) -> None:
        self._load_parts(state_dict)
        self.model.load_state_dict(state_dict["model"])
        for name, callback in self._named_callbacks():
            if name in state_dict["callbacks"]:
                callback.load_state_dict(state_dict["callbacks"][name])
        self.history.rows[:] = state_dict["history"]
        self.epoch = state_dict["epoch"]
        self.should_stop = state_dict["should_stop"]
        self._loader_states = dict(state_dict["loaders"])
        gs.set_rng_state(state_dict["rng"])

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write `state_dict()` to a safetensors file, atomically."""
        gs.save(self.state_dict(), path)

    def load_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Restore a checkpoint; `fit` continues after it."""
        state = gs.load(path)
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{error} (in {path})") from error

    # -- helpers ---------------------------------------------------------------------------------

    def _call(self, event: str, *args: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *args)

    def _named_callbacks(self) -> Iterator[tuple[str, Callback]]:
        """Name callbacks by type and number among their kind, the same in every run."""
        counts: dict[str, int] = {}
        for callback in self.callbacks:
            kind = type(callback).__name__
            counts[kind] = counts.get(kind, 0) + 1
            yield f"{kind}-{counts[kind]}", callback

    def _loader(
        self, owner: str, data: Any, batch_size: int, shuffle: bool, seed: int | None
    ) -> DataLoader:
        if isinstance(data, DataLoader):
            return data
        if isinstance(data, (tuple, list)) and all(
            isinstance(item, (Tensor, np.ndarray)) for item in data
        ):
            data = TensorDataset(*data)
        if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
            raise TypeError(
                f"{owner}: data must be a DataLoader, a dataset or a pair (inputs, target), "
                f"got {type(data).__name__}"
            )
        return DataLoader(data, batch_size, shuffle=shuffle, generator=seed)
