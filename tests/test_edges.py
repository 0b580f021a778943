"""Edges of ops that no row of the op table shows: scalars, integers, masked rows, truth values."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.nn import functional as F


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_product_along_the_only_axis_of_a_scalar(value):
    x = gs.tensor(value, requires_grad=True)
    (slope,) = gs.autograd.grad(gs.prod(x, 0), x, create_graph=True)
    assert slope.item() == 1


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nothing_counts_in_a_cross_entropy(smoothing):
    x = gs.randn(2, 3).requires_grad_()
    loss = F.cross_entropy(x, gs.tensor([1, 1]), ignore_index=1, label_smoothing=smoothing)
    assert math.isnan(loss.item())
    for create_graph in (False, True):
        (slope,) = gs.autograd.grad(loss, x, create_graph=create_graph, retain_graph=True)
        assert gs.equal(slope.detach(), gs.zeros(2, 3))


# ---- clamp ----


@pytest.mark.parametrize(
    ("bounds", "dtype", "expected"),
    [
        ((0.5, 2), "float32", [0.5, 1, 2]),
        ((-0.5, 0.5), "float32", [-0.5, 0.5, 0.5]),
        ((0, 2), "int64", [0, 1, 2]),
        ((None, 2.0), "float32", [-1, 1, 2]),
        ((3, 2), "int64", [2, 2, 2]),
    ],
)
def test_clamping_integers(bounds, dtype, expected):
    y = gs.tensor([-1, 1, 5]).clamp(*bounds)
    assert y.dtype == getattr(gs, dtype) and y.tolist() == expected


def test_clamping_integers_is_exact():
    assert gs.tensor([2**53 + 3]).clamp(max=2**53 + 1).item() == 2**53 + 1
    with pytest.raises(TypeError, match=r"clamp_: the result is float32.*int64"):
        gs.tensor([1, 5]).clamp_(0.5)
    with pytest.raises(ValueError, match="clamp: at least one of min and max"):
        gs.ones(2).clamp()
    with pytest.raises(ValueError, match="bounds must not be nan"):
        gs.ones(2).clamp(math.nan)


def clamped(library, x, low, high):
    y = library.clamp(x, low, high)
    return y, (y * y).sum()


def test_clamping_between_tensors():
    rng = np.random.default_rng(0)
    x, low, high = rng.normal(size=(3, 4)), rng.normal(size=(4,)) - 1, rng.normal(size=(3, 1)) + 1
    x[0, 0], high[1] = math.nan, -5  # below the lower bound: the upper one wins
    tensors = [gs.tensor(a, dtype="float64", requires_grad=True) for a in (x, low, high)]
    y = clamped(gs, *tensors)[0]
    np.testing.assert_array_equal(y.detach().numpy(), np.minimum(np.maximum(x, low), high))
    assert gs.ones(2, 3).clamp(max=gs.zeros(4, 1, 1)).shape == (4, 2, 3)
    ordinary = [t.detach()[1:].requires_grad_() if t.dim() == 2 else t for t in tensors]
    gs.autograd.gradcheck(gs.clamp, ordinary)
    gs.autograd.gradgradcheck(gs.clamp, ordinary)


@pytest.mark.torch
def test_clamping_between_tensors_as_in_torch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    arrays = rng.normal(size=(3, 4)), rng.normal(size=(4,)) - 1, rng.normal(size=(3, 1)) + 1
    ours = [gs.tensor(a, dtype="float64", requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    for library, tensors in ((gs, ours), (torch, theirs)):
        clamped(library, *tensors)[1].backward()
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-12)


# ---- integers ----


def test_what_integers_cannot_do():
    x = gs.tensor([1, 2])
    for divide in (lambda y: x // y, lambda y: x % y):
        for zero in (0, gs.tensor([1, 0])):
            with pytest.raises(ValueError, match="integers cannot be divided by 0"):
                divide(zero)
        assert divide(0.0).dtype == gs.float32  # a float: as floats do
    for exponent in (-1, gs.tensor([1, -1])):
        with pytest.raises(ValueError, match="integers cannot be raised to negative powers"):
            x**exponent
    assert (x**-1.0).tolist() == [1, 0.5]


def test_divisors_as_they_are_used():
    x = gs.tensor([5, 7], dtype="int32")
    for divide in (lambda a, b: a // b, lambda a, b: a % b, gs.fmod):
        for zero in (gs.tensor(2**32), gs.tensor([0, 0], dtype="uint8")):
            with pytest.raises(ValueError, match="integers cannot be divided by 0"):
                divide(x, zero)
        with pytest.raises(ValueError, match="integers cannot be divided by 0"):
            divide(x, gs.tensor([False, True]))
        assert divide(gs.zeros(0, 2, dtype="int64"), gs.tensor([0, 1])).shape == (0, 2)


def test_numbers_that_a_type_cannot_hold():
    small, narrow = gs.tensor([200, 5], dtype="uint8"), gs.tensor([5], dtype="int32")
    for call in (
        lambda: small % 256,
        lambda: small + 256,
        lambda: narrow // 2**32,
        lambda: gs.minimum(small, 300),
        lambda: gs.where(small > 5, small, 300),
    ):
        with pytest.raises(ValueError, match="does not fit into"):
            call()
    with pytest.raises(ValueError, match="masked_fill: argument 'value' is 300, which uint8"):
        small.masked_fill(small > 5, 300)
    assert (small + -1).tolist() == [199, 4]
    assert (small == 300).tolist() == [False, False] and (small < 300).tolist() == [True, True]
    assert (small > -1).tolist() == [True, True] and (narrow < 2**40).tolist() == [True]


def test_clamping_at_the_ends_of_a_type():
    small, narrow = gs.tensor([200, 5], dtype="uint8"), gs.tensor([5], dtype="int32")
    assert small.clamp(0, 300).tolist() == small.clamp(-5, 300).tolist() == [200, 5]
    assert small.clamp(-5, 100).tolist() == [100, 5]
    assert narrow.clamp(max=2**31).tolist() == narrow.clamp(min=-(2**40)).tolist() == [5]
    for wrong in (lambda: small.clamp(300), lambda: small.clamp(max=-1)):
        with pytest.raises(ValueError, match="which uint8 cannot hold"):
            wrong()
    y = small.clamp(0, 300)
    y.add_(1)
    assert small.tolist() == [200, 5]  # not the same memory


@pytest.mark.parametrize("mode", ["floor", "trunc"])
def test_rounded_quotients_are_flat(mode):
    x, y = gs.tensor([7.0, -7.0], requires_grad=True), gs.tensor([2.0], requires_grad=True)
    gs.div(x, y, rounding_mode=mode).sum().backward()
    assert x.grad.tolist() == [0, 0] and y.grad.tolist() == [0]


def test_truth_values_are_no_axes():
    x = gs.arange(6.0).reshape(2, 3)
    for call in (gs.sum, gs.softmax, gs.cumsum, gs.std):
        with pytest.raises(TypeError, match=r"dim.*got bool"):
            call(x, True)
    with pytest.raises(TypeError, match="got bool"):
        x.reshape(True, 6)


def test_pieces_of_nothing():
    assert [p.shape for p in gs.ones(0, 4).chunk(2, 0)] == [(0, 4), (0, 4)]


@pytest.mark.parametrize("alpha", [-0.5, -2.0, 0.5])
def test_celu_of_any_alpha(alpha):
    x = np.array([-1.5, -0.25, 0.0, 0.25, 3.0])
    wanted = np.where(x > 0, x, alpha * np.expm1(np.minimum(x / alpha, 50)))
    tensor = gs.tensor(x, dtype="float64", requires_grad=True)
    np.testing.assert_allclose(F.celu(tensor, alpha).detach().numpy(), wanted, rtol=1e-12)
    gs.autograd.gradcheck(lambda t: F.celu(t, alpha), [(tensor.detach() + 0.1).requires_grad_()])
