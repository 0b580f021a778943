"""Whole training steps, and inference of one sample, of small networks.

The networks are written once, for whichever library is given: ours has PyTorch's names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import gradsmith as gs

from ..case import Prepared, Run, Sizes, case, integers, normal, same

Wrap = Callable[[Any], Any]  # what compiles a model, where a peer does


def mlp(lib: Any) -> Any:
    """Return 784-512-256-10."""
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
    )


def tiny(lib: Any) -> Any:
    """Return 8-8-8-10: nothing but overhead."""
    nn = lib.nn
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 10))


def lenet(lib: Any) -> Any:
    """Return LeNet-5 with ReLU and max-pooling."""
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def cnn(lib: Any) -> Any:
    """Return two 3x3 convolutions, a pool and two linear layers."""
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 14 * 14, 128), nn.ReLU()),
        nn.Linear(128, 10),
    )


def resnet20(lib: Any) -> Any:
    """Return the ResNet for CIFAR of He et al. (2015), with their parameter-free shortcuts."""
    nn, functional = lib.nn, lib.nn.functional

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, width: int, wide: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(width, wide, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(wide)
            self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(wide)
            self.stride, self.more = stride, (wide - width) // 2

        def forward(self, x: Any) -> Any:
            y = functional.relu(self.norm1(self.conv1(x)))
            y = self.norm2(self.conv2(y))
            if self.stride > 1:
                x = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more, self.more))
            return functional.relu(y + x)

    blocks, width = [], 16
    for wide, first in ((16, 1), (32, 2), (64, 2)):
        for stride in (first, 1, 1):
            blocks.append(Block(width, wide, stride))
            width = wide
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def charlm(lib: Any) -> Any:
    """Return a two-layer LSTM that predicts the next of 65 characters."""
    nn = lib.nn

    class CharLM(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(65, 64)
            self.lstm = nn.LSTM(64, 256, 2, batch_first=True)
            self.output = nn.Linear(256, 65)

        def forward(self, x: Any) -> Any:
            return self.output(self.lstm(self.embedding(x))[0])

    return CharLM()


def generator(lib: Any) -> Any:
    """Return the generator of a DCGAN (Radford et al., 2015) for 28x28 images."""
    nn, functional = lib.nn, lib.nn.functional

    class Up(nn.Module):  # type: ignore[misc, name-defined]
        """A transposed convolution without bias."""

        def __init__(self, wide: int, width: int, k: int, stride: int, pad: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(0.02 * lib.randn(wide, width, k, k))
            self.stride, self.padding = stride, pad

        def forward(self, x: Any) -> Any:
            return functional.conv_transpose2d(x, self.weight, None, self.stride, self.padding)

    return nn.Sequential(
        *(Up(64, 128, 7, 1, 0), nn.BatchNorm2d(128), nn.ReLU()),
        *(Up(128, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.ReLU(), Up(64, 1, 4, 2, 1), nn.Tanh()),
    )


def discriminator(lib: Any) -> Any:
    """Return the DCGAN's other half."""
    nn = lib.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2)),
        *(nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2)),
        nn.Conv2d(128, 1, 7),
    )


@dataclass
class Model:
    """A network, its batch, one sample's input, and the operations of one sample."""

    build: Callable[[Any], Any]
    batch: int
    sample: tuple[int, ...]
    first: float  # operations of the first layer, which needs no gradient of its input
    rest: float  # of the others
    classes: int = 10

    def inputs(self, dtype: Any, batch: int) -> Any:
        """Return a batch."""
        if self.build is charlm:
            return integers(self.classes, batch, *self.sample)
        return normal(dtype, batch, *self.sample)


def _conv(o: int, c: int, k: int, size: int) -> float:
    return 2.0 * o * c * k * k * size * size


def _dense(*widths: int) -> float:
    return sum(2.0 * a * b for a, b in pairwise(widths))


_RESNET = (
    6 * _conv(16, 16, 3, 32)
    + (_conv(32, 16, 3, 16) + 5 * _conv(32, 32, 3, 16))
    + (_conv(64, 32, 3, 8) + 5 * _conv(64, 64, 3, 8) + _dense(64, 10))
)
_LSTM_STEP = 8.0 * 256 * (64 + 256) + 8.0 * 256 * (256 + 256) + _dense(256, 65)
_GENERATOR = _conv(128, 64, 7, 1), _conv(64, 128, 4, 7) + _conv(1, 64, 4, 14)
_DISCRIMINATOR = _conv(64, 1, 4, 14), _conv(128, 64, 4, 7) + _conv(1, 128, 7, 1)

