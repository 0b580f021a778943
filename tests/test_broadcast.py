"""Binary ops whose one operand repeats: a row added to a matrix, a value for each channel."""

from __future__ import annotations

import gradsmith as gs
import numpy as np
import pytest

SHAPES = [
    ((8192, 10), (10,)),
    ((10001, 7), (1, 7)),
    ((4, 3), (3,)),  # too few for a run
    ((100, 3), (3,)),
    ((16, 48, 7, 7), (48, 1, 1)),
    ((9, 5, 3, 11), (5, 1, 11)),
    ((6, 40, 255), (40, 255)),
    ((6, 40, 256), (40, 1)),
    ((3, 50, 10), (10,)),  # the outermost dimension is short
    ((64, 1200, 30), (1200, 30)),  # a long period
]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("full", "part"), SHAPES)
def test_repeated_operands(full: tuple[int, ...], part: tuple[int, ...], threads: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(full), rng.standard_normal(part)
    before = gs.get_num_threads()
    try:
        gs.set_num_threads(threads)
        for dtype in (np.float32, np.float64):
            a, b = x.astype(dtype), y.astype(dtype)
            s, t = gs.from_numpy(a), gs.from_numpy(b)
            np.testing.assert_array_equal((s - t).numpy(), a - b)
            np.testing.assert_array_equal((t - s).numpy(), b - a)
            np.testing.assert_array_equal((s < t).numpy(), a < b)
            np.testing.assert_array_equal((t < s).numpy(), b < a)
        a, b = (x * 100).astype(np.int64), (y * 100).astype(np.int64)
        np.testing.assert_array_equal((gs.from_numpy(a) * gs.from_numpy(b)).numpy(), a * b)
        out = x.astype(np.float32)
        gs.kernels.sub(out, y.astype(np.float32), out=out)  # in place
        np.testing.assert_array_equal(out, x.astype(np.float32) - y.astype(np.float32))
    finally:
        gs.set_num_threads(before)
