"""What the examples on MNIST share: the data in three parts, the usual training, two pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith.data import DataLoader, TensorDataset
from gradsmith.data.datasets import stratified_split
from gradsmith.demo.harness import Options, Report
from gradsmith.examples._mnist import load_mnist
from gradsmith.optim.lr_scheduler import OneCycleLR
from gradsmith.train import Callback, History

__all__ = ["Parts", "accuracy", "draw_curves", "draw_tiles", "fit", "fit_seeds", "load_parts"]


Model = TypeVar("Model", bound=nn.Module)


class Parts(NamedTuple):
    """Images to learn from, to choose by, and to test with."""

    train: TensorDataset
    val: TensorDataset
    test: TensorDataset


def load_parts(options: Options) -> Parts:
    """Read MNIST; a twelfth of the training images, 5,000, is held out to choose by.

    Args:
        options: of the run; `quick` leaves a few hundred images of each part.

    Samples are (image float32 (1, 28, 28) in [0, 1], label int64).

    Raises:
        ValueError: no folder was given, or a file is corrupt.
        FileNotFoundError: a file is missing.
    """
    known, test = load_mnist(options), load_mnist(options, train=False)
    rest, held_out = stratified_split(known.tensors[1].numpy(), 1 / 12, seed=0)
    tested = np.arange(len(test))
    if options.quick:
        rest, held_out, tested = rest[:400], held_out[:100], tested[:200]
    parts = Parts(
        TensorDataset(*known.take(rest)),
        TensorDataset(*known.take(held_out)),
        TensorDataset(*test.take(tested)),
    )
    print("images to learn from, to choose by, to test with:", *(f"{len(p):,}" for p in parts))
    return parts


def fit(
    model: nn.Module,
    train: TensorDataset,
    val: TensorDataset,
    *,
    epochs: int,
    seed: int,
    max_lr: float,
    transform: Callable[..., Any] | None = None,
    weight_decay: float = 1e-2,
    label_smoothing: float = 0.0,
    callbacks: tuple[Callback, ...] = (),
) -> History:
    """Train with AdamW, whose rate rises and falls once (Smith, 2018), in batches of 128.

    Args:
        model: maps images (N, 1, 28, 28) to scores (N, 10).
        train: to learn from.
        val: measured after every epoch.
        epochs: in all.
        seed: of the order and of `transform`.
        max_lr: the peak of the rate.
        transform: changes each training batch; see `DataLoader`.
        weight_decay: see `AdamW`.
        label_smoothing: see `CrossEntropyLoss`.
        callbacks: see `Trainer`.
    """
    loader = DataLoader(train, 128, shuffle=True, generator=seed, transform=transform)
    optimizer = gs.optim.AdamW(model.parameters(), weight_decay=weight_decay)
    trainer = gs.Trainer(
        model,
        nn.CrossEntropyLoss(label_smoothing=label_smoothing),
        optimizer,
        scheduler=OneCycleLR(optimizer, max_lr, epochs=epochs, steps_per_epoch=len(loader)),
        callbacks=callbacks,
    )
    return trainer.fit(loader, val, epochs=epochs)


def fit_seeds(
    report: Report,
    name: str,
    build: Callable[[], Model],
    parts: Parts,
    *,
    seeds: int = 3,
    target: float | None = None,
    **settings: Any,
) -> tuple[Model, History]:
    """Train from several seeds and report the accuracy on the test images.

    Args:
        report: gets the row.
        name: of the row.
        build: makes the model.
        parts: the data.
        seeds: how many, unless the options say otherwise.
        target: what the mean should reach, in percent.
        settings: of `fit`.

    Returns:
        Model and history of the first seed.
    """
    if report.options.quick:
        settings["epochs"] = 1
    runs, values, start = [], [], time.perf_counter()
    for seed in report.options.seed_range(seeds):
        print(f"\n{name}, seed {seed}", flush=True)
        gs.manual_seed(seed)
        model = build()
        history = fit(model, parts.train, parts.val, seed=seed, **settings)
        runs.append((model, history))
        values.append(accuracy(model, parts.test))
        print(f"{name}, seed {seed}: {values[-1]:.2f} % of the test images", flush=True)
    seconds = (time.perf_counter() - start) / len(runs)
    report.add(name, "test accuracy, %", values, target=target, seconds=seconds)
    return runs[0]


def accuracy(model: nn.Module, data: TensorDataset) -> float:
    """Return the share of samples whose label has the highest score, in percent."""
    images, labels = data.tensors
    predicted = gs.train.predict(model, images).numpy().argmax(1)
    return 100 * float((predicted == labels.numpy()).mean())


def draw_curves(axes: Any, histories: Mapping[str, History]) -> None:
    """Draw the error on the validation images after each epoch, in percent.

    Args:
        axes: of matplotlib.
        histories: by what is to stand in the legend.
    """
    for name, history in histories.items():
        error = 100 - 100 * np.asarray(history["val_accuracy"])
        axes.plot(history["epoch"], error, marker=".", label=name)
    axes.set(title="error on validation images, %", xlabel="epoch", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize="small")


def draw_tiles(figure: Any, title: str, images: np.ndarray[Any, Any], columns: int) -> None:
    """Draw images side by side, each on its own scale about 0: blue is negative, red positive.

    Args:
        figure: of matplotlib, or a part of one.
        title: above all.
        images: (N, H, W).
        columns: images per row.
    """
    figure.suptitle(title)
    grid = figure.subplots(-(-len(images) // columns), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, image in zip(grid.flat, images, strict=False):
        top = float(np.abs(image).max()) or 1.0
        axes.imshow(image, cmap="RdBu_r", vmin=-top, vmax=top)
