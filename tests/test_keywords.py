"""Keywords of ops: what they change, beside torch's results."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.testing import assert_close, gradcheck, gradgradcheck

RNG = np.random.default_rng(6)
A, B = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4)) + 3
INTS = np.array([[-7, 7, -6, 5], [3, -3, 0, 9]])
FLOATS = np.array([2.345, -2.345, 0.5, 1.5, 2.5, 1234.5])


def name_of(dtype):
    return str(dtype).split(".")[1]


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("add", (A, B), {"alpha": 2.5}),
        ("add", (A, 2), {"alpha": 3}),
        ("add", (INTS, INTS[:1]), {"alpha": -2}),
        ("add", (INTS.astype(np.float32), 2.5), {"alpha": 3}),
        ("sub", (A, B[0]), {"alpha": 0.5}),
        ("add", (A, INTS[:1]), {"alpha": 1 / 3}),
        ("add", (INTS.astype(np.int32), INTS > 0), {"alpha": 2}),
        ("add", (INTS > 0, INTS > 4), {"alpha": 2}),
        ("sub", (INTS, 4), {"alpha": 2}),
        ("div", (INTS, 2), {"rounding_mode": "floor"}),
        ("div", (INTS, 2), {"rounding_mode": "trunc"}),
        ("div", (INTS, np.array([2, -2, 4, -4])), {"rounding_mode": "trunc"}),
        ("div", (INTS, 2.0), {"rounding_mode": "trunc"}),
        ("div", (INTS, 2.0), {"rounding_mode": "floor"}),
        ("div", (INTS, 2), {"rounding_mode": None}),
        ("div", (A * 9, B), {"rounding_mode": "floor"}),
        ("div", (A * 9, B), {"rounding_mode": "trunc"}),
        ("std", (A,), {"unbiased": False}),
        ("std", (A, 1), {"unbiased": False, "keepdim": True}),
        ("var", (A, 1, True), {}),
        ("var", (A, (0, 1)), {"unbiased": True}),
        ("var_mean", (A, 1), {"unbiased": False}),
        ("std_mean", (A, 0), {"unbiased": False}),
        ("index_add", (A, 0, np.array([0, 2]), B[:2]), {"alpha": 2}),
        ("index_add", (INTS, 0, np.array([1, 1]), INTS), {"alpha": -3}),
        ("sum", (INTS, 1), {"dtype": "float64"}),
        ("sum", (INTS.astype(np.int32),), {"dtype": "int32"}),
        ("mean", (INTS, 1), {"dtype": "float64"}),
        ("mean", (INTS,), {"dtype": "float32"}),
        ("prod", (INTS,), {"dtype": "float64"}),
        ("prod", (INTS, 1), {"dtype": "int32"}),
        ("cumsum", (INTS, 1), {"dtype": "float64"}),
        ("cumsum", (INTS, 1), {"dtype": "int32"}),
        ("cumprod", (INTS, 1), {"dtype": "float64"}),
        ("softmax", (INTS, 1), {"dtype": "float64"}),
        ("log_softmax", (A, 0), {"dtype": "float32"}),
        ("round", (FLOATS,), {"decimals": 2}),
        ("round", (FLOATS,), {"decimals": -2}),
        ("round", (FLOATS,), {}),
        ("norm", (A, "fro"), {}),
        ("norm", (A, "fro", 1), {}),
        ("diag_embed", (A, 1, 0, 2), {}),
        ("diag_embed", (A,), {"dim1": -1, "dim2": 0, "offset": -1}),
        ("logsumexp", (INTS, 1), {}),
        ("fmod", (INTS, 4), {}),
        ("fmod", (A * 9, B), {}),
        ("erfc", (A,), {}),
        ("matmul", (INTS, INTS.T), {}),
    ],
)
def test_like_torch(name, args, options):
    torch = pytest.importorskip("torch")

    def run(module):
        given = [module.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
        kept = {k: getattr(module, v) if k == "dtype" else v for k, v in options.items()}
        found = getattr(module, name)(*given, **kept)
        return found if isinstance(found, tuple) else (found,)

    for mine, other in zip(run(gs), run(torch), strict=True):
        assert_close(mine, other.numpy(), rtol=1e-6 if other.dtype is torch.float32 else 1e-12)
        assert name_of(mine.dtype) == name_of(other.dtype)


@pytest.mark.parametrize(
    ("call", "given"),
    [
        (lambda a, b: gs.add(a, b, alpha=2.5), (A, B)),
        (lambda a, b: a.sub(b, alpha=-2), (A, B[0])),
        (lambda a, b: gs.index_add(a, 0, gs.tensor([1, 1]), b, alpha=3), (A, B[:2])),
        (lambda a: gs.std(a, 1, unbiased=False), (A,)),
        (lambda a: gs.cumsum(a, 1, dtype="float64"), (A,)),
        (lambda a: gs.diag_embed(a, 1, 0, 1), (A[:2, :2],)),
        (gs.fmod, (A * 9, B)),
        (gs.erfc, (A,)),
    ],
)
def test_gradients(call, given):
    inputs = [gs.tensor(a, requires_grad=True) for a in given]
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


def test_in_place_and_plain_ops():
    x = gs.tensor(A)
    assert x.add_(gs.tensor(B), alpha=2) is x
    assert_close(x, A + 2 * B)
    assert_close(x.sub_(1, alpha=3), A + 2 * B - 3)
    # The hot ops are the compiled functions themselves.
    for name in ("add", "sub", "mul", "div", "matmul"):
        assert type(getattr(gs, name)).__name__ == "builtin_function_or_method"
        assert getattr(gs, name) is getattr(gs._core, name)
    assert +x is x and gs.positive(x) is x
    assert gs.round(gs.tensor([3, 4]), decimals=0).tolist() == [3, 4]


def test_products_of_integers():
    big = RNG.integers(-(2**62), 2**62, (2, 5, 7))
    for dtype in (np.int64, np.int32, np.uint8):
        for low in (big % 100, big):
            a = low.astype(dtype)
            b = np.ascontiguousarray(a.transpose(0, 2, 1))
            x, y = gs.tensor(a), gs.tensor(b)
            want = np.matmul(a, b)  # wraps
            for found in (x @ y, x @ gs.tensor(a).transpose(1, 2), gs.bmm(x, y)):
                assert found.numpy().dtype == want.dtype and (found.numpy() == want).all()
            assert (gs.mm(x[0], y[0]).numpy() == want[0]).all()
            assert (gs.mv(x[0], y[0, :, 1]).numpy() == want[0][:, 1]).all()
            assert gs.dot(x[0, 0], y[0, :, 1]).item() == want[0][0, 1]
            assert (x[0] @ y == np.matmul(a[0], b)).all()
    least = gs.tensor([[-(2**63), 1]])
    assert (least @ least.T).item() == 1
    assert (gs.zeros(2, 0, dtype="int64") @ gs.zeros(0, 3, dtype="int64")).tolist() == [[0] * 3] * 2
    assert (gs.zeros(0, 2, dtype="int64") @ gs.zeros(2, 3, dtype="int64")).shape == (0, 3)
    assert gs.einsum("ij,kj->ik", gs.tensor(INTS), gs.tensor(INTS)).dtype is gs.int64


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: gs.add(x, x, alpha=x), TypeError, "add: argument 'alpha' must be a number"),
        (lambda x: x.long().sub(2, alpha=0.5), TypeError, "sub: .* an int for a result of int64"),
        (lambda x: gs.div(x, x, rounding_mode="up"), ValueError, "'floor' or 'trunc', got 'up'"),
        (lambda x: gs.norm(x, "nuc"), ValueError, "must be a number or 'fro', got 'nuc'"),
        (lambda x: x.var(False), TypeError, "'dim' must be an int or a sequence of ints, got bool"),
        (lambda x: gs.round(x.long(), decimals=1), TypeError, "floating point where 'decimals'"),
        (lambda x: gs.softmax(x, 0, dtype="int64"), TypeError, "float32 or float64, got int64"),
        (lambda x: gs.diag_embed(x, 0, 1, 1), ValueError, "appears twice"),
        (lambda x: gs.diag_embed(x, 0, 3, 1), IndexError, "dim 3 out of range"),
        (lambda x: x.bool() @ x.bool(), TypeError, "float16, got bool"),
        (lambda x: +x.bool(), TypeError, "positive: .* got bool"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(gs.ones(2, 2))


def test_no_infinite_sums_of_integers():
    assert math.isfinite(gs.tensor([2**40, 1]).logsumexp(0).item())
