"""Writing by index and mask, and bounds that are tensors: NumPy's and torch's results."""

import math

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.testing import assert_close, gradcheck, gradgradcheck

RNG = np.random.default_rng(5)
X, SRC = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 6, 2))
INDEX = RNG.integers(0, 4, (3, 5, 2))
TIES = RNG.integers(0, 3, (3, 6, 2)).astype(float)
REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8")


def reference(x, dim, index, src, reduce, include_self=True):
    found = {}
    for at in np.ndindex(index.shape):
        place = list(at)
        place[dim] = index[at]
        found.setdefault(tuple(place), []).append(src[at])
    y = x.copy()
    call = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    for place, values in found.items():
        value = call([*([x[place]] if include_self else []), *values])
        whole = reduce == "mean" and y.dtype.kind in "iu"
        y[place] = math.floor(value) if whole else value
    return y


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_scatter_reduce(reduce, include_self):
    for dtype in DTYPES:
        if dtype.startswith("float"):
            x, src = X.astype(dtype), SRC.astype(dtype)
        else:
            x, src = (RNG.integers(0, 4, a.shape).astype(dtype) for a in (X, SRC))
        given = gs.tensor(x), 1, gs.tensor(INDEX), gs.tensor(src)
        y = gs.scatter_reduce(*given, reduce, include_self=include_self)
        assert y.dtype is given[0].dtype
        wide = x.astype(float) if dtype == "float16" else x
        want = reference(wide, 1, INDEX, src, reduce, include_self)
        if dtype == "uint8":
            assert (y.numpy() == want).all()
        assert_close(y, want, rtol={"float16": 8e-3, "float32": 1e-5}.get(dtype, 1e-12), atol=1e-6)
        turned = gs.tensor(np.ascontiguousarray(x.T)).T
        z = turned.scatter_reduce(1, *given[2:], reduce, include_self=include_self)
        assert gs.equal(y, z)
        assert gs.equal(turned.scatter_reduce_(*given[1:], reduce, include_self=include_self), y)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_gradients_of_scatter_reduce(reduce, include_self):
    x, src = (gs.tensor(a[:2], requires_grad=True) for a in (X, SRC))
    index = gs.tensor(INDEX[:2])

    def call(a, b):
        return gs.scatter_reduce(a, 1, index, b, reduce, include_self=include_self)

    assert gradcheck(call, [x, src])
    assert gradgradcheck(call, [x, src])


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("src", [SRC, TIES], ids=["different", "ties and zeros"])
def test_scatter_reduce_like_torch(reduce, include_self, src):
    torch = pytest.importorskip("torch")
    start = np.where(X > 1, 0, X) if src is SRC else TIES[:, :4]
    if not include_self:  # PyTorch lets what was there share in the gradient all the same
        start = start + 0.5
    weights = RNG.normal(size=X.shape)

    def run(module):
        x, s = (module.tensor(a, requires_grad=True) for a in (start, src[:, :5]))
        index = module.tensor(INDEX)
        y = module.scatter_reduce(x, 1, index, s, reduce, include_self=include_self)
        (y * module.tensor(weights)).sum().backward()
        return [v.detach().numpy() for v in (y, x.grad, s.grad)]

    for mine, other in zip(run(gs), run(torch), strict=True):
        assert_close(mine, other, rtol=1e-10, atol=1e-13)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scatter_like_torch():
    torch = pytest.importorskip("torch")
    for reduce in ("add", "multiply"):
        for dtype in DTYPES:
            x, src = (RNG.integers(1, 4, a.shape).astype(dtype) for a in (X, SRC))
            for value in (src, 2):
                mine, other = (
                    m.tensor(x).scatter(
                        1,
                        m.tensor(INDEX),
                        m.tensor(value) if value is src else value,
                        reduce=reduce,
                    )
                    for m in (gs, torch)
                )
                assert_close(mine, other.numpy())
    for dtype in (*DTYPES, "bool"):  # one value for each place: which one wins does not matter
        index = np.argsort(RNG.random((3, 4, 2)), 1)
        x, src = (RNG.integers(0, 2, a.shape).astype(dtype) for a in (X, SRC))
        given = [[m.tensor(a) for a in (x, index, src)] for m in (gs, torch)]
        mine, other = (x.scatter(1, index, src) for x, index, src in given)
        assert (mine.numpy() == other.numpy()).all()
        mine, other = (x.scatter_(1, index, value=1) for x, index, _ in given)
        assert (mine.numpy() == other.numpy()).all() and mine is given[0][0]
        mine, other = (x.scatter_add_(1, index, src) for x, index, src in given)
        assert (mine.numpy() == other.numpy()).all()


