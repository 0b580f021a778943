"""Every op of the table against NumPy in float64: values, layouts, dtypes."""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.testing import assert_close
from op_cases import CASES, LAYOUTS, arrays_of, call, expect, map_arrays, to_array


def compare(case, sample, dtype, results):
    expected = expect(case, sample, dtype)
    assert len(results) == len(expected)
    for y, e in zip(results, expected, strict=True):
        a = to_array(y)
        if a.dtype.kind == "f":
            with np.errstate(over="ignore"):
                e = e.astype(a.dtype)
            assert a.dtype == dtype.name
        else:
            assert a.dtype.kind == e.dtype.kind or e.dtype.kind == "f", "wrong kind of result"
        assert_close(a, e, **case.tolerance(dtype))


@pytest.mark.parametrize("dtype", [gs.float32, gs.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward(case, dtype):
    for i, sample in enumerate(case.draw()):
        try:
            compare(case, sample, dtype, call(case, sample, dtype))
        except AssertionError as e:
            raise AssertionError(f"sample {i}: {e}") from None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layouts(case, layout):
    """Strides change the path to a result, never the result beyond rounding."""
    for i, sample in enumerate(case.draw()):
        if not sample.layouts:
            continue
        try:
            compare(case, sample, gs.float32, call(case, sample, gs.float32, layout))
        except AssertionError as e:
            raise AssertionError(f"sample {i}: {e}") from None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_inputs_stay_unchanged(case):
    sample = next(s for s in case.draw() if s.size > 0)
    given = map_arrays([sample.args, list(sample.kwargs.values())], np.copy)
    args, values = map_arrays(given, gs.from_numpy)  # shares the memory of `given`
    case.op(*args, **dict(zip(sample.kwargs, values, strict=True)))
    before = arrays_of([sample.args, list(sample.kwargs.values())])
    for a, b in zip(before, arrays_of(given), strict=True):
        np.testing.assert_array_equal(a, b)


def test_norm_does_not_overflow_on_the_way():
    x = gs.tensor([1e30, 1e30, 1e-30])
    assert gs.norm(x).item() == pytest.approx(2**0.5 * 1e30)


@pytest.mark.parametrize("p", [0.5, 1.5, 3.0, -1.0])
@pytest.mark.parametrize("values", [[0.0, 0.0], [0.0, 2.0], [1.0, -2.0]])
def test_slope_of_norms_at_zero(p, values):
    x = gs.tensor(values, dtype="float64", requires_grad=True)
    norm = x.norm(p)
    norm.backward()
    a = np.array(values)
    with np.errstate(divide="ignore"):
        expected = (np.abs(a) ** p).sum() ** (1 / p)
    slope = np.zeros(2)
    if expected > 0:
        on = a != 0
        slope[on] = np.sign(a[on]) * (np.abs(a[on]) / expected) ** (p - 1)
    assert norm.item() == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=1e-14)


def test_slope_of_atan2_at_zero():
    x = gs.zeros(3, requires_grad=True)
    gs.atan2(x, x).sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_floor_divide_by_infinity():
    a = np.array([-1.0, 1.0, -1.0, 7.0, -7.0, 0.0, np.inf])
    b = np.array([np.inf, np.inf, -np.inf, 2.0, 2.0, -3.0, 2.0])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal((gs.tensor(a) // gs.tensor(b)).numpy(), a // b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floor_divide_where_a_half_cannot_be_added(dtype):
    first = 2.0 ** (23 if dtype == "float32" else 52)
    a = gs.tensor([first + 1, first + 2, 2 * first - 1, -first - 1]).to(getattr(gs, dtype))
    assert gs.equal(a // 1, a)


def test_logsumexp_of_nothing():
    assert gs.logsumexp(gs.zeros(2, 0), 1).tolist() == [-np.inf, -np.inf]
    assert gs.logsumexp(gs.zeros(2, 0), 1, keepdim=True).shape == (2, 1)
    assert gs.logsumexp(gs.zeros(0, 2), 1).shape == (0,)


def test_numpys_names_of_arguments():
    x = gs.arange(6.0).reshape(2, 3)
    assert x.sum(axis=1, keepdims=True).tolist() == [[3.0], [12.0]]
    assert gs.softmax(x, axis=0).shape == (2, 3)


def test_arrays_in_products():
    a, x = np.arange(6, dtype=np.float32).reshape(2, 3), gs.ones(3)
    assert (a @ x).tolist() == [3.0, 12.0]
    assert (gs.ones(2) @ a).tolist() == [3.0, 5.0, 7.0]


@pytest.mark.parametrize(
    "name", ["relu", "relu6", "selu", "silu", "mish", "hardsigmoid", "hardswish", "elu"]
)
def test_functional_takes_inplace(name):
    op = getattr(gs.nn.functional, name)
    x = gs.tensor([-1.0, 2.0])
    assert op(x, inplace=True).tolist() == op(x).tolist()
    assert x.tolist() == [-1.0, 2.0]
