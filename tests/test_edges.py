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
        for base in (x, x.to(gs.uint8), x.to(gs.int32), x.to(gs.bool)):
            with pytest.raises(ValueError, match="integers cannot be raised to negative powers"):
                base**exponent
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
        lambda: gs.maximum(small, -3),
        lambda: small.add_(256),
    ):
        with pytest.raises(ValueError, match="does not fit into"):
            call()
    assert small.tolist() == [200, 5]
    assert (small + -1).tolist() == [199, 4]
    assert (small == 300).tolist() == [False, False] and (small < 300).tolist() == [True, True]
    assert (small > -1).tolist() == [True, True] and (narrow < 2**40).tolist() == [True]


@pytest.mark.parametrize(
    ("value", "dtype", "ends"),
    [
        (300, "uint8", "0 to 255"),
        (-1, "uint8", "0 to 255"),
        (256.5, "uint8", "0 to 255"),
        (2**40, "int32", "-2147483648 to 2147483647"),
        (math.nan, "int32", "-2147483648 to 2147483647"),
        (1e20, "int64", "-9223372036854775808 to 9223372036854775807"),
    ],
)
def test_numbers_that_cannot_be_stored(value, dtype, ends):
    x = gs.tensor([7, 7], dtype=dtype)

    def assign(index):
        x[index] = value

    calls = {
        "tensor: argument 'data'": [
            lambda: gs.tensor(value, dtype=dtype),
            lambda: gs.tensor([[1], [value]], dtype=dtype),
            lambda: gs.tensor(np.float64(value), dtype=dtype),
            lambda: x.__setitem__([0, 1], [1, value]),
        ],
        "value: argument 'value'": [lambda: assign(0), lambda: assign([0, 1]), lambda: assign(...)],
        "full: argument 'fill_value'": [lambda: gs.full_like(x, value)],
        "fill_: argument 'value'": [lambda: x.fill_(value)],
        "copy_: argument 'source'": [lambda: x.copy_(value)],
        "masked_fill: argument 'value'": [lambda: x.masked_fill(x > 0, value)],
    }
    if isinstance(value, int):  # a float makes floats
        calls["where: argument 'other'"] = [lambda: gs.where(x > 0, x, value)]
    for name, each in calls.items():
        for call in each:
            with pytest.raises(ValueError) as error:
                call()
            assert name in str(error.value)
            assert f"which {dtype} cannot hold ({ends})" in str(error.value)
    assert x.tolist() == [7, 7]


def test_what_wraps():
    """Casts and sums, as in torch."""
    wide, small = gs.tensor([300, -1]), gs.tensor([255, 0], dtype="uint8")
    assert wide.to(gs.uint8).tolist() == gs.tensor(wide, dtype="uint8").tolist() == [44, 255]
    assert gs.tensor(wide.numpy(), dtype="uint8").tolist() == [44, 255]
    assert (small + 1).tolist() == [0, 1] and (small - 1).tolist() == [254, 255]
    small[:] = wide
    assert small.tolist() == [44, 255]


def test_integers_beyond_int64():
    for data in ([2**63], [2**63, 1], [[2**64]], [-(2**63) - 1], [1, -1, 2**63]):
        with pytest.raises(ValueError, match=r"tensor: argument 'data': -?\d+ does not fit into"):
            gs.tensor(data)
    assert gs.tensor([2**63 - 1, -(2**63)]).tolist() == [2**63 - 1, -(2**63)]
    assert gs.tensor([2.0**63, 1]).dtype is gs.float32


@pytest.mark.parametrize(
    "call",
    [
        lambda dtype, over: gs.arange(250, 256 + over, dtype=dtype),
        lambda dtype, over: gs.arange(5, -1 - over, -1, dtype=dtype),
        lambda dtype, over: gs.linspace(0, 255 + over, 4, dtype=dtype),
        lambda dtype, over: gs.randint(0, 256 + over, (3,), dtype=dtype),
        lambda dtype, over: gs.randperm(256 + over, dtype=dtype),
    ],
)
def test_sequences_at_the_ends_of_a_type(call):
    call("uint8", 0)
    call("float32", 1)
    with pytest.raises(ValueError, match=r"which uint8 cannot hold \(0 to 255\)"):
        call("uint8", 1)


def test_norms_of_order_0_are_flat():
    for dtype in ("float32", "float16"):
        x = gs.tensor([[1.0, 0.0], [2.0, 3.0]], dtype=dtype, requires_grad=True)
        y = gs.norm(x, 0, dim=1)
        y.sum().backward()
        assert y.tolist() == [1, 2] and x.grad.tolist() == [[0, 0], [0, 0]]
        assert x.grad.dtype is x.dtype


def test_truth_over_no_dims_is_that_of_each_element():
    for dtype in ("bool", "uint8", "int64", "float16", "float32"):
        x = gs.tensor([[0, 1], [2, 0]]).to(dtype)
        for reduce in (gs.any, gs.all):
            for keepdim in (False, True):
                assert reduce(x, (), keepdim).tolist() == [[False, True], [True, False]]
    assert not gs.all(x).item() and gs.any(x).item()
    assert gs.any(gs.tensor(2.0), ()).item() is True


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
