"""GradientFlow: vanishing and exploding gradients, made visible per layer and per time step."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradsmith._checks import positive
from gradsmith.nn import Module

from .base import Callback
from .taps import Taps, norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gradsmith.train.loop import Loop

__all__ = ["Finding", "GradientFlow", "GradientFlowWarning", "GradientRecord"]

_REMEDIES = {
    ("vanishing", "layer"): (
        "use ReLU or a relative instead of sigmoid or tanh, He's or Xavier's initial values, "
        "normalisation layers or shortcuts"
    ),
    ("vanishing", "time"): (
        "use an LSTM or GRU; start recurrent weights orthogonal; shorten the distance between "
        "cause and effect"
    ),
    ("vanishing", "time of an LSTM"): (
        "bias the forget gates towards remembering (1 or more; Gers, Schmidhuber and Cummins, "
        "2000); start recurrent weights orthogonal; shorten the distance between cause and effect"
    ),
    ("exploding", "layer"): "clip the gradient's norm, lower the learning rate, normalise",
    ("exploding", "time"): (
        "clip the gradient's norm (clip_grad_norm=1.0 is a start), lower the learning rate, start "
        "recurrent weights orthogonal"
    ),
}


class GradientFlowWarning(UserWarning):
    """A gradient vanishes or explodes."""


class Finding(NamedTuple):
    """One thing that is wrong: what ("vanishing", "exploding"), along what, where, how much."""

    kind: str
    along: str  # "layer" or "time"
    where: str
    value: float
    text: str


class GradientRecord(NamedTuple):
    """What one step measured; the values are Euclidean norms of gradients."""

    step: int
    layers: dict[str, float]  # of the layer's own parameters, jointly
    outputs: dict[str, float]  # of the layer's output
    steps: dict[str, list[float]]  # of a recurrent state, per time step


class GradientFlow(Callback):
    """Records gradient norms per layer and per time step, draws them, and warns with a remedy.

    Along time it measures the derivative of the loss with respect to the hidden state of every
    step (and an LSTM's cell state), whose decay is what keeps a plain recurrent network from
    learning long dependencies (Hochreiter, 1991; Bengio, Simard and Frasconi, 1994; Hochreiter and
    Schmidhuber, 1997), and whose growth calls for clipping (Pascanu, Mikolov and Bengio, 2013).
    Where every step has a loss of its own, that loss adds to the step's gradient and hides the
    decay; a loss at the last step alone shows it bare.

    Args:
        every: record one step of so many. Recurrent layers run step by step in those, slower and
            with results that may differ from the fused ones by rounding.
        vanishing: a gradient smaller than this share of the largest (of all layers, or of all
            steps of a sequence) vanishes.
        exploding: a norm larger than this, or one that is not finite, explodes; so does a
            gradient that grows by this factor from the last step to the first.
        patience: records in a row that must show the same before a warning.
        warn: issue a `GradientFlowWarning`, once for each kind, direction and place.

    Example:
        >>> flow = gs.train.GradientFlow(every=20)
        >>> trainer = gs.Trainer(model, loss_fn, optimizer, callbacks=[flow])
        >>> history = trainer.fit(train, epochs=2)
        >>> flow.plot("gradients.png")

        In a loop of one's own:

        >>> with flow.watch(model):
        ...     for x, y in loader:
        ...         optimizer.zero_grad()
        ...         loss_fn(model(x), y).backward()
        ...         flow.record()
        ...         optimizer.step()
    """

    def __init__(
        self,
        every: int = 1,
        vanishing: float = 1e-4,
        exploding: float = 1e3,
        patience: int = 3,
        warn: bool = True,
    ) -> None:
        """Check and store the settings."""
        for name, count in (("every", every), ("patience", patience)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(f"GradientFlow: {name} must be a positive int, got {count!r}")
        self.every = every
        self.vanishing = positive("GradientFlow", "vanishing", vanishing)
        self.exploding = positive("GradientFlow", "exploding", exploding)
        self.patience = patience
        self.warn = warn
        self.records: list[GradientRecord] = []
        self._step = 0
        self._model: Module | None = None
        self._taps = Taps()
        self._attached = False
        self._seen: dict[tuple[str, str, str], int] = {}  # findings, and in how many records
        self._warned: set[tuple[str, str, str]] = set()

    # -- recording -------------------------------------------------------------------------------

    @contextmanager
    def watch(self, model: Module) -> Iterator[GradientFlow]:
        """Listen to `model` inside the block; call `record()` after every backward pass."""
        self._open(model)
        try:
            yield self
        finally:
            self._close()

    def record(self) -> None:
        """Note the gradients of the backward pass that has just run, if it is this step's turn.

        Raises:
            RuntimeError: no model is watched.
        """
        if self._model is None:
            raise RuntimeError("GradientFlow: record() is for the inside of `with flow.watch(...)`")
        if self._attached:
            layers = {}
            for name, module in self._model.named_modules():
                grads = [p.grad for p in module.parameters(recurse=False) if p.grad is not None]
                if grads:
                    layers[name] = math.hypot(*map(norm, grads))
            steps = {key: list(norms) for key, norms in self._taps.steps.items()}
            outputs = {
                name: self._taps.outputs[name] for name in layers if name in self._taps.outputs
            }
            self.records.append(GradientRecord(self._step, layers, outputs, steps))
            self._taps.clear()
            self._judge()
        self._step += 1
        self._arm()

    def _open(self, model: Module) -> None:
        self._model = model
        self._arm()

    def _close(self) -> None:
        self._taps.detach()
        self._taps.clear()
        self._model, self._attached = None, False

    def _arm(self) -> None:
        """Attach the taps for a step that is recorded, and take them off for the others."""
        wanted = self._step % self.every == 0
        if wanted and not self._attached:
            assert self._model is not None
            self._taps.attach(self._model)
        elif self._attached and not wanted:
            self._taps.detach()
            self._taps.clear()
        self._attached = wanted

    def on_fit_start(self, trainer: Loop) -> None:
        """Listen to the trainer's model."""
        self._open(trainer.model)

    def on_gradients(self, trainer: Loop) -> None:
        """Record."""
        self.record()

    def on_fit_end(self, trainer: Loop) -> None:
        """Stop listening."""
        self._close()

    # -- judging ---------------------------------------------------------------------------------

    def diagnose(self) -> list[Finding]:
        """Return what is wrong in the latest record; an empty list if nothing is."""
        if not self.records:
            return []
        latest = self.records[-1]
        found = [self._layers_finding(latest.layers)]
        found += [self._time_finding(key, norms) for key, norms in latest.steps.items()]
        return [finding for finding in found if finding is not None]

    def _finding(self, kind: str, along: str, where: str, value: float, what: str) -> Finding:
        case = along
        if (kind, along) == ("vanishing", "time") and self._of_lstm(where):
            case = "time of an LSTM"
        return Finding(
            kind, along, where, value, f"{kind} gradient: {what}; {_REMEDIES[kind, case]}"
        )

    def _of_lstm(self, key: str) -> bool:
        """Say whether a state is an LSTM's: there is a cell state of the same name beside it."""
        prefix, _, state = key.rpartition(".")
        return f"{prefix}.c{state[1:]}".lstrip(".") in self.records[-1].steps

    def _layers_finding(self, layers: Mapping[str, float]) -> Finding | None:
        for name, value in layers.items():
            if not value <= self.exploding:  # NaN too
                what = f"its norm in layer {name!r} is {value:.2g}"
                return self._finding("exploding", "layer", name, value, what)
        if not layers or not (largest := max(layers.values())):
            return None
        name = min(layers, key=layers.__getitem__)
        share = layers[name] / largest
        if share >= self.vanishing:
            return None
        what = f"in layer {name!r} it is {share:.1g} of the largest layer's"
        return self._finding("vanishing", "layer", name, share, what)

    def _time_finding(self, key: str, norms: list[float]) -> Finding | None:
        along = _from_first(key, norms)
        peak, first = max(along), along[0]
        if not all(map(math.isfinite, along)) or peak > self.exploding:
            worst = max(along, key=lambda value: value if math.isfinite(value) else math.inf)
            what = f"its norm in a step of {key} is {worst:.2g}"
            return self._finding("exploding", "time", key, worst, what)
        last = next((value for value in reversed(along) if value), 0.0)
        if not last:
            return None
        if first > self.exploding * last:
            what = f"from the last step of {key} to the first it grows {first / last:.2g} times"
            return self._finding("exploding", "time", key, first / last, what)
        if first < self.vanishing * peak:
            share = first / peak
            what = f"at the first of {len(along)} steps of {key} {share:.1g} of it is left"
            return self._finding("vanishing", "time", key, share, what)
        return None

    def _judge(self) -> None:
        found = {(f.kind, f.along, f.where): f.text for f in self.diagnose()}
        self._seen = {key: self._seen.get(key, 0) + 1 for key in found}
        for key, text in found.items():
            if self._seen[key] >= self.patience and key not in self._warned:
                self._warned.add(key)
                if self.warn:
                    warnings.warn(text, GradientFlowWarning, stacklevel=3)

    def decay(self) -> dict[str, float]:
        """Return the factor by which each state's gradient changes per step back in time.

        It is a least-squares fit to the logarithms of the latest record's norms; NaN where fewer
        than two steps have a gradient. Below 1 the gradient vanishes, above 1 it explodes.
        """
        factors = {}
        for key, norms in (self.records[-1].steps if self.records else {}).items():
            along = np.asarray(_from_first(key, norms))
            reached = np.flatnonzero((along > 0) & np.isfinite(along))
            factors[key] = math.nan
            if reached.size > 1:
                factors[key] = float(np.exp(-np.polyfit(reached, np.log(along[reached]), 1)[0]))
        return factors

    # -- drawing ---------------------------------------------------------------------------------

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the norms per layer over training, and per time step at first and last.

        Args:
            path: where to save the picture; it is only returned unless given.

        Raises:
            ModuleNotFoundError: matplotlib is not installed; the text says how to install it.
            ValueError: nothing has been recorded.
        """
        from .gradient_plot import draw

        if not self.records:
            raise ValueError("GradientFlow: nothing has been recorded")
        return draw(self.records, path)

    # -- state -----------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return records and counts."""
        return {
            "step": self._step,
            "records": [tuple(record) for record in self.records],
            "seen": [(*key, count) for key, count in self._seen.items()],
            "warned": sorted(self._warned),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore records and counts."""
        self._step = state_dict["step"]
        self.records = [GradientRecord(*record) for record in state_dict["records"]]
        self._seen = {(kind, along, at): count for kind, along, at, count in state_dict["seen"]}
        self._warned = {(kind, along, at) for kind, along, at in state_dict["warned"]}


def _from_first(key: str, norms: list[float]) -> list[float]:
    """Order the steps as they were computed; a backward direction's first step is the last."""
    return norms[::-1] if key.endswith("_reverse") else norms