def test_scatter_of_scalars_and_nothing():
    one, zero = gs.tensor(2.0), gs.tensor(0)
    assert one.scatter(0, zero, 5.0).item() == 5
    assert one.scatter(0, zero, gs.tensor(3.0), reduce="multiply").item() == 6
    assert one.scatter_reduce(-1, zero, gs.tensor(4.0), "mean").item() == 3
    assert one.index_fill(0, gs.tensor([0]), 7.0).item() == 7
    none = gs.zeros(3, 0, dtype="int64")
    for reduce in REDUCTIONS:
        y = gs.scatter_reduce(gs.ones(3, 2), 1, none, gs.zeros(3, 0), reduce)
        assert y.tolist() == [[1, 1]] * 3
    assert gs.scatter(gs.ones(3, 2), 1, none, gs.zeros(3, 4)).sum().item() == 6
    assert gs.scatter_reduce(
        gs.ones(0, 2), 0, gs.zeros(0, 2).long(), gs.ones(0, 2), "sum"
    ).shape == (
        0,
        2,
    )


def test_infinities_and_nan_of_extremes():
    x = gs.tensor([0.0, math.inf, 1.0], requires_grad=True)
    src = gs.tensor([math.inf, math.nan, -math.inf], requires_grad=True)
    y = gs.scatter_reduce(x, 0, gs.tensor([0, 1, 2]), src, "amax")
    assert math.isinf(y[0].item()) and math.isnan(y[1].item()) and y[2].item() == 1
    y[0].backward()
    assert x.grad.tolist() == [0, 0, 0] and src.grad.tolist() == [1, 0, 0]


# ---- bounds ----

LOW, HIGH = RNG.normal(size=(4, 1)) - 0.5, RNG.normal(size=(3, 1, 2)) + 0.5


def test_clamp_with_tensors():
    x, low, high = (gs.tensor(a, requires_grad=True) for a in (X, LOW, HIGH))
    want = np.minimum(np.maximum(X, LOW), HIGH)
    assert_close(gs.clamp(x, low, high), want)
    assert_close(x.clip(low, high), want)
    assert_close(gs.clamp(x, 0.1, high), np.minimum(np.maximum(X, 0.1), HIGH))
    assert_close(gs.clamp_min(x, low), np.maximum(X, LOW))
    assert_close(x.clamp_max(high), np.minimum(X, HIGH))
    assert_close(x.clamp_max(0.5), np.minimum(X, 0.5))
    assert_close(gs.tensor(X).clamp_(min=gs.tensor(LOW)), np.maximum(X, LOW))
    assert gradcheck(gs.clamp, [x, low, high])
    assert gradgradcheck(gs.clamp, [x, low, high])
    assert gs.tensor([1, 5]).clamp(gs.tensor([2, 2]), gs.tensor([3, 3])).tolist() == [2, 3]
    assert gs.zeros(0, 2).clamp(gs.ones(2)).shape == (0, 2)
    missing = gs.tensor([math.nan, 1.0]).clamp(gs.tensor([0.0, math.nan]))
    assert gs.isnan(missing).all()


@pytest.mark.torch
def test_clamp_like_torch():
    torch = pytest.importorskip("torch")
    grid = [a.ravel() for a in np.meshgrid(*[[0.0, 1.0, 2.0]] * 3)]  # every order and tie

    def run(module, names):
        x, low, high = (module.tensor(a, requires_grad=True) for a in grid)
        bounds = {"min": low, "max": high}
        y = module.clamp(x, **{name: bounds[name] for name in names})
        (y * y).sum().backward()
        found = [y, x.grad, *(bounds[name].grad for name in names)]
        return [v.detach().numpy() for v in found]

    for names in (("min",), ("max",), ("min", "max")):
        for mine, other in zip(run(gs, names), run(torch, names), strict=True):
            assert_close(mine, other)
    for pair in (("int64", "float32"), ("float32", "float64"), ("uint8", "int32")):
        mine, other = (
            m.clamp(m.ones(2, dtype=getattr(m, pair[0])), m.ones(2, dtype=getattr(m, pair[1])))
            for m in (gs, torch)
        )
        assert str(mine.dtype).split(".")[1] == str(other.dtype).split(".")[1]


# ---- slices, masks ----

AT = np.array([2, 0])
MASK = X > 0


def filled(x, axis, at, value):
    y = x.copy()
    y[(slice(None),) * axis + (at,)] = value
    return y


