"""The examples: one module each, what `gradsmith demo NAME` runs and the documentation explains.

A module has `run(options)`, with the `Options` of `gradsmith.demo.harness`; it trains, prints, and
leaves a saved model, pictures and `results.json` in `options.out / NAME`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["EXAMPLES", "Example"]


@dataclass(frozen=True)
class Example:
    """What `gradsmith demo --list` says of an example.

    Args:
        topic: what it belongs to.
        title: what it shows.
        data: the files it reads from `--data`; empty: it needs none.
    """

    topic: str
    title: str
    data: str = ""


_MNIST, _TABLES = "the four MNIST IDX files", "tables (CSV)"

EXAMPLES = {
    "mlp": Example("networks and training", "an MLP from raw tensors, then from layers", _MNIST),
    "activations": Example("activation functions", "what each does to a deep network", _MNIST),
    "cnn": Example("convolutional networks", "LeNet-5 and a small ResNet", _MNIST),
    "memory": Example("recurrent networks", "how far back RNN and LSTM can remember"),
    "charlm": Example("LSTM", "a character model that writes", "tinyshakespeare.txt"),
    "forecast": Example("LSTM", "sunspots and air pollution", "time series (CSV)"),
    "ring": Example("GANs", "eight Gaussians on a ring"),
    "gan": Example("GANs", "DCGAN and WGAN-GP draw digits", _MNIST),
    "transfer": Example("transfer learning", "few labels, learned features", "MNIST, a ResNet-20"),
    "diagnosis": Example("applications", "breast cancer and mammography", _TABLES),
    "fraud": Example("applications", "forged banknotes and bad credit", _TABLES),
    "finance": Example("applications", "stock prices against a random walk", "prices (CSV)"),
    "sentiment": Example("applications", "film reviews, by CNN and LSTM", "rt-polarity"),
    "seq2seq": Example("applications", "dates and numbers translated, letter by letter"),
}


def load(name: str) -> Callable[[Any], None]:
    """Import an example and return its `run`."""
    run: Callable[[Any], None] = importlib.import_module(f"gradsmith.examples.{name}").run
    return run
