"""Every op of the table against NumPy in float64: values, layouts, dtypes."""

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.testing import assert_close
from op_cases import CASES, LAYOUTS, call, expect, map_arrays, to_array


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
    before = map_arrays(sample.args, np.copy)
    call(case, sample, gs.float64)
    kept = map_arrays(sample.args, np.copy)
    map_arrays([before, kept], lambda a: a)
    for a, b in zip(_flat(before), _flat(kept), strict=True):
        np.testing.assert_array_equal(a, b)


def _flat(value):
    if isinstance(value, list | tuple):
        return [a for v in value for a in _flat(v)]
    return [value] if isinstance(value, np.ndarray) else []


def test_norm_does_not_overflow_on_the_way():
    x = gs.tensor([1e30, 1e30, 1e-30])
    assert gs.norm(x).item() == pytest.approx(2**0.5 * 1e30)
