"""Convolutional networks on MNIST: LeNet-5, as in 1998 and as of today, and a small ResNet.

A convolution looks everywhere for the same small patterns, so that it needs few weights and finds a
pattern wherever it is; pooling makes the maps coarser, and layer by layer strokes become digits
(LeCun, Bottou, Bengio and Haffner, 1998). Residual blocks add their input to their output, which
keeps the gradient alive in deep networks (He, Zhang, Ren and Sun, 2016).

All are trained alike, with a rate that rises and falls once; the modern ones see every digit
turned, moved and scaled a little in each epoch. The baseline is the network of 1998, with tanh and
average pooling, on the digits as they are. The picture shows what the first layer looks for, what
it finds in one image, and the mistakes that are left.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import nn
from gradsmith.data.transforms import on_images, random_affine
from gradsmith.demo.harness import Options, Report, main
from gradsmith.demo.report import accuracy_table, draw_matrix, draw_mistakes
from gradsmith.examples._vision import draw_curves, draw_tiles, fit_seeds, load_parts
from gradsmith.models import CifarBlock, LeNet
from gradsmith.train import EMA, History
from gradsmith.train.plotting import new_figure

Array = np.ndarray[Any, Any]


def conv(channels_in: int, channels_out: int, padding: int) -> list[nn.Module]:
    """Return a 5x5 convolution that halves its maps, with batch normalisation and ReLU."""
    return [
        nn.Conv2d(channels_in, channels_out, 5, padding=padding, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]


def lenet() -> nn.Sequential:
    """Return LeNet-5 with ReLU, max pooling and batch normalisation."""
    return nn.Sequential(
        *conv(1, 6, padding=2),
        *conv(6, 16, padding=0),
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, 120, bias=False),
        nn.BatchNorm1d(120),
        nn.ReLU(),
        nn.Linear(120, 84, bias=False),
        nn.BatchNorm1d(84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def resnet() -> nn.Sequential:
    """Return a residual network of 6 layers: 24 channels on 14x14 pixels, then 64 on 7x7."""
    return nn.Sequential(
        *conv(1, 24, padding=2),
        CifarBlock(24, 24),
        CifarBlock(24, 64, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def run(options: Options) -> None:
    """Train the three networks and show what the last one learned."""
    report = Report("cnn", options)
    parts = load_parts(options)
    histories: dict[str, History] = {}

    name = "LeNet-5 as in 1998"
    _, histories[name] = fit_seeds(
        report, name, partial(LeNet, activation="tanh"), parts, epochs=5, max_lr=4e-3
    )
    modern: dict[str, Any] = {
        "max_lr": 8e-3,
        "transform": on_images(partial(random_affine, degrees=12, pixels=2.5, scale=0.12)),
        "weight_decay": 0.05,
        "label_smoothing": 0.05,
        "callbacks": (EMA(0.998),),
    }
    name = "LeNet-5 as of today"
    _, histories[name] = fit_seeds(report, name, lenet, parts, target=99.3, epochs=12, **modern)
    name = "small ResNet"
    model, histories[name] = fit_seeds(
        report, name, resnet, parts, seeds=1, target=99.5, epochs=14, **modern
    )

    images, labels = (tensor.numpy() for tensor in parts.test.tensors)
    predicted = gs.train.predict(model, parts.test).numpy().argmax(1)
    print(f"\n{accuracy_table(labels, predicted)}")
    folder = report.folder()
    gs.save(model.state_dict(), folder / "cnn.safetensors")
    draw(folder / "cnn.png", model, histories, images, labels, predicted)
    report.finish()


def feature_maps(model: nn.Sequential, image: Array) -> Array:
    """Return 6 maps each of the first convolution and of both blocks, enlarged to (18, 28, 28).

    Args:
        model: of `resnet`.
        image: (1, 28, 28).
    """
    maps = []
    for layers, size in ((1, 28), (5, 14), (6, 7)):
        found = gs.train.predict(model[:layers], image[None]).numpy()[0, :6]
        maps.append(found.repeat(28 // size, axis=1).repeat(28 // size, axis=2))
    return np.concatenate(maps)


def draw(
    path: Path,
    model: nn.Sequential,
    histories: dict[str, History],
    images: Array,
    labels: Array,
    predicted: Array,
) -> None:
    """Draw learning curves, confusion matrix, filters, feature maps and mistakes."""
    figure = new_figure(11, 13)
    parts: Any = figure.subfigures(3, 1, height_ratios=[5, 4, 3])
    curves, matrix = parts[0].subplots(1, 2)
    draw_curves(curves, histories)
    draw_matrix(matrix, labels, predicted)
    left, right = parts[1].subfigures(1, 2)
    filters = next(iter(model.parameters())).detach().numpy()[:18, 0]
    draw_tiles(left, "18 of the filters of the first layer", filters, 6)
    maps = feature_maps(model, images[0])
    draw_tiles(right, f"a {labels[0]} after the first convolution and after both blocks", maps, 6)
    draw_mistakes(parts[2], images, labels, predicted)
    figure.savefig(path, dpi=70)


if __name__ == "__main__":
    raise SystemExit(main("cnn"))