def test_slices_and_masks():
    x = gs.tensor(X, requires_grad=True)
    source = gs.tensor(SRC[:, :2], requires_grad=True)
    value = gs.tensor(1.5, dtype="float64", requires_grad=True)
    at, mask = gs.tensor(AT), gs.tensor(MASK)
    assert_close(x.index_fill(1, at, 1.5), filled(X, 1, AT, 1.5))
    assert_close(gs.index_fill(x, -1, at[1:], value), filled(X, 2, AT[1:], 1.5))
    assert_close(x.index_copy(1, at, source), filled(X, 1, AT, SRC[:, :2]))
    placed = X.copy()
    placed[MASK] = SRC.ravel()[: MASK.sum()]
    many = gs.tensor(SRC, requires_grad=True)
    assert_close(x.masked_scatter(mask, many), placed)
    for call, given in (
        (lambda a, v: a.index_fill(1, at, v), [x, value]),
        (lambda a, b: a.index_copy(1, at, b), [x, source]),
        (lambda a, b: a.masked_scatter(mask, b), [x, many]),
        (lambda a: a.masked_scatter(gs.zeros(3, 1, 1).bool(), a), [x]),
        (lambda a: a.where(mask, 0.5), [x]),
        (lambda a: a.unfold(1, 2, 1), [x]),
    ):
        assert gradcheck(call, given)
        assert gradgradcheck(call, given)
    assert x.index_fill(1, gs.tensor([], dtype="int64"), 1.0).tolist() == x.tolist()
    assert x.index_copy(1, at[:0], source[:, :0]).tolist() == x.tolist()
    for dtype in (*DTYPES, "bool"):
        one = gs.tensor([0, 1, 1]).to(dtype)
        assert one.index_copy(0, gs.tensor([1]), one[:1]).tolist() == [0, 0, 1]
        assert one.masked_scatter(one.bool(), one[:2]).tolist() == [0, 0, 1]
        assert one.index_fill(0, gs.tensor([0]), 1).dtype is one.dtype


def test_slices_by_scalars_and_from_the_end():
    x, two = gs.zeros(3), gs.tensor(2)
    assert x.index_fill(0, gs.tensor([-1, -3]), 1.0).tolist() == [1, 0, 1]
    assert x.index_fill(0, two, 1.0).tolist() == x.index_fill(0, two - 3, 1.0).tolist() == [0, 0, 1]
    assert gs.zeros(2, 2).index_fill(1, gs.tensor(-1), True).tolist() == [[0, 1], [0, 1]]
    assert gs.tensor(2.0).index_fill(0, gs.tensor(-1), gs.tensor(4.0)).item() == 4
    assert x.index_copy(0, two, gs.tensor([4.0])).tolist() == [0, 0, 4]
    assert x.index_copy(0, two, gs.tensor(4.0)).tolist() == [0, 0, 4]
    rows = gs.zeros(2, 2).index_copy(0, gs.tensor(1), gs.ones(1, 2))
    assert rows.tolist() == [[0, 0], [1, 1]]
    for index in (gs.tensor(0), gs.tensor([0])):
        for source in (gs.tensor(5.0), gs.tensor([5.0])):
            copied = gs.tensor(1.0).index_copy(0, index, source)
            assert copied.shape == () and copied.item() == 5
    a, b = (gs.tensor(v, dtype=gs.float64, requires_grad=True) for v in (1.0, 5.0))
    assert gradcheck(lambda a, b: a * 2 + a.index_copy(0, gs.tensor(0), b) ** 2, (a, b))


