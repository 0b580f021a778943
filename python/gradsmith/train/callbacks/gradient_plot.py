"""The picture of a GradientFlow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from gradsmith.train.plotting import new_figure, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .gradient_flow import GradientRecord

__all__ = ["draw"]

_MOST_LABELS = 12


def draw(records: list[GradientRecord], path: str | os.PathLike[str] | None) -> Figure:
    """Draw what `GradientFlow.plot` promises."""
    names = list(dict.fromkeys(name for record in records for name in record.layers))
    timed = [record for record in records if record.steps]
    figure = new_figure(13 if timed else 7, 5)
    axes: Any = figure.subplots(1, 2 if timed else 1, squeeze=False)[0]
    at = [record.step for record in records]
    for name, colour in zip(names, spread(len(names)), strict=True):
        norms = [record.layers.get(name, np.nan) for record in records]
        axes[0].plot(at, _drawable(norms), color=colour, label=name or "(model)", marker=".")
    axes[0].set(title="gradient of each layer", xlabel="step", ylabel="norm", yscale="log")
    if len(names) <= _MOST_LABELS:
        axes[0].legend(fontsize="small")
    if timed:
        for key, colour in zip(timed[-1].steps, spread(len(timed[-1].steps)), strict=True):
            for record, style in ((timed[0], ":"), (timed[-1], "-")):
                norms = record.steps.get(key, [])
                label = f"{key}, step {record.step}"
                axes[1].plot(_drawable(norms), style, color=colour, label=label, marker=".")
        axes[1].set(title="gradient of each hidden state", xlabel="time step", yscale="log")
        axes[1].legend(fontsize="small")
    if path is not None:
        figure.savefig(os.fspath(path), dpi=120)
    return figure


def _drawable(norms: list[float]) -> np.ndarray[Any, Any]:
    """Return the norms with gaps where a logarithmic axis has no place for them."""
    values = np.asarray(norms, dtype=np.float64)
    return np.where(values > 0, values, np.nan)