MODELS = {
    "mlp": Model(mlp, 128, (784,), _dense(784, 512), _dense(512, 256, 10)),
    "lenet": Model(
        lenet, 64, (1, 28, 28), _conv(6, 1, 5, 28), _conv(16, 6, 5, 10) + _dense(400, 120, 84, 10)
    ),
    "cnn": Model(
        cnn, 128, (1, 28, 28), _conv(32, 1, 3, 28),
        _conv(64, 32, 3, 28) + _dense(64 * 14 * 14, 128, 10),
    ),
    "resnet20": Model(resnet20, 128, (3, 32, 32), _conv(16, 3, 3, 32), _RESNET),
    "charlm": Model(charlm, 32, (64,), 0, 64 * _LSTM_STEP, 65),
    "dcgan": Model(generator, 64, (64, 1, 1), *_GENERATOR),
    "tiny": Model(tiny, 1, (8,), _dense(8, 8), _dense(8, 8, 10)),
}  # fmt: skip


def _optimizer(lib: Any, model: Any, kind: str, **options: Any) -> Any:
    fast = {} if lib is gs else {"fused": True}  # PyTorch's fastest
    return getattr(lib.optim, kind)(model.parameters(), **options, **fast)


def _classifier(name: str, model: Model, batch: int, dtype: Any) -> Callable[..., Run]:
    x = model.inputs(dtype, batch)
    y = integers(model.classes, x.size if name == "charlm" else batch)

    def program(lib: Any, wrap: Wrap = lambda model: model) -> Run:
        net = _cast(model.build(lib), lib, dtype)
        given, target = lib.from_numpy(x), lib.from_numpy(y)
        loss = lib.nn.functional.cross_entropy
        if name == "resnet20":
            optimizer = _optimizer(lib, net, "SGD", lr=0.1, momentum=0.9)
        else:
            optimizer = _optimizer(lib, net, "Adam")
        net = wrap(net)

        def step() -> None:
            optimizer.zero_grad()
            out = net(given)
            loss(out.flatten(0, 1) if name == "charlm" else out, target).backward()
            optimizer.step()

        return step

    return program


def _adversaries(batch: int, dtype: Any) -> Callable[..., Run]:
    """Return one step of a DCGAN: the discriminator's, then the generator's."""
    images = normal(dtype, batch, 1, 28, 28)

    def program(lib: Any, wrap: Wrap = lambda model: model) -> Run:
        make, judge = (_cast(build(lib), lib, dtype) for build in (generator, discriminator))
        adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
        for_make = _optimizer(lib, make, "Adam", **adam)
        for_judge = _optimizer(lib, judge, "Adam", **adam)
        make, judge = wrap(make), wrap(judge)
        loss = lib.nn.functional.binary_cross_entropy_with_logits
        kind = getattr(lib, dtype.name)
        real, yes = lib.from_numpy(images), lib.ones(batch, 1, 1, 1, dtype=kind)
        no = lib.zeros(batch, 1, 1, 1, dtype=kind)

        def step() -> None:
            fake = make(lib.randn(batch, 64, 1, 1, dtype=kind))
            for_judge.zero_grad()
            (loss(judge(real), yes) + loss(judge(fake.detach()), no)).backward()
            for_judge.step()
            for_make.zero_grad()
            loss(judge(fake), yes).backward()
            for_make.step()

        return step

    return program


def _cast(model: Any, lib: Any, dtype: Any) -> Any:
    return model.to(getattr(lib, dtype.name))


def _weights(model: Model, dtype: Any) -> float:
    return float(dtype.itemsize * sum(p.numel() for p in model.build(gs).parameters()))


def _step_flops(name: str, model: Model) -> float:
    """Count forward, gradients of weights, and gradients of all inputs but the network's."""
    if name != "dcgan":
        return 2 * model.first + 3 * model.rest
    first, rest = _DISCRIMINATOR
    judged = 2 * (2 * first + 3 * rest)  # real and made images
    fooled = 3 * (first + rest)  # through the discriminator, whose gradients are counted too
    return judged + fooled + 2 * model.first + 3 * model.rest


@case("model", *(f"train_{name}" for name in MODELS), batch=0)
def _train(s: Sizes, dtype: Any, name: str) -> Prepared:
    kind = name.removeprefix("train_")
    model = MODELS[kind]
    batch = s["batch"] or model.batch
    program = (
        _adversaries(batch, dtype) if kind == "dcgan" else _classifier(kind, model, batch, dtype)
    )
    # Adam reads and writes four arrays and its gradient was written: eight times the weights.
    flops, bytes = batch * _step_flops(kind, model), 8 * _weights(model, dtype)
    return same(program, flops, bytes, tracked=True, compiled=program)


@case("model", *(f"infer_{name}" for name in MODELS), batch=1)
def _infer(s: Sizes, dtype: Any, name: str) -> Prepared:
    model = MODELS[name.removeprefix("infer_")]
    x = model.inputs(dtype, s["batch"])

    def program(lib: Any, wrap: Wrap = lambda model: model) -> Run:
        net = wrap(_cast(model.build(lib), lib, dtype).eval())
        given = lib.from_numpy(x)
        return lambda: net(given)

    flops = s["batch"] * (model.first + model.rest)
    return same(
        program,
        flops,
        _weights(model, dtype) + x.nbytes,
        arrays={"x": x},
        compiled=program,
        model=lambda: _cast(model.build(gs), gs, dtype).eval(),
    )
