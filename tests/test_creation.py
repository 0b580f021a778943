"""Tensors out of nothing, random numbers, casts and type promotion."""

import itertools

import gradsmith as gs
import numpy as np
import pytest

FLOATS = ["float32", "float64", "bfloat16", "float16"]
DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


def dtype(name):
    return getattr(gs._core, name)


@pytest.mark.parametrize("name", [*DTYPES, "bfloat16", "float16"])
def test_constants(name):
    for shape in ((), (3,), (2, 3), (0, 4)):
        assert gs.zeros(shape, dtype=name).shape == shape
        assert (gs.ones(shape, dtype=name) == 1).all().item()
        assert gs.empty(shape, dtype=name).dtype is dtype(name)
    assert gs.zeros(2, 3, dtype=name).tolist() == [[0] * 3] * 2
    assert gs.eye(2, 3, dtype=name).tolist() == np.eye(2, 3).tolist()
    x = gs.ones(2, dtype=name)
    for like in (gs.zeros_like, gs.ones_like, gs.empty_like):
        assert like(x).dtype is x.dtype and like(x).shape == (2,)
    assert gs.zeros_like(x, dtype=gs.float64).dtype is gs.float64


def test_full_takes_the_dtype_of_the_value():
    assert gs.full((2,), 1.5).dtype is gs.float32
    assert gs.full((2,), 3).tolist() == [3, 3]
    assert gs.full((2,), True).dtype is gs._core.bool
    assert gs.full((), 2.0, dtype=gs.int32).item() == 2
    assert gs.full_like(gs.zeros(2), 7).tolist() == [7.0, 7.0]


@pytest.mark.parametrize(
    "args", [(5,), (2, 7), (0, 10, 3), (5, 0, -2), (3, 3), (0, 1, 0.1), (-1.5, 2.0, 0.5)]
)
def test_arange(args):
    floats = any(isinstance(a, float) for a in args)
    got = gs.arange(*args, dtype="float64" if floats else "int64")
    np.testing.assert_allclose(got.numpy(), np.arange(*args), rtol=1e-15, atol=1e-15)


def test_any_integer_is_a_seed():
    gs.manual_seed(-1)
    a = gs.rand(3).tolist()
    gs.manual_seed(2**64 - 1)
    assert gs.rand(3).tolist() == a


def test_arange_takes_the_dtype_of_its_arguments():
    assert gs.arange(3).dtype == gs.int64
    assert gs.arange(0, 3.0).dtype == gs.float32
    assert gs.arange(0, 1, 0.25).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert gs.arange(3.0, dtype="int64").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda **k: gs.zeros(2, **k),
        lambda **k: gs.arange(3.0, **k),
        lambda **k: gs.randn(2, 3, **k),
        lambda **k: gs.eye(2, **k),
        lambda **k: gs.full_like(gs.zeros(2), 3.0, **k),
    ],
)
def test_requires_grad(make):
    assert make(requires_grad=True).requires_grad
    assert not make().requires_grad
    with pytest.raises(TypeError, match=r"requires_grad.*int64"):
        gs.zeros(2, dtype="int64", requires_grad=True)


def test_rounding_keeps_integers():
    x = gs.tensor([2**24 + 1, -7])
    for op in (gs.floor, gs.ceil, gs.round, gs.trunc):
        got = op(x)
        assert got.dtype == gs.int64
        assert got.tolist() == x.tolist()


def test_where_of_two_numbers():
    condition = gs.tensor([True, False])
    assert gs.where(condition, 1.0, 0.0).dtype == gs.float32
    assert gs.where(condition, 1, 0).dtype == gs.int64
    assert gs.where(condition, 1.5, 0).tolist() == [1.5, 0.0]


@pytest.mark.parametrize("args", [(0, 1, 5), (-2, 3, 1), (1, 1, 3), (0, 1, 0), (5, -5, 101)])
def test_linspace(args):
    got = gs.linspace(*args, dtype="float64")
    np.testing.assert_allclose(got.numpy(), np.linspace(*args), rtol=1e-14, atol=1e-15)


# ---- random numbers: seeded, so that the bounds below are no gamble ----

N = 200_000


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_uniform_and_normal(name):
    gs.manual_seed(3)
    u = gs.rand(N, dtype=name).numpy()
    assert u.dtype == name and u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 0.005 and abs(u.var() - 1 / 12) < 0.002
    n = gs.randn(N, dtype=name).numpy().astype(np.float64)
    assert abs(n.mean()) < 0.01 and abs(n.std() - 1) < 0.01
    assert abs((n**3).mean()) < 0.05 and abs((n**4).mean() - 3) < 0.1
    assert np.abs(n).max() > 4
    x = gs.empty(N, dtype=name).uniform_(-3, 5).numpy()
    assert x.min() >= -3 and x.max() < 5 and abs(x.mean() - 1) < 0.03
    y = gs.empty(N, dtype=name).normal_(2, 0.5).numpy()
    assert abs(y.mean() - 2) < 0.01 and abs(y.std() - 0.5) < 0.01


