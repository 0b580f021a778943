"""Every instruction set this machine can run gives what the reference gives, within bounds."""

import os
import subprocess
import sys

import gradsmith as gs
import numpy as np
import pytest
from gradsmith.testing import assert_close
from op_cases import CASES, call, map_arrays, to_array

TARGETS = [t for t in gs._core.supported_targets() if t != "reference"]


@pytest.fixture
def target():
    before = gs._core.get_target()
    yield gs._core.set_target
    gs._core.set_target(before)


def results(case, dtype, with_gradients):
    """Outputs of all samples, and the gradients of those that have one."""
    out = []
    for sample in case.draw():
        arrays = [to_array(y) for y in call(case, sample, dtype)]
        out.append(arrays)
        if with_gradients and sample.grad and sample.size:
            out.append(gradients(case, sample, dtype))
    return out


def gradients(case, sample, dtype):
    leaves = []

    def tensor(a):
        if a.dtype.kind != "f":
            return gs.from_numpy(a)
        leaves.append(gs.tensor(a, dtype=dtype, requires_grad=True))
        return leaves[-1]

    y = case.op(*map_arrays(sample.args, tensor), **map_arrays(sample.kwargs, tensor))
    ys = [v for v in (y if isinstance(y, list | tuple) else [y]) if v.requires_grad]
    if not ys:
        return []
    sum(((v * v).sum() for v in ys), gs.zeros((), dtype=dtype)).backward()
    return [x.grad.numpy() for x in leaves if x.grad is not None]


@pytest.mark.parametrize("dtype", [gs.float32, gs.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_targets_agree(case, dtype, target):
    target("reference")
    expected = results(case, dtype, case.grad)
    bounds = case.tolerance(dtype)
    # A gradient goes through several kernels: each adds its rounding.
    loose = {"rtol": 50 * bounds["rtol"], "atol": max(50 * bounds["atol"], 10 * bounds["rtol"])}
    for name in TARGETS:
        target(name)
        got = results(case, dtype, case.grad)
        for k, (mine, wanted) in enumerate(zip(got, expected, strict=True)):
            for y, e in zip(mine, wanted, strict=True):
                assert y.dtype == e.dtype
                try:
                    assert_close(y, e, **(loose if case.grad else bounds))
                except AssertionError as error:
                    raise AssertionError(f"{name}, result {k}: {error}") from None


def test_targets_are_listed_best_first():
    targets = gs._core.supported_targets()
    assert targets[-1] == "reference" and "scalar" in targets
    assert gs._core.get_target() in targets


@pytest.mark.parametrize("name", gs._core.supported_targets())
def test_environment_variable(name):
    code = "import gradsmith as gs; print(gs._core.get_target(), gs.exp(gs.zeros(9)).sum().item())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GRADSMITH_TARGET": name},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout.split() == [name, "9.0"]


def test_unknown_target_in_the_environment():
    result = subprocess.run(
        [sys.executable, "-c", "import gradsmith as gs; gs.exp(gs.zeros(1))"],
        env={**os.environ, "GRADSMITH_TARGET": "sse9"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode in (0, 1)  # never a crash
    assert "sse9" in result.stderr and "scalar" in result.stderr


def test_every_kernel_has_a_reference_and_a_portable_row():
    rows = gs._core.list_kernels()
    assert len(rows) > 100
    for family, op, dtype, targets in rows:
        assert "reference" in targets, (family, op, dtype)
        assert "scalar" in targets, (family, op, dtype)


def test_wide_results_are_the_same_bits_for_any_offset():
    """Where a vector starts must not change an element: tails run the same arithmetic."""
    x = np.random.default_rng(0).normal(size=100).astype(np.float32)
    whole = gs.exp(gs.from_numpy(x)).numpy()
    for start in range(17):
        part = gs.exp(gs.from_numpy(x[start : start + 20])).numpy()
        assert part.tobytes() == whole[start : start + 20].tobytes()
