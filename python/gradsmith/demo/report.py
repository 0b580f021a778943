"""The demo's results as a table and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gradsmith.train import History

__all__ = ["accuracy_table", "draw", "draw_matrix", "draw_mistakes"]

Array = np.ndarray[Any, Any]
_MAX_SHOWN = 24


def accuracy_table(labels: Array, predicted: Array) -> str:
    """Lay out the accuracy per class.

    Args:
        labels: the right classes, (N).
        predicted: the predicted classes, (N).
    """
    lines = ["digit  images  right  accuracy", "------------------------------"]
    rows = [(str(c), labels == c) for c in np.unique(labels)]
    for name, chosen in [*rows, ("all", np.ones_like(labels, dtype=bool))]:
        total, right = int(chosen.sum()), int((labels == predicted)[chosen].sum())
        if name == "all":
            lines.append(lines[1])
        lines.append(f"{name:>5}  {total:>6}  {right:>5}  {100 * right / total:>6.2f} %")
    return "\n".join(lines)


def draw(
    path: Path, title: str, history: History, images: Array, labels: Array, predicted: Array
) -> None:
    """Draw learning curves, confusion matrix and misclassified digits into a PNG.

    Args:
        path: the file.
        title: line above everything.
        history: of the training.
        images: (N, 1, H, W).
        labels: the right classes, (N).
        predicted: the predicted classes, (N).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    parts: Any = figure.subfigures(2, 1, height_ratios=[5, 3])
    above, below = parts
    loss_axes, accuracy_axes, matrix_axes = above.subplots(1, 3, width_ratios=[1, 1, 1.1])
    epochs = history["epoch"]
    for axes, name, factor in ((loss_axes, "loss", 1), (accuracy_axes, "accuracy", 100)):
        axes.plot(epochs, np.multiply(history[name], factor), label="training (augmented)")
        axes.plot(epochs, np.multiply(history[f"val_{name}"], factor), label="held out")
        axes.set_xlabel("epoch")
        axes.set_title(name if factor == 1 else f"{name} in %")
        axes.grid(alpha=0.3)
        axes.legend()
    loss_axes.set_yscale("log")
    low = 100 * min(history["val_accuracy"] + history["accuracy"])
    accuracy_axes.set_ylim(max(low - 1, 80), 100.2)
    draw_matrix(matrix_axes, labels, predicted)
    draw_mistakes(below, images, labels, predicted)
    figure.savefig(path, dpi=100)


def draw_matrix(axes: Any, labels: Array, predicted: Array) -> None:
    """Draw a confusion matrix: how many of each digit, per row, were read as which.

    Args:
        axes: of matplotlib.
        labels: the right classes, (N).
        predicted: the predicted classes, (N).
    """
    size = int(max(labels.max(), predicted.max())) + 1
    matrix = np.zeros((size, size), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(matrix), strict=True):
        color = "white" if shares[row, column] > 0.5 else "black"
        count = matrix[row, column]
        axes.text(column, row, count, ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(size))
    axes.set_yticks(range(size))
    axes.set_xlabel("predicted")
    axes.set_ylabel("digit")
    axes.set_title("confusion matrix, held out")


def draw_mistakes(figure: Any, images: Array, labels: Array, predicted: Array) -> None:
    """Draw the misclassified digits, the first few where there are many.

    Args:
        figure: of matplotlib, or a part of one.
        images: (N, 1, H, W).
        labels: the right classes, (N).
        predicted: the predicted classes, (N).
    """
    wrong = np.flatnonzero(labels != predicted)
    shown = wrong[:_MAX_SHOWN]
    more = "" if shown.size == wrong.size else f", the first {shown.size}"
    figure.suptitle(f"{wrong.size} of {labels.size} misclassified{more}")
    if not shown.size:
        return
    grid = figure.subplots(_MAX_SHOWN // 12, 12, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, shown, strict=False):
        axes.imshow(images[index, 0], cmap="gray_r")
        axes.set_title(f"{labels[index]} read as {predicted[index]}", fontsize=8)