def test_integers_and_permutations():
    gs.manual_seed(3)
    x = gs.randint(-2, 5, (N,)).numpy()
    counts = np.bincount(x + 2)
    assert len(counts) == 7 and np.abs(counts / N - 1 / 7).max() < 0.005
    assert gs.randint(3, (4, 2)).shape == (4, 2)
    p = gs.randperm(1000).numpy()
    assert sorted(p) == list(range(1000)) and (p != np.arange(1000)).mean() > 0.9
    b = gs.zeros(N).bernoulli_(0.3).numpy()
    assert set(np.unique(b)) == {0.0, 1.0} and abs(b.mean() - 0.3) < 0.005
    assert gs.randperm(0).shape == (0,) and gs.rand(0, 3).shape == (0, 3)


def test_dropout():
    gs.manual_seed(3)
    x = gs.ones(N).requires_grad_()
    y = gs.dropout(x, 0.25)
    values = y.detach().numpy()
    assert set(np.unique(values)) == {0.0, np.float32(1 / 0.75)}
    assert abs((values == 0).mean() - 0.25) < 0.005
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), values)  # the same mask
    assert (gs.dropout(x, 0.25) - y).abs().sum().item() > 0


def test_seeds_and_state():
    def draw():
        return [gs.rand(5).tolist(), gs.randn(7).tolist(), gs.randperm(9).tolist()]

    gs.manual_seed(1)
    first = draw()
    state = gs.get_rng_state()
    second = draw()
    assert first != second
    gs.set_rng_state(state)
    assert draw() == second
    gs.manual_seed(1)
    assert draw() == first
    gs.manual_seed(2)
    assert draw() != first


# ---- casts and promotion ----


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)))
def test_casts(a, b):
    values = np.array([0, 1, 2, 100]).astype(a)
    got = gs.from_numpy(values).to(dtype(b))
    np.testing.assert_array_equal(got.numpy(), values.astype(b))
    x = gs.from_numpy(values)
    assert (x.to(dtype(a)) is x) and x.to(x.dtype, copy=True).data_ptr() != x.data_ptr()


def test_named_casts():
    x = gs.tensor([0.0, 1.5, -2.5])
    names = {"float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16",
             "long": "int64", "int": "int32", "bool": "bool"}  # fmt: skip
    for method, name in names.items():
        assert getattr(x, method)().dtype is dtype(name)
    assert x.long().tolist() == [0, 1, -2]
    assert x.bool().tolist() == [False, True, True]


def test_half_types_round_to_nearest_even():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    values[:6] = [np.inf, -np.inf, np.nan, 1e-40, 65519, 65520]
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    np.testing.assert_array_equal(gs.from_numpy(values).half().numpy(), half)
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32)
    expected = rounded.view(np.float32)
    got = gs.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(got, np.where(np.isnan(values), np.nan, expected))


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_half_types_compute_in_float32(name):
    a = gs.from_numpy(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32))
    h = a.to(dtype(name))
    for op in (gs.exp, gs.tanh, gs.gelu, lambda x: x + x, lambda x: x @ x.t(), gs.sum, gs.relu):
        got = op(h)
        assert got.dtype is dtype(name)
        expected = op(h.float()).to(dtype(name)).float().numpy()
        np.testing.assert_array_equal(got.float().numpy(), expected)
    x = h.detach().requires_grad_()
    gs.exp(x).sum().backward()
    assert x.grad.dtype is dtype(name)


# Categories as in PyTorch: bool < integers < floating point; Python numbers count by category.
ORDER = ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"]


@pytest.mark.parametrize(("a", "b"), list(itertools.product(ORDER, ORDER)))
def test_promotion_of_tensors(a, b):
    expected = ORDER[max(ORDER.index(a), ORDER.index(b))]
    x, y = gs.ones(2, dtype=a), gs.ones(2, dtype=b)
    assert (x + y).dtype.name == ("bool" if expected == "bool" else expected)
    assert (x == y).dtype is gs._core.bool
    if expected not in ("bool",):
        division = expected if expected.startswith("float") else "float32"
        assert (x / y).dtype.name == division


def test_promotion_of_half_types():
    x, y = gs.ones(2, dtype="bfloat16"), gs.ones(2, dtype="float16")
    assert (x + y).dtype is gs.float32
    assert (x + gs.ones(2, dtype="int64")).dtype is gs.bfloat16


