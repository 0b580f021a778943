"""A multilayer perceptron on MNIST: from raw tensors, then from layers, with the same numbers.

A neuron weighs its inputs, adds a bias and bends the sum; a layer is a matrix of such weights, a
network layers one after the other (Rosenblatt, 1958). Backpropagation is the chain rule from the
loss back to every weight (Rumelhart, Hinton and Williams, 1986). It is written out three times:

1. by hand, formula by formula, and compared with what the tape (`loss.backward()`) gives;
2. as a training loop on tensors: matrix products, ReLU, gradient descent, no layer;
3. as `nn.Sequential`, `gs.optim.SGD` and `gs.Trainer`, which start from the same weights, see the
   same batches, and have the same losses, bit for bit.

Then the layers get what makes them generalise: dropout (Srivastava et al., 2014), digits that are
moved a little each time, and a learning rate that rises and falls. Logistic regression, the network
without a hidden layer, is the baseline.
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
import gradsmith.nn.functional as F
from gradsmith import Tensor, nn
from gradsmith.data import DataLoader, TensorDataset
from gradsmith.data.transforms import on_images, random_affine
from gradsmith.demo.harness import Options, Report, main
from gradsmith.examples._vision import (
    Parts,
    accuracy,
    draw_curves,
    draw_tiles,
    fit_seeds,
    load_parts,
)
from gradsmith.train import History
from gradsmith.train.plotting import new_figure

SIZES = (784, 512, 256, 10)
BATCH = 128
# The product with a power of two is exact. So it makes no difference that the optimizer's kernel
# rounds p - rate * gradient once, and the tensors below twice.
RATE = 1 / 8


# -- raw tensors -------------------------------------------------------------------------------


def initial_weights() -> list[Tensor]:
    """Return weight (out, in) and bias (out) of each layer in turn, by He's method."""
    params = []
    for fan_in, fan_out in itertools.pairwise(SIZES):
        params.append(gs.randn(fan_out, fan_in) * (2 / fan_in) ** 0.5)
        params.append(gs.zeros(fan_out))
    return [p.requires_grad_() for p in params]


def forward(params: list[Tensor], x: Tensor) -> list[Tensor]:
    """Return the input (N, 784), every layer's activations, and last the scores (N, 10)."""
    values = [x]
    for weight, bias in zip(params[::2], params[1::2], strict=True):
        z = values[-1] @ weight.T + bias
        values.append(z if weight is params[-2] else gs.relu(z))
    return values


