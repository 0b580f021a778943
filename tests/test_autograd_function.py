"""autograd.Function: ops whose forward and backward are written in Python."""

import gc
import sys
import weakref

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import autograd


def leaf(*values, dtype=None):
    return gs.tensor(list(values), dtype=dtype or gs.float64, requires_grad=True)


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g


class SinCos(autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        a, b = gs.sin(x) * scale, gs.cos(x) * scale
        ctx.save_for_backward(a, b)
        return a, b

    @staticmethod
    def backward(ctx, ga, gb):
        a, b = ctx.saved_tensors
        return ga * b - gb * a, None


def test_function():
    x = leaf(0.5, -1.5)
    assert autograd.gradcheck(Cube.apply, x)
    assert autograd.gradgradcheck(Cube.apply, x)
    assert autograd.gradcheck(lambda v: SinCos.apply(v, 2.0), x)
    assert autograd.gradgradcheck(lambda v: SinCos.apply(v, 2.0), x)
    y = Cube.apply(x)
    assert y.grad_fn == "<Cube>"
    a, _ = SinCos.apply(x, 1.0)
    a.sum().backward()  # the gradient of the other output is zeros
    np.testing.assert_allclose(x.grad.numpy(), np.cos([0.5, -1.5]))
    with gs.no_grad():
        assert not Cube.apply(x).requires_grad


def test_function_errors():
    class Wrong(Cube):
        @staticmethod
        def backward(ctx, g):
            return g, g

    class Failing(Cube):
        @staticmethod
        def backward(ctx, g):
            raise KeyError("mine")

    x = leaf(1.0)
    with pytest.raises(RuntimeError, match=r"Wrong.*2.*1"):
        Wrong.apply(x).sum().backward()
    with pytest.raises(KeyError, match="mine"):
        Failing.apply(x).sum().backward()
    with pytest.raises(TypeError, match="forward"):
        autograd.Function.apply(x)
    a = x * 1
    y = Cube.apply(a)
    with gs.no_grad():
        a.add_(1.0)
    with pytest.raises(RuntimeError, match="in place"):
        y.sum().backward()


def test_function_with_none_among_its_outputs():
    class Half(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return None, x * 2, None

        @staticmethod
        def backward(ctx, first, grad, last):
            assert first is None and last is None
            return grad * 2

    x = leaf(1.0, 2.0)
    first, y, last = Half.apply(x)
    assert first is None and last is None
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_needs_input_grad():
    seen = []

    class Product(autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.save_for_backward(a, b)
            return a * b

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            _, b = ctx.saved_tensors
            return g * b, None

    Product.apply(leaf(2.0), gs.ones(1, dtype="float64")).sum().backward()
    assert seen == [(True, False)]


class SavesItsOutput(gs.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = gs.exp(x)
        ctx.save_for_backward(x, y)
        return y, x * y

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        return g * y + h * (1 + x) * y


def test_a_saved_output_is_differentiable_and_freed():
    x = gs.tensor([0.3, -1.2], dtype="float64", requires_grad=True)
    assert autograd.gradcheck(SavesItsOutput.apply, (x,))
    assert autograd.gradgradcheck(SavesItsOutput.apply, (x,))
    before = gs._core.memory_stats()["in_use_bytes"]
    SavesItsOutput.apply(gs.ones(10_000, requires_grad=True))  # never run backwards
    assert gs._core.memory_stats()["in_use_bytes"] <= before


def test_a_saved_output_changed_in_place():
    y, _ = SavesItsOutput.apply(gs.ones(2, requires_grad=True))
    with gs.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()


def test_function_context_is_freed():
    x = leaf(1.0)
    y = Cube.apply(x)
    y.sum().backward()
    reference = weakref.ref(x)
    del x, y
    gc.collect()
    assert reference() is None


class Weighs(autograd.Function):
    """Hands its input on, and saves it."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x


def test_function_that_saves_the_input_it_returns():
    x = leaf(2.0, 3.0)
    (g,) = autograd.grad(Weighs.apply(x).sum(), x, create_graph=True)
    assert g.tolist() == [2.0, 3.0]
    (h,) = autograd.grad(g.sum(), x)
    assert h.tolist() == [1.0, 1.0]


class Doubles(autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_applying_a_function_leaks_nothing():
    x = leaf(1.0)
    for _ in range(500):
        Doubles.apply(x)
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(3000):
        Doubles.apply(x)
    gc.collect()
    assert sys.getallocatedblocks() - before < 1000


def test_anomaly_in_a_function():
    class Breaks(Doubles):
        @staticmethod
        def forward(ctx, x):
            return x * float("nan")

    with autograd.detect_anomaly(), pytest.raises(RuntimeError, match="Breaks"):
        Breaks.apply(leaf(1.0))