def test_where_and_nonzero():
    x = gs.tensor(X)
    for found in (
        gs.where(x > 0),
        gs.nonzero(x > 0, as_tuple=True),
        (x > 0).nonzero(as_tuple=True),
    ):
        for mine, other in zip(found, np.nonzero(X > 0), strict=True):
            assert mine.dtype is gs.int64 and mine.tolist() == other.tolist()
    assert gs.argwhere(x > 0).tolist() == np.argwhere(X > 0).tolist()
    assert gs.nonzero(x).shape == (24, 3)
    assert [v.tolist() for v in gs.where(gs.tensor(3.0))] == [[0]]
    assert gs.where(gs.zeros(2, 0))[1].shape == (0,)
    assert_close(x.where(x > 0, 0.0), np.where(X > 0, X, 0))
    windows = np.lib.stride_tricks.sliding_window_view(X, 2, 1)[:, ::2]
    assert_close(x.unfold(1, 2, 2), windows)
    assert_close(gs.tensor(X.T.copy()).T.unfold(1, 2, 2), windows)
    assert gs.tensor(3.0).unfold(0, 1, 1).tolist() == [3.0]
    assert gs.zeros(4, 0).unfold(0, 3, 1).shape == (2, 0, 3)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x, i: x.scatter(0, i, 1.0, reduce="max"), ValueError, "'add' or 'multiply', got"),
        (lambda x, i: x.scatter(0, i), TypeError, "one of src and value must be given"),
        (lambda x, i: x.scatter(0, i.int(), 1.0), TypeError, "index must be int64, got int32"),
        (lambda x, i: x.scatter(0, i + 2, 1.0), IndexError, r"index must lie in \[0, 2\)"),
        (lambda x, i: x.scatter(0, i, x[:0]), ValueError, "must not be smaller than index"),
        (lambda x, i: x.scatter_reduce(0, i, x, "max"), ValueError, "one of 'sum', .* got 'max'"),
        (lambda x, i: x.scatter_reduce(0, i, x.double(), "sum"), TypeError, "float64, input float"),
        (lambda x, i: x.scatter_reduce(2, i, x, "sum"), IndexError, "dim 2 out of range"),
        (lambda x, i: x.requires_grad_().scatter_(0, i, 1.0), RuntimeError, "scatter_: in-place"),
        (
            lambda x, i: x.scatter_add_(0, i, gs.ones(2, 2, requires_grad=True)),
            RuntimeError,
            "scatter_add_: argument 'src' requires grad",
        ),
        (lambda x, i: x.clamp(), ValueError, "at least one of min and max"),
        (lambda x, i: x.index_fill(0, i, 1.0), ValueError, "index must be a number or a vector"),
        (lambda x, i: x.index_fill(0, i[0] + 5, 1.0), IndexError, r"\[-2, 2\), got 5 to 5"),
        (lambda x, i: x.index_fill(0, i[0] - 3, 1.0), IndexError, r"\[-2, 2\), got -3 to -3"),
        (lambda x, i: x.index_fill(0, i[0], "a"), TypeError, "index_fill: value must .* got str"),
        (lambda x, i: x.index_fill(0, i[0], x), ValueError, r"index_fill: value .* \(2, 2\)"),
        (lambda x, i: x.index_fill(0, [0], 1.0), TypeError, "index_fill: index must be a Tensor"),
        (lambda x, i: x.index_copy(0, i[0], 1.0), TypeError, "index_copy: source must be a Tensor"),
        (lambda x, i: x.index_copy(0, i[0] - 1, x), IndexError, r"index_copy: .* \[0, 2\), got -1"),
        (lambda x, i: x.index_copy(0, i[0, 0], x[0]), ValueError, r"shape \(1, 2\), got \(2,\)"),
        (lambda x, i: x.masked_scatter([1], x), TypeError, "masked_scatter: mask must be a Tensor"),
        (lambda x, i: x.scatter(0, [0], 1.0), TypeError, "scatter: index must be a Tensor, got"),
        (lambda x, i: x.scatter(0, i, "a"), TypeError, "src must be a Tensor or a number, got str"),
        (lambda x, i: x.scatter(0, i, value="a"), TypeError, "value must be .* number, got str"),
        (lambda x, i: x.scatter(0, i, value=x), ValueError, r"value must be a number, got shape"),
        (lambda x, i: x.scatter(0, i, x.double()), TypeError, "src is float64, input float32"),
        (lambda x, i: x.scatter_(0, i, i), TypeError, "src is int64, input float32"),
        (lambda x, i: x.scatter(0, i, i, reduce="add"), TypeError, "src is int64, input float32"),
        (lambda x, i: x.scatter(0, i, x, value=2.0), TypeError, "must be given, got both"),
        (lambda x, i: x.scatter_(0, i, 1.0, value=2.0), TypeError, "must be given, got both"),
        (lambda x, i: x.scatter_reduce(0, i, 1.0, "sum"), TypeError, "src must be a Tensor, got f"),
        (
            lambda x, i: x[0].expand(2, 2).scatter_add_(0, i, x),
            ValueError,
            "^scatter_add_: elements of an expanded tensor share memory",
        ),
        (lambda x, i: x.index_copy(0, i[0], x[:1]), ValueError, r"shape \(2, 2\), got \(1, 2\)"),
        (lambda x, i: x.index_copy(0, i[0], x.long()), TypeError, "source is int64"),
        (lambda x, i: x.masked_scatter(i, x), TypeError, "mask must be bool, got int64"),
        (lambda x, i: x.masked_scatter(x > 0, x[0]), ValueError, "2 elements, the mask 4 places"),
        (lambda x, i: gs.where(x > 0, x), TypeError, "must both be given"),
        (lambda x, i: x.unfold(0, 3, 1), ValueError, r"size must lie in \[0, 2\], got 3"),
        (lambda x, i: x.unfold(0, 1, 0), ValueError, "step must be 1 or more, got 0"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(gs.ones(2, 2), gs.zeros(2, 2, dtype="int64"))
