"""Averages of weights over training: WeightAverage, and EMA, the callback that keeps one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gradsmith as gs
from gradsmith._checks import number
from gradsmith._core import Tensor
from gradsmith.nn import Module

from .base import Callback

if TYPE_CHECKING:
    from gradsmith.train.loop import Loop

__all__ = ["EMA", "WeightAverage"]


class WeightAverage:
    """An exponential moving average of a model's parameters and running statistics.

    After n updates the average keeps a share of min(decay, (1 + n) / (10 + n)) of itself, so that
    the random start is soon forgotten (Polyak and Juditsky, 1992; the warm-up is TensorFlow's).

    Args:
        model: whose weights are averaged.
        decay: the share that is kept, in [0, 1).
        warmup: whether to keep less at first.

    Example:
        >>> average = WeightAverage(model)
        >>> average.update()  # after every optimizer.step()
        >>> with average.applied():
        ...     validate(model)
    """

    def __init__(self, model: Module, decay: float = 0.999, warmup: bool = True) -> None:
        """Start from the model's weights."""
        if not 0 <= number("WeightAverage", "decay", decay) < 1:
            raise ValueError(f"WeightAverage: decay must lie in [0, 1), got {decay}")
        self.model = model
        self.decay = decay
        self.warmup = warmup
        self.updates = 0
        self.weights = _copied(model.state_dict())

    def update(self) -> None:
        """Move the average towards the model's present weights; counters are copied."""
        self.updates += 1
        ready = (1 + self.updates) / (10 + self.updates) if self.warmup else 1.0
        kept = min(self.decay, ready)
        with gs.no_grad():
            for name, now in self.model.state_dict().items():
                mean = self.weights[name]
                if now.dtype.is_floating_point:
                    mean.mul_(kept).add_(now.detach() * (1 - kept))
                else:
                    mean.copy_(now)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights inside the block, and its own back afterwards."""
        own = _copied(self.model.state_dict())
        self.model.load_state_dict(self.weights)
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates."""
        return {"updates": self.updates, "weights": self.weights}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        own, given = self.model.state_dict(), state_dict["weights"]
        wrong = own.keys() ^ given.keys()
        wrong |= {
            name for name in own.keys() & given.keys() if own[name].shape != given[name].shape
        }
        if wrong:
            raise ValueError(
                f"WeightAverage: the state does not fit the model at {', '.join(sorted(wrong))}"
            )
        self.updates = state_dict["updates"]
        self.weights = {
            name: tensor.detach().to(own[name].device).clone() for name, tensor in given.items()
        }


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in state.items()}


class EMA(Callback):
    """Averages the weights as training goes; validation, and the model in the end, use the average.

    With `apply_at_end` the model holds the average once `fit` is over. The weights that were
    trained are kept, here and in checkpoints: a later `fit` goes on from them as if the first had
    never ended, unless the model has been given other weights than the average since.

    Args:
        decay: see `WeightAverage`.
        warmup: see `WeightAverage`.
        apply_at_end: whether the model gets the averaged weights when training is over.
    """

    runs_first = True

    def __init__(
        self, decay: float = 0.999, warmup: bool = True, apply_at_end: bool = True
    ) -> None:
        """Store the settings."""
        if not 0 <= number("EMA", "decay", decay) < 1:
            raise ValueError(f"EMA: decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self.warmup = warmup
        self.apply_at_end = apply_at_end
        self.average: WeightAverage | None = None
        self._trained: dict[str, Tensor] | None = None  # while the model holds the average
        self._restored: Mapping[str, Any] | None = None
        self._applied = contextlib.ExitStack()

    def on_fit_start(self, trainer: Loop) -> None:
        """Start, or go on with, the average."""
        if self.average is None or self.average.model is not trainer.model:
            self.average = WeightAverage(trainer.model, self.decay, self.warmup)
            self._trained = None
        if self._restored is not None:
            self.average.load_state_dict(self._restored)
            self._trained = self._restored.get("trained")
            self._restored = None
        if self._trained is not None:
            own, mean = trainer.model.state_dict(), self.average.weights
            if all(gs.equal(own[name], mean[name]) for name in own):
                trainer.model.load_state_dict(self._trained)
            self._trained = None
        trainer.averaged = self.average.weights

    def on_step_end(self, trainer: Loop) -> None:
        """Take the new weights into account."""
        assert self.average is not None
        self.average.update()

    def on_validation_start(self, trainer: Loop) -> None:
        """Validate the average."""
        assert self.average is not None
        self._applied.enter_context(self.average.applied())

    def on_validation_end(self, trainer: Loop) -> None:
        """Train on with the weights themselves."""
        self._applied.close()

    def on_fit_end(self, trainer: Loop) -> None:
        """Leave the average in the model, if that is wanted."""
        self._applied.close()  # where validation was interrupted
        trainer.averaged = None
        if self.apply_at_end and self.average is not None and self.average.updates:
            self._trained = _copied(trainer.model.state_dict())
            trainer.model.load_state_dict(self.average.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, and the trained weights where the model holds it in their place."""
        if self._restored is not None:
            return dict(self._restored)
        if self.average is None:
            return {}
        trained = {} if self._trained is None else {"trained": self._trained}
        return self.average.state_dict() | trained

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the average once training starts."""
        self._restored = state_dict or None  # nothing before any fit