@pytest.mark.parametrize("name", ["uint8", "int32", "int64", "float32", "float64", "bfloat16"])
def test_numbers_keep_the_dtype(name):
    x = gs.ones(2, dtype=name)
    floating = x.dtype.is_floating_point
    assert (x + 1).dtype is x.dtype and (2 * x).dtype is x.dtype
    assert (x + True).dtype is x.dtype
    assert (x + 1.5).dtype is (x.dtype if floating else gs.float32)
    assert (x + np.float64(1.5)).dtype is (x.dtype if floating else gs.float32)
    assert (x + gs.tensor(1.5, dtype="float64")).dtype is (x.dtype if floating else gs.float64)


@pytest.mark.parametrize("name", ["int64", "int32", "uint8"])
def test_integer_arithmetic(name):
    rng = np.random.default_rng(0)
    low = 0 if name == "uint8" else -50
    a = rng.integers(low, 100, (3, 17)).astype(name)
    b = rng.integers(1, 12, 17).astype(name)
    x, y = gs.from_numpy(a), gs.from_numpy(b)
    for got, expected in (
        (x + y, a + b),
        (x - y, a - b),
        (x * y, a * b),
        (x // y, a // b),
        (x % y, a % b),
        (gs.maximum(x, y), np.maximum(a, b)),
        (gs.minimum(x, y), np.minimum(a, b)),
        (x < y, a < b),
        (x != y, a != b),
        (gs.amax(x, 1), a.max(1)),
        (gs.argmax(x, 1), a.argmax(1)),
        (abs(x), abs(a)),
        (gs.clamp(x, 3, 20), a.clip(3, 20)),
    ):
        np.testing.assert_array_equal(got.numpy(), expected)
    assert gs.sum(x).dtype is gs.int64 and gs.sum(x).item() == a.sum(dtype=np.int64)
    np.testing.assert_array_equal(gs.cumsum(x, 1).numpy(), a.cumsum(1, dtype=np.int64))
    np.testing.assert_allclose((x / y).numpy(), a / b, rtol=1e-6)


@pytest.mark.parametrize("name", ["int64", "int32", "uint8"])
def test_integer_division_by_zero_does_not_kill_the_process(name):
    x, zero = gs.ones(3, dtype=name), gs.zeros(3, dtype=name)
    for op in (lambda: x // zero, lambda: x % zero):
        with pytest.raises(ValueError, match="integers cannot be divided by 0"):
            op()
    lowest = gs.full((3,), np.iinfo(name).min, dtype=name)
    if name != "uint8":
        lowest // gs.full((3,), -1, dtype=name)
        lowest % gs.full((3,), -1, dtype=name)


def test_operators_with_numbers_on_the_left():
    x = gs.tensor([1.0, 2.0])
    assert (1 - x).tolist() == [0.0, -1.0]
    assert (2 / x).tolist() == [2.0, 1.0]
    assert (2**x).tolist() == [2.0, 4.0]
    assert (3 // x).tolist() == [3.0, 1.0]
    assert (3 % x).tolist() == [0.0, 1.0]
    assert (1 < x).tolist() == [False, True]  # noqa: SIM300
    assert (np.float32(2) * x).tolist() == [2.0, 4.0]
    assert (-x).tolist() == [-1.0, -2.0] and (~gs.tensor([True])).tolist() == [False]
    assert float(x.sum()) == 3.0 and int(x.sum()) == 3 and bool(x.sum())
    with pytest.raises(TypeError):
        x + "1"
    with pytest.raises(TypeError):
        x * {}


def test_fills_are_exact():
    big = 2**53 + 1
    assert gs.full((2,), big, dtype="int64").tolist() == [big, big]
    assert gs.full((1,), 2**63 - 1, dtype="int64").item() == 2**63 - 1
    assert gs.zeros(1, dtype="int64").fill_(-big).item() == -big
    assert gs.full((1,), gs.tensor(2.5), dtype="int64").item() == 2  # cut off, as in a cast


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(256, "uint8"), (-1, "uint8"), (2**31, "int32"), (-(2**31) - 1, "int32"), (1e19, "int64")]
    + [(float(v), d) for v in ("nan", "inf", "-inf") for d in ("uint8", "int32", "int64")],
)
def test_fills_that_do_not_fit(value, dtype):
    with pytest.raises(ValueError, match=f"full.*fill_value.*{dtype}"):
        gs.full((2,), value, dtype=dtype)
    x = gs.ones(2, dtype=dtype)
    with pytest.raises(ValueError, match=f"fill_.*value.*{dtype}"):
        x.fill_(value)
    assert x.tolist() == [1, 1]


def test_uniform_over_more_than_the_type_holds():
    with pytest.raises(ValueError, match="uniform_"):
        gs.empty(3).uniform_(-3e38, 3e38)
    assert gs.empty(100, dtype="float64").uniform_(-3e38, 3e38).abs().max().item() > 1e38
