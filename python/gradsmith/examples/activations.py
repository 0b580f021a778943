"""Activation functions in networks of 2 to 20 layers: which train, and what their gradients say.

The same MLP, MNIST, Adam and rate; only the function between the layers differs, and with it the
deviation of the initial weights. Sigmoid gets Xavier's (Glorot and Bengio, 2010), the others what
He's argument gives (He et al., 2015): a layer's scores have variance 1 where the weights' variance
is 1 / (fan_in E[f(z)^2]), z normal, which is 2 / fan_in for ReLU.

On its way back the gradient is multiplied by the function's derivative in every layer. Sigmoid's is
at most 1/4, so that in a deep network nothing is left for the first layers (Hochreiter, 1991), as
`gs.train.GradientFlow` shows in the very first step. The differences between images shrink in the
same way on their way forward.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import gradsmith as gs
from gradsmith import Tensor, nn
from gradsmith.data import TensorDataset
from gradsmith.demo.harness import Options, Report, main
from gradsmith.examples._vision import Parts, accuracy, draw_curves, load_parts
from gradsmith.train import GradientFlow, History
from gradsmith.train.plotting import new_figure

WIDTH = 64
DEPTHS = (2, 5, 10, 20)
IMAGES = 20_000  # of those to learn from; more would change the figures, not the picture
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
    "ELU": nn.ELU,
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
}
# What is to be seen: at least this accuracy, or (False) no more than a guess's.
AIMS = {("ReLU", 20): (93.0, True), ("sigmoid", 20): (12.0, False)}


class Run(NamedTuple):
    """One trained network."""

    model: nn.Sequential
    history: History
    gradients: list[float]  # of the first step: the norm in each layer's parameters
    accuracy: float  # on the test images, in percent


def gain(activation: nn.Module) -> float:
    """Return the factor 1 / sqrt(E[f(z)^2]) by which weights keep the scores' variance at 1."""
    z = gs.linspace(-8, 8, 4001, dtype=gs.float64)
    density = (-0.5 * z * z).exp()
    mean_square = (activation(z) ** 2 * density).sum() / density.sum()
    return float(mean_square.item()) ** -0.5


def initialize(weight: Tensor, name: str) -> None:
    """Draw initial weights as they are usual before the activation `name`."""
    if name == "sigmoid":
        nn.init.xavier_normal_(weight)
    else:
        nn.init.normal_(weight, std=gain(ACTIVATIONS[name]()) / weight.shape[1] ** 0.5)


def deep_mlp(name: str, depth: int) -> nn.Sequential:
    """Return `depth` linear layers with the activation `name` between them."""
    widths = [28 * 28, *[WIDTH] * (depth - 1)]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in in widths[:-1]:
        layers += [nn.Linear(fan_in, WIDTH), ACTIVATIONS[name]()]
    model = nn.Sequential(*layers, nn.Linear(widths[-1], 10))
    for module in model:
        if isinstance(module, nn.Linear):
            initialize(module.weight, name)
            nn.init.zeros_(module.bias)
    return model


def train(name: str, depth: int, parts: Parts, epochs: int, seed: int) -> Run:
    """Train one network, and note the gradients of its first step and of every thousandth."""
    gs.manual_seed(seed)
    model = deep_mlp(name, depth)
    flow = GradientFlow(every=1000, warn=False)
    optimizer = gs.optim.Adam(model.parameters(), lr=1e-3)
    trainer = gs.Trainer(model, nn.CrossEntropyLoss(), optimizer, callbacks=[flow], progress=False)
    images = TensorDataset(*(tensor[:IMAGES] for tensor in parts.train.tensors))
    history = trainer.fit(images, parts.val, epochs=epochs, batch_size=128, seed=seed)
    return Run(model, history, list(flow.records[0].layers.values()), accuracy(model, parts.test))


def run(options: Options) -> None:
    """Train every activation in every depth."""
    report = Report("activations", options)
    parts = load_parts(options)
    epochs = 1 if options.quick else 6
    seeds = options.seed_range(3)
    runs: dict[tuple[str, int], list[Run]] = {}
    for name in ACTIVATIONS:
        for depth in DEPTHS:
            start = time.perf_counter()
            runs[name, depth] = [train(name, depth, parts, epochs, seed) for seed in seeds]
            seconds = (time.perf_counter() - start) / len(seeds)
            values = [run.accuracy for run in runs[name, depth]]
            aim, higher = AIMS.get((name, depth), (None, True))
            what = f"{name}, {depth} layers"
            report.add(what, "test accuracy, %", values, target=aim, higher=higher, seconds=seconds)
            print(f"{what:<20} {np.mean(values):6.2f} %  {seconds:5.1f} s", flush=True)
    deepest = {name: runs[name, DEPTHS[-1]] for name in ACTIVATIONS}
    for name, some in deepest.items():
        ratios = [math.log10(run.gradients[0] / run.gradients[-1]) for run in some]
        report.add(f"{name}, {DEPTHS[-1]} layers", "gradient of first / last layer, log10", ratios)

    folder = report.folder()
    best = max((some[0] for some in runs.values()), key=lambda r: r.history.last["val_accuracy"])
    gs.save(best.model.state_dict(), folder / "activations.safetensors")
    draw(folder / "activations.png", runs, {name: some[0] for name, some in deepest.items()})
    report.finish()


def draw(path: Path, runs: dict[tuple[str, int], list[Run]], deepest: dict[str, Run]) -> None:
    """Draw accuracy per activation and depth, and of the deepest learning curves and gradients."""
    figure = new_figure(14, 4.4)
    table, curves, gradients = figure.subplots(1, 3)
    means = np.array(
        [[np.mean([r.accuracy for r in runs[name, d]]) for d in DEPTHS] for name in ACTIVATIONS]
    )
    table.imshow(means, cmap="RdYlGn", vmin=0, vmax=100, aspect="auto")
    for (row, column), value in np.ndenumerate(means):
        table.text(column, row, f"{value:.1f}", ha="center", va="center")
    table.set(title="test accuracy, %", xlabel="layers")
    table.set_xticks(range(len(DEPTHS)), DEPTHS)
    table.set_yticks(range(len(ACTIVATIONS)), list(ACTIVATIONS))
    draw_curves(curves, {name: each.history for name, each in deepest.items()})
    curves.set_title(f"{DEPTHS[-1]} layers: error on validation images, %")
    for name, each in deepest.items():
        layers = range(1, len(each.gradients) + 1)
        gradients.plot(layers, each.gradients, marker=".", label=name)
    title = f"{DEPTHS[-1]} layers: gradient norms, first step"
    gradients.set(title=title, xlabel="layer", yscale="log")
    gradients.grid(alpha=0.3)
    gradients.legend(fontsize="small")
    figure.savefig(path, dpi=75)


if __name__ == "__main__":
    raise SystemExit(main("activations"))