def backward_by_hand(
    params: list[Tensor], x: Tensor, labels: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Return the loss and the gradient of each parameter, from the last layer to the first."""
    *inputs, scores = forward(params, x)
    # -log p(label), where p is the softmax of the scores, has the derivative p - one_hot(label).
    loss = (scores.logsumexp(1) - scores.gather(1, labels.unsqueeze(1)).squeeze(1)).mean()
    delta = (scores.softmax(1) - F.one_hot(labels, SIZES[-1])) / len(labels)
    grads: list[Tensor] = []
    for weight, entered in zip(params[-2::-2], reversed(inputs), strict=True):
        grads = [delta.T @ entered, delta.sum(0), *grads]
        delta = (delta @ weight) * (entered > 0)  # back through the weights and through ReLU
    return loss, grads


def gradient_error(params: list[Tensor], x: Tensor, labels: Tensor) -> float:
    """Return how far the tape is from the formulas, as a share of the largest gradient."""
    with gs.no_grad():
        _, by_hand = backward_by_hand(params, x, labels)
    loss = F.cross_entropy(forward(params, x)[-1], labels)
    by_tape = gs.autograd.grad(loss, params)
    pairs = zip(by_hand, by_tape, strict=True)
    return max(((hand - tape).abs().max() / hand.abs().max()).item() for hand, tape in pairs)


def train_raw(params: list[Tensor], train: TensorDataset, epochs: int, seed: int) -> list[float]:
    """Train by stochastic gradient descent; returns the loss of every batch."""
    losses = []
    loader = DataLoader(train, BATCH, shuffle=True, generator=seed)
    for _ in range(epochs):
        for images, labels in loader:
            loss = F.cross_entropy(forward(params, images.flatten(1))[-1], labels)
            loss.backward()
            losses.append(loss.item())
            with gs.no_grad():
                for p in params:
                    assert p.grad is not None
                    p.sub_(RATE * p.grad)
                    p.grad = None
    return losses


# -- layers ------------------------------------------------------------------------------------


def mlp(dropout: float = 0.0) -> nn.Sequential:
    """Return the same network from layers."""
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(SIZES[:-1]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(SIZES[-2], SIZES[-1]))


def train_layers(model: nn.Sequential, train: TensorDataset, epochs: int, seed: int) -> list[float]:
    """Train with a Trainer; returns the loss of every batch."""
    losses = []
    cross_entropy = nn.CrossEntropyLoss()

    def loss_fn(scores: Tensor, labels: Tensor) -> Tensor:
        loss = cross_entropy(scores, labels)
        losses.append(loss.item())
        return loss

    optimizer = gs.optim.SGD(model.parameters(), lr=RATE)
    loader = DataLoader(train, BATCH, shuffle=True, generator=seed)
    gs.Trainer(model, loss_fn, optimizer).fit(loader, epochs=epochs)
    return losses


# -- the example -------------------------------------------------------------------------------


def compare(report: Report, parts: Parts) -> tuple[list[float], list[float]]:
    """Train both ways from the same weights; returns the losses of tensors and of layers."""
    seed, epochs = report.options.seed, 1 if report.options.quick else 5
    gs.manual_seed(seed)
    params, model = initial_weights(), mlp()
    with gs.no_grad():
        for layer, raw in zip(model.parameters(), params, strict=True):
            layer.copy_(raw)
    images, labels = parts.train.take(np.arange(BATCH))
    error = gradient_error(params, images.flatten(1), labels)
    start = time.perf_counter()
    by_tensors = train_raw(params, parts.train, epochs, seed)
    seconds = time.perf_counter() - start
    by_layers = train_layers(model, parts.train, epochs, seed)
    apart = float(np.abs(np.subtract(by_tensors, by_layers)).max())
    for what, metric, value, most in (
        ("gradients by hand, by tape", "largest difference, relative", error, 1e-5),
        ("losses of raw tensors, of layers", "largest difference", apart, 1e-6),
    ):
        report.add(what, metric, value, target=most, higher=False, digits=8)
    report.add("MLP", "test accuracy, %", accuracy(model, parts.test), seconds=seconds)
    return by_tensors, by_layers


def run(options: Options) -> None:
    """Show that the ways agree, then train logistic regression and the better network."""
    report = Report("mlp", options)
    parts = load_parts(options)
    print("\nthe same network from raw tensors and from layers")
    by_tensors, by_layers = compare(report, parts)

    name = "logistic regression"
    linear, history = fit_seeds(
        report,
        name,
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(SIZES[0], SIZES[-1])),
        parts,
        epochs=10,
        max_lr=5e-3,
    )
    histories = {name: history}
    name = "MLP, dropout, moved digits"
    model, histories[name] = fit_seeds(
        report,
        name,
        lambda: mlp(dropout=0.2),
        parts,
        target=98.2,
        epochs=12,
        max_lr=2e-3,
        transform=on_images(partial(random_affine, degrees=8, pixels=1.5, scale=0.08)),
    )

    folder = report.folder()
    gs.save(model.state_dict(), folder / "mlp.safetensors")
    draw(folder / "mlp.png", by_tensors, by_layers, histories, linear, model)
    report.finish()


def draw(
    path: Path,
    by_tensors: list[float],
    by_layers: list[float],
    histories: dict[str, History],
    linear: nn.Module,
    model: nn.Module,
) -> None:
    """Draw the losses of both ways, the errors, and what the first layers look for."""
    figure = new_figure(10, 7)
    parts: Any = figure.subfigures(2, 2, height_ratios=[5, 4])
    left, right = parts[0, 0].subplots(), parts[0, 1].subplots()
    left.plot(by_tensors, lw=3, alpha=0.4, label="raw tensors")
    left.plot(by_layers, lw=0.8, label="layers")
    left.set(title="loss of each batch", xlabel="batch", yscale="log")
    left.legend()
    draw_curves(right, histories)
    titles = ("logistic regression: a template per digit", "MLP: 10 of the first 512 neurons")
    for part, title, network in zip(parts[1], titles, (linear, model), strict=True):
        weight = next(iter(network.parameters())).detach().numpy()
        draw_tiles(part, title, weight[:10].reshape(-1, 28, 28), 5)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    raise SystemExit(main("mlp"))
