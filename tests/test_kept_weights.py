"""Weights that kernels pack are kept while nothing is recorded, and used until they change."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import nn


def conv(stride: int = 1, kernel: int = 3) -> tuple[nn.Module, gs.Tensor]:
    layer = nn.Conv2d(32, 48, kernel, stride, padding=kernel // 2)
    return layer, gs.randn(2, 32, 12, 12)


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(gs.randn(32, 24, 4, 4))

    def forward(self, x: gs.Tensor) -> gs.Tensor:
        return nn.functional.conv_transpose2d(x, self.weight, stride=2, padding=1)


def transposed() -> tuple[nn.Module, gs.Tensor]:
    return Transposed(), gs.randn(2, 32, 7, 7)


def linear(rows: int) -> tuple[nn.Module, gs.Tensor]:
    return nn.Linear(700, 130), gs.randn(rows, 700)


class Recurrent(nn.Module):
    """Outputs of a recurrent layer alone; its first weight under the name that the tests use."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU | nn.RNN]) -> None:
        super().__init__()
        self.layer = kind(40, 70, 2)

    @property
    def weight(self) -> gs.Tensor:
        return self.layer.weight_hh_l0

    def forward(self, x: gs.Tensor) -> gs.Tensor:
        return self.layer(x)[0]


LAYERS: dict[str, Callable[[], tuple[nn.Module, gs.Tensor]]] = {
    "linear 1": lambda: linear(1),
    "linear 17": lambda: linear(17),
    "linear 64": lambda: linear(64),
    "winograd": conv,
    "5x5": lambda: conv(kernel=5),
    "stride 2": lambda: conv(2),
    "1x1": lambda: conv(kernel=1),
    "transposed": transposed,
    "lstm": lambda: (Recurrent(nn.LSTM), gs.randn(9, 1, 40)),
    "gru": lambda: (Recurrent(nn.GRU), gs.randn(3, 5, 40)),
    "rnn": lambda: (Recurrent(nn.RNN), gs.randn(9, 2, 40)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_same_bits_before_and_after_and_new_weights_count(name: str) -> None:
    gs.manual_seed(1)
    layer, x = LAYERS[name]()
    want = layer(x).detach().numpy()  # recorded: nothing is kept
    with gs.no_grad():
        for _ in range(4):
            assert np.array_equal(layer(x).numpy(), want)
        # Every way in which a weight changes.
        weight = layer.weight
        changes: list[Callable[[], object]] = [
            lambda: weight.mul_(2.0),
            lambda: weight.copy_(gs.randn(*weight.shape)),
            lambda: layer.load_state_dict({k: v * 0.5 for k, v in layer.state_dict().items()}),
            lambda: weight.detach().numpy().__imul__(3.0),
            lambda: gs.kernels.copy(gs.randn(*weight.shape), weight.detach()),
            lambda: weight.detach().__setitem__(0, 1.0),
            lambda: gs.kernels.sgd_step(weight.detach(), gs.ones(*weight.shape), lr=0.1),
        ]
        for change in changes:
            change()
            fresh, _ = LAYERS[name]()
            fresh.load_state_dict(layer.state_dict())
            with gs.enable_grad():
                want = fresh(x).detach().numpy()
            for _ in range(3):
                assert np.array_equal(layer(x).numpy(), want)


def test_an_optimizer_step_counts() -> None:
    layer, x = linear(3)
    optimizer = gs.optim.AdamW(layer.parameters(), lr=0.1)
    for _ in range(3):
        with gs.no_grad():
            outputs = [layer(x).numpy() for _ in range(3)]
        want = layer(x)
        assert all(np.array_equal(y, want.detach().numpy()) for y in outputs)
        optimizer.zero_grad()
        want.pow(2).sum().backward()
        optimizer.step()


def test_memory_that_others_may_write_is_not_kept() -> None:
    """An array over the weight may change at any time, and without a word."""
    layer, x = linear(1)
    with gs.no_grad():
        layer(x)
        array = layer.weight.detach().numpy()
        for factor in (1.0, 2.0, 0.5):
            array *= factor
            want = x.numpy().astype(float) @ array.T.astype(float) + layer.bias.detach().numpy()
            for _ in range(3):
                assert np.allclose(layer(x).numpy(), want, rtol=1e-4, atol=1e-4)
        del array
        first = layer(x).numpy()
        assert all(np.array_equal(layer(x).numpy(), first) for _ in range(3))


def test_dlpack_exports_count() -> None:
    layer, x = linear(2)
    with gs.no_grad():
        for _ in range(3):
            layer(x)
        view = np.from_dlpack(layer.weight.detach())
        if not view.flags.writeable:
            pytest.skip("this NumPy imports read-only")
        view *= 2
        want = x.numpy().astype(float) @ view.T.astype(float) + layer.bias.detach().numpy()
        for _ in range(3):
            assert np.allclose(layer(x).numpy(), want, rtol=1e-4, atol=1e-4)


def test_views_of_one_memory_are_told_apart() -> None:
    both = gs.randn(2, 130, 700).requires_grad_()
    x = gs.randn(1, 700)
    want = [gs.nn.functional.linear(x, both[i]).detach().numpy() for i in range(2)]
    parts = [both[i] for i in range(2)]
    with gs.no_grad():
        for _ in range(4):
            for part, value in zip(parts, want, strict=True):
                assert np.array_equal(gs.nn.functional.linear(x, part).numpy(), value)


@pytest.mark.parametrize("dtype", [gs.float32, gs.float64])
def test_targets_dtypes_and_autocast_have_copies_of_their_own(dtype: gs.dtype) -> None:
    layer, x = linear(5)
    layer, x = layer.to(dtype), x.to(dtype)
    for target in gs.kernels.targets():
        with gs.kernels.use_target(target):
            want = layer(x).detach().numpy()
            with gs.autocast():
                rounded = layer(x).detach().numpy()
            with gs.no_grad():
                for _ in range(3):
                    assert np.array_equal(layer(x).numpy(), want)
                    with gs.autocast():
                        assert np.array_equal(layer(x).numpy(), rounded)


def test_memory_comes_back_when_the_weight_changes() -> None:
    layer, x = nn.Linear(1024, 1024), gs.randn(1, 1024)
    with gs.no_grad():
        layer(x)
        before = gs.memory_stats()["in_use_bytes"]
        for _ in range(3):
            layer(x)
        kept = gs.memory_stats()["in_use_bytes"] - before
        assert 1024 * 1024 * 4 <= kept < 1024 * 1024 * 6
        layer.weight.mul_(1.0)
        assert gs.memory_stats()["in_use_bytes"] == before
        for _ in range(3):
            layer(x)
        del layer
        assert gs.memory_stats()["in_use_bytes"] < before


def test_threads_share_the_copies() -> None:
    layer, x = linear(1)
    want = layer(x).detach().numpy()
    wrong: list[int] = []

    def work() -> None:
        with gs.no_grad():
            for i in range(200):
                if not np.array_equal(layer(x).numpy(), want):
                    wrong.append(i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_many_views_of_one_memory() -> None:
    """More parameters in one buffer than copies are kept of it."""
    flat, x = gs.randn(12, 130, 40).requires_grad_(), gs.randn(1, 40)
    views = [flat[i] for i in range(12)]
    want = [gs.nn.functional.linear(x, view).detach().numpy() for view in views]
    with gs.no_grad():
        for _ in range(4):
            for view, value in zip(views, want, strict=True):
                assert np.array_equal(gs.nn.functional.linear(x, view).numpy(), value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
def test_fork_while_another_thread_packs() -> None:
    layer, x = nn.Linear(1024, 1024), gs.randn(1, 1024)
    stop = threading.Event()

    def work() -> None:
        with gs.no_grad():
            while not stop.is_set():
                layer.weight.add_(0.0)
                for _ in range(3):
                    layer(x)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                with gs.no_grad():
                    layer(x)
                os._exit(0)
            for _ in range(3000):
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    break
                stop.wait(0.01)
            else:
                os.kill(child, 9)
                os.waitpid(child, 0)
                pytest.fail("the child of a fork hangs")
            assert status == 0
    finally:
        stop.set()
        thread.join()
