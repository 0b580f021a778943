"""What the demos train: data, model, augmentation and schedule of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith._core import Tensor
from gradsmith.data import TensorDataset
from gradsmith.data.datasets import MNIST, Digits
from gradsmith.data.transforms import random_affine, random_shift

__all__ = ["RECIPES", "Recipe", "RowLSTM"]

Batch = tuple[Tensor, Tensor]
Augment = Callable[[np.ndarray[Any, Any], np.random.Generator], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Recipe:
    """One demo. `load(train, folder)` reads a part of the data; `build()` makes the model."""

    title: str
    load: Callable[[bool, Path | None], TensorDataset]
    build: Callable[[], nn.Module]
    augment: Augment
    epochs: int
    batch_size: int
    max_lr: float
    weight_decay: float = 1e-2
    label_smoothing: float = 0.0
    clip_grad_norm: float | None = None

    def transform(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Augment a training batch."""
        images, labels = batch
        return gs.from_numpy(self.augment(images.numpy(), rng)), labels


def _conv(channels_in: int, channels_out: int, kernel_size: int, padding: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel_size, padding=padding, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]


def _digits_cnn() -> nn.Module:
    return nn.Sequential(
        *_conv(1, 24, 3, 1),
        *_conv(24, 24, 3, 1),
        nn.MaxPool2d(2),
        *_conv(24, 48, 3, 1),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(48 * 2 * 2, 64),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(64, 10),
    )


def _mnist_cnn() -> nn.Module:
    return nn.Sequential(
        *_conv(1, 16, 5, 0),
        nn.MaxPool2d(2),
        *_conv(16, 32, 5, 0),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32 * 4 * 4, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    )


class RowLSTM(nn.Module):
    """Reads an image as a sequence of rows, in both directions, and classifies it.

    Args:
        width: pixels per row.
        hidden_size: of each direction.
        classes: scores per image.
    """

    def __init__(self, width: int, hidden_size: int, classes: int) -> None:
        """Create the layers."""
        super().__init__()
        self.lstm = nn.LSTM(width, hidden_size, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(2 * hidden_size, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, 1, H, W) to scores (N, classes)."""
        _, (hidden, _) = self.lstm(images.squeeze(1))
        both = gs.cat([hidden[0], hidden[1]], 1)
        return self.head(self.dropout(both))


def _load_mnist(train: bool, folder: Path | None) -> TensorDataset:
    assert folder is not None
    return MNIST(folder, train)


def _load_digits(train: bool, folder: Path | None) -> TensorDataset:
    return Digits(train)


RECIPES = {
    "digits": Recipe(
        title="a CNN on 8x8 handwritten digits",
        load=_load_digits,
        build=_digits_cnn,
        augment=lambda images, rng: random_affine(images, rng, degrees=10, pixels=0.8, scale=0.1),
        epochs=20,
        batch_size=64,
        max_lr=4e-3,
        label_smoothing=0.05,
    ),
    "mnist": Recipe(
        title="a CNN on MNIST",
        load=_load_mnist,
        build=_mnist_cnn,
        augment=lambda images, rng: random_shift(images, rng, pixels=1),
        epochs=4,
        batch_size=128,
        max_lr=4e-3,
    ),
    "lstm": Recipe(
        title="an LSTM that reads 8x8 handwritten digits row by row",
        load=_load_digits,
        build=lambda: RowLSTM(8, 64, 10),
        augment=lambda images, rng: random_affine(images, rng, degrees=4, pixels=0.35, scale=0.04),
        epochs=40,
        batch_size=64,
        max_lr=4e-3,
        clip_grad_norm=1.0,
    ),
}
