"""Tensor functions composed of ops: NumPy's results, torch's, gradients, and errors."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.testing import assert_close, gradcheck, gradgradcheck

RNG = np.random.default_rng(11)
A, B = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
C, V = RNG.normal(size=(2, 3, 4)), RNG.normal(size=5)
ZEROS = np.where(np.eye(3, 4) + np.eye(3, 4, 2), 0, A)  # one or two in each row
INDEX = RNG.integers(0, 4, (3, 2))
CUMMAX = np.maximum.accumulate(np.where(np.maximum.accumulate(C, 1) == C, [[[0], [1], [2]]], 0), 1)
CUMMIN = np.minimum.accumulate(V)
TIES = np.array([[2.0, 1, 2, 1], [0, 0, 3, 3], [math.nan, 1, -math.inf, 5]])

# Name, arguments, and what NumPy makes of them.
CASES = [
    ("mm", (A, B.T), A @ B.T),
    ("mv", (A, A[0]), A @ A[0]),
    ("addmm", (A[:, :3], A, B.T), A[:, :3] + A @ B.T),
    ("baddbmm", (np.ones((2, 3, 3)), C, C.transpose(0, 2, 1)), 1 + C @ C.transpose(0, 2, 1)),
    ("logaddexp", (A, B[0]), np.logaddexp(A, B[0])),
    ("cumprod", (A, 1), np.cumprod(A, 1)),
    ("cumprod", (C, -2), np.cumprod(C, -2)),
    ("cumprod", (V, 0), np.cumprod(V)),
    ("cumprod", (ZEROS, 1), np.cumprod(ZEROS, 1)),
    ("clip", (A, -0.5, 0.7), np.clip(A, -0.5, 0.7)),
    ("ravel", (A.T,), A.T.ravel()),
    ("swapaxes", (C, 0, -1), C.swapaxes(0, -1)),
    ("movedim", (C, 0, -1), np.moveaxis(C, 0, -1)),
    ("moveaxis", (C, (0, 1), (2, 0)), np.moveaxis(C, (0, 1), (2, 0))),
    ("tile", (A, (2, 1, 3)), np.tile(A, (2, 1, 3))),
    ("tril", (C, 1), np.tril(C, 1)),
    ("triu", (A, -1), np.triu(A, -1)),
    ("diag", (V,), np.diag(V)),
    ("diag", (V, 2), np.diag(V, 2)),
    ("diag", (V, -1), np.diag(V, -1)),
    ("diag", (A, 1), np.diag(A, 1)),
    ("roll", (A, 5), np.roll(A, 5)),
    ("roll", (C, (1, -2), (0, 2)), np.roll(C, (1, -2), (0, 2))),
    ("repeat_interleave", (A, 2), np.repeat(A, 2)),
    ("repeat_interleave", (A, np.array([2, 0, 3]), 0), np.repeat(A, [2, 0, 3], 0)),
    ("take_along_dim", (A, INDEX, 1), np.take_along_axis(A, INDEX, 1)),
    ("take_along_dim", (C, INDEX[None], -1), np.take_along_axis(C, INDEX[None], -1)),
    ("var_mean", (A, 1), (A.var(1, ddof=1), A.mean(1))),
    ("std_mean", (A,), (A.std(ddof=1), A.mean())),
    ("broadcast_tensors", (A, A[:1]), np.broadcast_arrays(A, A[:1])),
    ("meshgrid", (V, A[0]), np.meshgrid(V, A[0], indexing="ij")),
    ("sort", (A, 0), (np.sort(A, 0), np.argsort(A, 0))),
    ("median", (V,), np.median(V)),
    ("quantile", (A, 0.3), np.quantile(A, 0.3)),
    ("quantile", (A, np.array([0.0, 0.37, 1.0]), 1), np.quantile(A, [0, 0.37, 1], 1)),
    ("quantile", (C, 0.5, 1, True), np.quantile(C, 0.5, 1, keepdims=True)),
    ("count_nonzero", (np.array([[0, 2], [3, 0], [1, 1]]), 0), np.array([2, 2])),
    ("isclose", (A, A + 1e-9), np.full(A.shape, True)),
    ("unique", (np.array([[3, 1], [1, 7]]),), np.array([1, 3, 7])),
    ("bincount", (np.array([0, 3, 3]),), np.array([1, 0, 0, 2])),
    ("isin", (np.array([0, 3, 5]), np.array([3, 9])), np.array([False, True, False])),
    ("searchsorted", (np.sort(V), A), np.searchsorted(np.sort(V), A)),
    ("searchsorted", (np.sort(A), B), np.array(list(map(np.searchsorted, np.sort(A), B)))),
    ("bucketize", (A, np.sort(V)), np.searchsorted(np.sort(V), A)),
    ("tensordot", (C, A.T, 1), np.tensordot(C, A.T, 1)),
    ("tensordot", (C, A, ([1, 2], [0, 1])), np.tensordot(C, A, ([1, 2], [0, 1]))),
    ("tensordot", (A, V, 0), np.tensordot(A, V, 0)),
    ("tensordot", (A, A), np.tensordot(A, A)),
    ("inner", (A, C), np.inner(A, C)),
    ("inner", (V, V), np.inner(V, V)),
    ("diff", (A,), np.diff(A)),
    ("diff", (C, 2, 1), np.diff(C, 2, 1)),
    ("diff", (A, 1, 0, A[:1], B[:2]), np.diff(A, 1, 0, A[:1], B[:2])),
    ("nan_to_num", (A,), A),
    ("cummax", (C, 1), (np.maximum.accumulate(C, 1), CUMMAX)),
    ("cummin", (V, 0), (np.minimum.accumulate(V), [list(V).index(v) for v in CUMMIN])),
    ("logcumsumexp", (C, 1), np.logaddexp.accumulate(C, 1)),
    ("logcumsumexp", (V * 300, 0), np.logaddexp.accumulate(V * 300)),
    ("addcmul", (A, B, C), A + B * C),
    ("addcdiv", (A[0], C, B), A[0] + C / B),
    ("cdist", (C, A), np.sqrt(((C[:, :, None] - A) ** 2).sum(-1))),
    ("cdist", (A, B, 1.0), np.abs(A[:, None] - B).sum(-1)),
    ("cdist", (A, B, math.inf), np.abs(A[:, None] - B).max(-1)),
    ("cdist", (A, B, 3.0), (np.abs(A[:, None] - B) ** 3).sum(-1) ** (1 / 3)),
    ("argwhere", (A > 0,), np.argwhere(A > 0)),
]
CONSTANT = (
    "count_nonzero isclose unique bincount isin searchsorted bucketize argwhere".split()  # noqa: SIM905
)


INDICES = gs.tensor(INDEX)


def tensors(args):
    return [gs.tensor(a.copy()) if isinstance(a, np.ndarray) else a for a in args]


def flat(value):
    return list(value) if isinstance(value, (tuple, list)) else [value]


@pytest.mark.parametrize(("name", "args", "expected"), CASES)
def test_like_numpy(name, args, expected):
    given = tensors(args)
    found, wanted = flat(getattr(gs, name)(*given)), flat(expected)
    assert len(found) == len(wanted)
    for mine, other in zip(found, wanted, strict=True):
        assert_close(mine, other, rtol=1e-12)
    if hasattr(gs.Tensor, name):
        for mine, other in zip(flat(getattr(given[0], name)(*given[1:])), wanted, strict=True):
            assert_close(mine, other, rtol=1e-12)
    if name in CONSTANT:
        return
    for tensor in given:
        if isinstance(tensor, gs.Tensor) and tensor.dtype is gs.float64 and tensor.ndim:
            tensor.requires_grad_(name != "quantile" or tensor.shape != (3,))
    assert gradcheck(getattr(gs, name), given)
    assert gradgradcheck(getattr(gs, name), given)


@pytest.mark.torch
@pytest.mark.parametrize(
    ("name", "args", "options"),
    [
        ("sort", (TIES,), {"dim": 1, "stable": True}),
        ("sort", (TIES,), {"dim": 1, "descending": True, "stable": True}),
        ("argsort", (TIES,), {"dim": 0, "stable": True}),
        ("topk", (C, 2), {}),
        ("topk", (C, 3), {"dim": 1, "largest": False}),
        ("topk", (TIES[2], 2), {}),
        ("kthvalue", (C, 2), {"dim": 1}),
        ("kthvalue", (A, 4), {"keepdim": True}),
        ("median", (A,), {}),
        ("median", (A,), {"dim": 1}),
        ("median", (TIES[2:],), {"dim": 1}),
        ("quantile", (A, 0.2), {"dim": 0, "interpolation": "nearest"}),
        ("quantile", (A, 0.2), {"interpolation": "midpoint"}),
        ("quantile", (TIES, 0.2), {"dim": 1}),
        ("quantile", (A, np.array([0.1, 0.9])), {"dim": 0, "keepdim": True}),
        ("quantile", (A, np.array([0.1, 0.9])), {"keepdim": True}),
        ("unique", (INDEX,), {"return_inverse": True, "return_counts": True}),
        ("unique", (np.array([[1, 2], [0, 3], [1, 2]]),), {"dim": 0, "return_inverse": True}),
        ("scatter", (A, 1, INDEX * [1, 0] + [0, 3], B), {}),
        ("scatter", (A, 0, INDEX[:1] % 3, 7.0), {}),
        ("addmm", (np.full((3, 3), math.nan), A, B.T), {"beta": 0, "alpha": 2}),
        ("meshgrid", (V, A[0]), {"indexing": "xy"}),
        ("cumprod", (np.array(2.5), 0), {}),
        ("cumprod", (np.array([[3, -2, 0, 7]]), 1), {}),
        ("cumprod", (np.array([True, True, False]), 0), {}),
        ("cumprod", (np.zeros((3, 0)), 1), {}),
        ("sort", (np.array(2.5),), {}),
        ("argsort", (np.array(2.5),), {"dim": 0}),
        ("topk", (np.array(2.5), 1), {}),
        ("topk", (np.array(2.5), 0), {"dim": 0}),
        ("kthvalue", (np.array(2.5), 1), {"keepdim": True}),
        ("median", (np.array(2.5),), {}),
        ("median", (np.array(2.5), 0), {}),
        ("median", (np.array(2.5), -1), {"keepdim": True}),
        ("median", (np.zeros((0, 3)), 1), {}),
        ("quantile", (np.array(2.5), 0.3), {"keepdim": True}),
        ("quantile", (np.array(2.5), 0.3), {"dim": 0, "keepdim": True}),
        ("quantile", (np.array(2.5), np.array([0.1, 0.9])), {}),
        ("quantile", (np.array(2.5), np.array([0.1, 0.9])), {"dim": -1, "keepdim": True}),
        ("topk", (np.zeros((2, 0)), 0), {}),
        ("logaddexp", (np.array([-math.inf, 1e4]), np.array([-math.inf, 1e4])), {}),
        ("diag_embed", (C,), {"offset": -2}),
        ("cummax", (TIES, 1), {}),
        ("cummin", (TIES, 0), {}),
        ("cummax", (np.array(2.5), 0), {}),
        ("cummin", (np.zeros((3, 0)), 1), {}),
        ("cummax", (np.array([3, 1, 3, 4, 4, 2]), 0), {}),
        ("logcumsumexp", (TIES, 1), {}),
        ("logcumsumexp", (np.array([-math.inf, -math.inf, 1.0, 1000.0, 1000.0]), 0), {}),
        ("logcumsumexp", (np.array(2.5), 0), {}),
        ("diff", (np.array([True, False, False]),), {}),
        ("diff", (np.array([3, 1, 7]),), {"n": 5}),
        ("nan_to_num", (TIES,), {}),
        ("nan_to_num", (np.array([math.inf, -math.inf, math.nan]), 1.0, 2.0, 3.0), {}),
        ("nan_to_num", (INDEX,), {}),
        ("addcmul", (INDEX, INDEX, INDEX), {"value": 3}),
        ("addcdiv", (A, B, C), {"value": -0.5}),
        ("tensordot", (INDEX, INDEX), {"dims": 2}),
        ("inner", (A, np.array(2.0)), {}),
        ("cdist", (np.zeros((3, 0)), np.zeros((2, 0))), {}),
        ("cdist", (A, B), {"p": 0.0}),
        ("searchsorted", (np.sort(A), B), {"right": True, "out_int32": True}),
        ("searchsorted", (np.sort(V), 0.3), {"side": "right"}),
        ("bucketize", (A, np.sort(V)), {"right": True, "out_int32": True}),
    ],
)
def test_like_torch(name, args, options):
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    expected = flat(getattr(torch, name)(*theirs, **options))
    found = flat(getattr(gs, name)(*tensors(args), **options))
    assert len(found) == len(expected)
    for mine, other in zip(found, expected, strict=True):
        assert_close(mine, other.numpy(), rtol=1e-12)
        assert str(mine.dtype).split(".")[1] == str(other.dtype).split(".")[1]


@pytest.mark.torch
def test_gradients_of_products_of_zeros():
    torch = pytest.importorskip("torch")
    weights = RNG.normal(size=ZEROS.shape)

    def derivatives(module, make):
        x, w = make(ZEROS), make(weights)
        y = (module.cumprod(x, 1) * w).sum()
        found = []
        for _ in range(3):
            (g,) = module.autograd.grad(y, [x], create_graph=True)
            found.append(g.detach().numpy())
            y = (g * g * w).sum()
        return found

    ours = derivatives(gs, lambda a: gs.tensor(a, requires_grad=True))
    theirs = derivatives(torch, lambda a: torch.tensor(a, requires_grad=True))
    for mine, other in zip(ours, theirs, strict=True):
        assert_close(mine, other, rtol=1e-10, atol=1e-13)


def test_a_long_product_in_half_precision():
    x = gs.full((1000,), 1.001, dtype=gs.float64)
    for dtype in (gs.float16, gs.bfloat16):
        y = x.to(dtype).cumprod(0)
        assert y.dtype is dtype
        exact = np.cumprod(x.to(dtype).double().numpy())
        assert_close(y.double(), exact, rtol=2.0**-8 if dtype is gs.bfloat16 else 2.0**-10)
    lone = gs.ones(1, 3)
    lone.cumprod(0).fill_(2.0)
    assert lone.sum().item() == 3


def test_scatter_and_its_gradient():
    index = gs.tensor([[0, 0, 3]])
    x, src = (gs.tensor(v, requires_grad=True) for v in (A, B))
    y = gs.scatter(x, 1, index, src)
    assert y[0].tolist() == [B[0, 1], A[0, 1], A[0, 2], B[0, 2]]
    assert gradcheck(lambda a, b: gs.scatter(a, 1, index, b), [x, src])
    assert gradgradcheck(lambda a, b: gs.scatter(a, 1, index, b), [x, src])


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", ((2, 3), (3, 4))),
        ("ij,jk", ((2, 3), (3, 4))),
        ("bij,bjk->bki", ((2, 3, 2), (2, 2, 3))),
        ("ij->", ((2, 3),)),
        ("ii", ((3, 3),)),
        ("ii->i", ((3, 3),)),
        ("iji->ij", ((2, 3, 2),)),
        ("i,j->ij", ((2,), (3,))),
        ("ij,ij->j", ((2, 3), (2, 3))),
        ("...ij,...jk->...ik", ((2, 1, 2, 3), (3, 3, 2))),
        ("i...->...", ((2, 3),)),
        ("bn,anm,bm->ba", ((2, 3), (4, 3, 2), (2, 2))),
        ("a,b,c->cab", ((2,), (3,), (2,))),
        (",ij->ji", ((), (2, 3))),
        ("ij,kl->", ((2, 2), (3, 2))),
    ],
)
def test_einsum(equation, shapes):
    arrays = [RNG.normal(size=shape) for shape in shapes]
    inputs = [gs.tensor(a, requires_grad=True) for a in arrays]
    y = gs.einsum(equation, *inputs)
    assert_close(y, np.einsum(equation, *arrays), rtol=1e-12, atol=1e-14)
    assert gradcheck(lambda *x: gs.einsum(equation, *x), inputs)
    assert gradgradcheck(lambda *x: gs.einsum(equation, *x), inputs)


def test_whole_tensors():
    x = gs.tensor(A)
    assert gs.equal(x, x.clone()) and not gs.equal(x, x[:2]) and not x.equal(x + 1)
    assert x.allclose(x + 1e-9) and not x.allclose(x + 1)
    special = gs.tensor([math.inf, math.nan, -math.inf])
    assert gs.isclose(special, special).tolist() == [True, False, True]
    assert special.allclose(special, equal_nan=True)
    assert gs.vstack([gs.ones(2), gs.zeros(1, 2)]).tolist() == [[1, 1], [0, 0]]
    assert gs.hstack([gs.ones(1), gs.zeros(2)]).tolist() == [1, 0, 0]
    assert gs.bincount(gs.tensor([1, 1]), gs.tensor([0.5, 1.0]), 3).tolist() == [0, 1.5, 0]
    for empty in (gs.zeros(0, 3), gs.zeros(3, 0)):
        assert empty.sort(0).values.shape == empty.shape and empty.ravel().shape == (0,)
        assert empty.roll(1, 0).shape == empty.shape and empty.triu().shape == empty.shape


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: gs.mm(gs.ones(2), gs.ones(2, 2)), ValueError, r"mm: input must have 2 axes"),
        (lambda: gs.topk(gs.ones(3), 4), ValueError, r"k must lie in \[0, 3\], got 4"),
        (lambda: gs.topk(gs.ones(3), -1), ValueError, r"k must lie in \[0, 3\], got -1"),
        (lambda: gs.topk(gs.ones(3), 1.5), TypeError, "topk: k must be an int, got float"),
        (lambda: gs.topk(gs.ones(3), True), TypeError, "topk: k must be an int, got bool"),
        (lambda: gs.topk(gs.ones(()), 2), ValueError, r"k must lie in \[0, 1\], got 2"),
        (lambda: gs.topk(gs.ones(3), 1, "0"), TypeError, "topk: dim must be an int, got str"),
        (lambda: gs.topk(gs.ones(()), 1, 1), IndexError, "topk: dim 1 out of range for 1 axes"),
        (lambda: gs.kthvalue(gs.ones(3), 1.0), TypeError, "kthvalue: k must be an int"),
        (lambda: gs.median(gs.ones(()), 1), IndexError, "median: dim 1 out of range"),
        (lambda: gs.quantile(gs.ones(3), [0.5]), TypeError, "q must be a number, got list"),
        (lambda: gs.cumprod(gs.ones(3), 1), IndexError, "cumprod: dim 1 out of range for 1 axes"),
        (lambda: gs.kthvalue(gs.ones(3), 0), ValueError, r"k must lie in \[1, 3\]"),
        (lambda: gs.sort(gs.ones(3), 2), IndexError, "sort: dim 2 out of range for 1 axes"),
        (lambda: gs.quantile(gs.ones(3), 1.5), ValueError, r"q must lie in \[0, 1\]"),
        (lambda: gs.quantile(gs.ones(3), 0.5, interpolation="cubic"), ValueError, "'cubic'"),
        (lambda: gs.median(gs.ones(0)), ValueError, "no elements"),
        (lambda: gs.tril(gs.ones(3)), ValueError, "at least 2 axes"),
        (lambda: gs.roll(gs.ones(3), (1, 2), 0), ValueError, "2 shifts for 1 dims"),
        (lambda: gs.movedim(gs.ones(2, 2), (0, 0), (0, 1)), ValueError, "appears twice"),
        (lambda: gs.meshgrid(gs.ones(2), indexing="ab"), ValueError, "'ij' or 'xy'"),
        (lambda: gs.repeat_interleave(gs.ones(3), -1), ValueError, "must be counts"),
        (lambda: gs.einsum("ij,jk", gs.ones(2, 2)), ValueError, "2 terms in 'ij,jk', 1 operands"),
        (lambda: gs.einsum("i->j", gs.ones(2)), ValueError, "must name letters"),
        (lambda: gs.einsum("ijk", gs.ones(2)), ValueError, "does not fit operand 0"),
        (lambda: gs.einsum("i,i->", gs.ones(2), gs.ones(3)), ValueError, "sizes 2 and 3"),
        (lambda: gs.scatter(gs.ones(2), 0, gs.tensor([[0]]), 1.0), ValueError, "number of axes"),
        (lambda: gs.tensordot(gs.ones(2), gs.ones(2), 2), ValueError, r"dims must lie in \[0, 1\]"),
        (lambda: gs.tensordot(gs.ones(2), gs.ones(3), 1), ValueError, "differ in size"),
        (lambda: gs.tensordot(gs.ones(2), gs.ones(3), ([0], [])), ValueError, "two lists as long"),
        (lambda: gs.inner(gs.ones(2), gs.ones(3)), ValueError, r"input \(2,\) and other \(3,\)"),
        (lambda: gs.cdist(gs.ones(2), gs.ones(2, 2)), ValueError, "x1 must have at least 2 axes"),
        (lambda: gs.cdist(gs.ones(2, 3), gs.ones(2, 2)), ValueError, "as many columns"),
        (lambda: gs.cdist(INDICES, INDICES), TypeError, "x1 must be floating, got int64"),
        (lambda: gs.cdist(gs.ones(2, 2), gs.ones(2, 2), -1), ValueError, "p must not be negative"),
        (lambda: gs.diff(gs.ones(())), ValueError, "at least one axis"),
        (lambda: gs.diff(gs.ones(3), -1), ValueError, "n must not be negative, got -1"),
        (lambda: gs.cummax(gs.ones(3), 1), IndexError, "cummax: dim 1 out of range"),
        (lambda: gs.logcumsumexp(INDICES, 0), TypeError, "must be floating, got int64"),
        (
            lambda: gs.bucketize(gs.ones(2), gs.ones(2, 2)),
            ValueError,
            "boundaries must be a vector",
        ),
        (
            lambda: gs.searchsorted(gs.ones(2, 2), gs.ones(3, 2)),
            ValueError,
            "but for the last axis",
        ),
        (lambda: gs.searchsorted(gs.ones(2), 1.0, side="up"), ValueError, "got 'up'"),
        (lambda: gs.multinomial(gs.ones(2, 2, 2), 1), ValueError, "1 or 2 axes"),
        (
            lambda: gs.multinomial(gs.ones(2), 3),
            ValueError,
            "3 positive weights in each row, got 2",
        ),
        (lambda: gs.multinomial(-gs.ones(2), 1), ValueError, "finite and not negative"),
        (lambda: gs.multinomial(gs.zeros(2), 1, True), ValueError, "1 positive weights"),
        (lambda: gs.multinomial(INDICES, 1), TypeError, "must be floating, got int64"),
        (lambda: gs.bernoulli(gs.ones(2) * 2), ValueError, r"must lie in \[0, 1\]"),
        (lambda: gs.bernoulli(INDICES), TypeError, "must be floating, got int64"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_wrong_inputs_are_named():
    with pytest.raises(TypeError, match="quantile: input must be floating, got int64"):
        gs.quantile(gs.tensor([1, 2]), 0.5)
    with pytest.raises(ValueError, match="'i' stands for axes of 2 and 3"):
        gs.einsum("ii", gs.ones(2, 3))


def test_cumprod_where_parts_overflow():
    for values in ([0.0, 1e30, 1e30, 2.0], [1e-30, 1e30, 1e30, 1.0], [1e30, 1e-30, 1e-30, 1e10]):
        x = np.array(values, np.float32)
        np.testing.assert_allclose(gs.cumprod(gs.tensor(x), 0).numpy(), np.cumprod(x), 1e-6)


def test_trace():
    square, wide = gs.tensor(A @ A.T, requires_grad=True), gs.tensor(A)
    assert_close(gs.trace(square), gs.tensor(np.trace(A @ A.T)))
    assert_close(wide.trace(), gs.tensor(np.trace(A)))
    assert gs.trace(gs.tensor([[1, 2], [3, 4]])).item() == 5 and gs.trace(gs.ones(0, 3)).item() == 0
    assert gradcheck(gs.trace, (square,)) and gradgradcheck(lambda x: gs.trace(x) ** 2, (square,))
    for wrong in (gs.ones(3), gs.ones(1, 2, 2)):
        with pytest.raises(ValueError, match="trace: input must have 2 axes, got shape"):
            gs.trace(wrong)
    with pytest.raises(TypeError, match="trace: input must be a Tensor, got function"):
        gs.trace(lambda: None)


def test_einsum_with_lists_of_indices():
    a, b, c = gs.tensor(A), gs.tensor(B.T), gs.tensor(C)
    assert_close(gs.einsum(a, [0, 1], b, [1, 2], [0, 2]), a @ b)
    assert_close(gs.einsum(a, [0, 1], b, [1, 2]), a @ b)
    assert_close(gs.einsum(a, (1, 0)), a.t())
    assert_close(gs.einsum(c, [..., 7, 51], b, [51, 0], [..., 7, 0]), c @ b)
    assert gs.einsum(a, [0, 1], []).item() == pytest.approx(A.sum())
    for given in ((a, [0, 1], b), (a, b), (3, a), (a, [0, 1], [0], [1])):
        with pytest.raises(TypeError, match="einsum: expected an equation and tensors, or tensors"):
            gs.einsum(*given)
    with pytest.raises(ValueError, match=r"einsum: an index must lie in \[0, 52\), got 52"):
        gs.einsum(a, [0, 52])
    with pytest.raises(TypeError, match="einsum: an index must be an int, got str"):
        gs.einsum(a, ["i", "j"])


@pytest.mark.torch
def test_einsum_with_lists_beside_torch():
    torch = pytest.importorskip("torch")
    for indices in (([30, 2], [2, 25]), ([0, 1], [1, 0]), ([..., 27, 3], [3, 26])):
        ours = gs.einsum(gs.tensor(A), indices[0], gs.tensor(B.T), indices[1])
        theirs = torch.einsum(torch.tensor(A), indices[0], torch.tensor(B.T), indices[1])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


def test_draws():
    gs.manual_seed(3)
    weights = gs.tensor([[1.0, 0.0, 3.0, 4.0], [0.0, 1.0, 0.0, 0.0]])
    many = gs.multinomial(weights, 20000, replacement=True)
    assert many.shape == (2, 20000) and many.dtype is gs.int64
    shares = gs.bincount(many[0], minlength=4).numpy() / 20000
    assert_close(shares, np.array([1, 0, 3, 4]) / 8, atol=0.015)
    assert (many[1] == 1).all()
    firsts = np.zeros(4)
    for _ in range(2000):
        drawn = weights[0].multinomial(3).tolist()
        assert sorted(drawn) == [0, 2, 3]
        firsts[drawn[0]] += 1
    assert_close(firsts / 2000, np.array([1, 0, 3, 4]) / 8, atol=0.04)
    for dtype in (gs.float32, gs.float64, gs.float16):
        chances = gs.tensor([[0.0, 1.0, 0.25]]).to(dtype).expand(20000, 3)
        drawn = gs.bernoulli(chances)
        assert drawn.dtype is dtype and not drawn.requires_grad
        assert_close(drawn.double().mean(0), [0, 1, 0.25], atol=0.015)
    assert gs.ones(0, 2).bernoulli(0.5).shape == (0, 2)
    assert gs.ones(5).bernoulli(0.0).sum().item() == 0


@pytest.mark.parametrize("replacement", [True, False])
@pytest.mark.parametrize(
    "weights",
    [
        [1e308, 1e308],
        [5e-324, 0.0],
        [1e-310, 0.0, 0.0, 1e-310],
        [1e308, 5e-324, 0.0],
        [0.0, 1.0, 1e-300, 0.0],
        [1.7976931348623157e308] * 3,
    ],
)
def test_draws_with_extreme_weights(weights, replacement):
    gs.manual_seed(5)
    x = gs.tensor(weights, dtype=gs.float64)
    allowed = np.flatnonzero(weights)
    for _ in range(20):
        drawn = x.multinomial(50 if replacement else len(allowed), replacement).tolist()
        assert set(drawn) <= set(allowed) if replacement else sorted(drawn) == list(allowed)


def test_shares_of_extreme_weights_and_draws_of_no_rows():
    gs.manual_seed(5)
    drawn = gs.multinomial(gs.full((2,), 1e308, dtype=gs.float64), 1000, True)
    assert 400 < int(drawn.sum()) < 600
    for replacement in (True, False):
        assert gs.multinomial(gs.ones(0, 4), 3, replacement).shape == (0, 3)


def test_no_differences():
    x = gs.tensor([1.0, 4.0])
    assert gs.diff(x, 0, prepend=x, append=x).tolist() == [1, 4]
    assert gs.diff(x.bool(), 0, append=x.bool()).dtype is gs.bool


def test_axes_as_numpy_integers():
    a, b = gs.ones(2, 3), gs.ones(3, 2)
    assert gs.tensordot(a, b, dims=np.int64(1)).tolist() == [[3, 3], [3, 3]]
    assert gs.tensordot(a, b, dims=(np.int64(1), np.int64(0))).tolist() == [[3, 3], [3, 3]]


def test_as_tensor():
    x = gs.ones(2)
    assert gs.as_tensor(x) is x and gs.is_tensor(x) and not gs.is_tensor(A)
    assert gs.as_tensor(x, dtype="float64").dtype is gs.float64
    array = np.zeros(3)
    gs.as_tensor(array).fill_(2.0)
    assert array.tolist() == [2, 2, 2]
    assert gs.as_tensor([1, 2]).dtype is gs.int64
    assert gs.as_tensor(array, gs.float32).dtype is gs.float32
    assert gs.concat([x, x]).shape == (4,)


def test_gradients_of_log_sums_of_nothing():
    values = [-math.inf, -math.inf, 0.5, 800.0, -math.inf]
    x = gs.tensor(values, requires_grad=True)
    gs.logcumsumexp(x, 0)[2:].sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 2, 0]
