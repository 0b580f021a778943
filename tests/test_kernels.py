"""gs.kernels: values against NumPy, `out=` without a copy, errors, targets, the GIL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import gradsmith as gs
import numpy as np
import pytest
from gradsmith import kernels

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def close(a: np.ndarray, b: np.ndarray, tol: float = 2e-5) -> None:
    assert isinstance(a, np.ndarray)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


# ---- values ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m,n,k", [(1, 1, 1), (3, 5, 7), (64, 33, 40), (0, 4, 3), (4, 3, 0)])
def test_gemm_takes_any_strides(m: int, n: int, k: int, dtype: type) -> None:
    a, b = normal(m, k, dtype=dtype), normal(k, n, dtype=dtype)
    want = a.astype(np.float64) @ b.astype(np.float64)
    close(kernels.gemm(a, b), want, 1e-4)
    at, bt = np.ascontiguousarray(a.T).T, np.ascontiguousarray(b.T).T
    close(kernels.gemm(at, bt), want, 1e-4)
    close(kernels.gemm(a[::-1], b[:, ::-1]), want[::-1, ::-1], 1e-4)
    out = np.full((n, m), 2, dtype).T
    bias = normal(n, dtype=dtype)
    got = kernels.gemm(a, b, out, alpha=0.5, beta=3, bias=bias, activation="relu")
    assert got is out
    close(out, np.maximum(0.5 * want + 6 + bias, 0), 1e-4)


def test_gemm_batches_and_broadcasts_them() -> None:
    a, b = normal(5, 6, 7), normal(7, 3)
    close(kernels.gemm(a, b), a @ b, 1e-4)
    close(kernels.gemm(b.T, np.swapaxes(a, 1, 2)), b.T @ np.swapaxes(a, 1, 2), 1e-4)
    rows = normal(6, 1)
    close(kernels.matmul(a, b, bias=rows, residual=a[:, :, :3]), a @ b + rows + a[:, :, :3], 1e-4)


NUMPY_UNARY = {
    "neg": np.negative, "abs": np.abs, "sign": np.sign, "square": np.square, "sqrt": np.sqrt,
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "sin": np.sin,
    "cos": np.cos, "tanh": np.tanh, "floor": np.floor, "ceil": np.ceil, "round": np.round,
    "isnan": np.isnan, "isfinite": np.isfinite, "logical_not": np.logical_not,
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY_UNARY)
def test_unary_kernels(name: str) -> None:
    x = np.abs(normal(7, 9)) + 0.1
    kernel = getattr(kernels, name)
    close(kernel(x), NUMPY_UNARY[name](x))
    close(kernel(x.T[::-1, ::2]), NUMPY_UNARY[name](x.T[::-1, ::2]))
    out = np.empty_like(kernel(x))
    assert kernel(x, out=out) is out
    close(out, NUMPY_UNARY[name](x))


NUMPY_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
    "maximum": np.maximum, "minimum": np.minimum, "atan2": np.arctan2, "eq": np.equal,
    "lt": np.less, "ge": np.greater_equal, "floor_divide": np.floor_divide,
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY_BINARY)
def test_binary_kernels_broadcast(name: str) -> None:
    a, b = np.abs(normal(4, 1, 5)), np.abs(normal(3, 1)) + 0.1
    close(getattr(kernels, name)(a, b), NUMPY_BINARY[name](a, b))


def test_every_listed_name_runs() -> None:
    x = np.abs(normal(3)) / 4 + 0.1
    integer = np.arange(3, dtype=np.int64)
    for name in [*kernels.UNARY, *kernels.BINARY, *kernels.GRADIENTS, *kernels.REDUCTIONS]:
        operand = integer if name.startswith("bitwise") else x
        arguments = (operand,) * (2 if name in [*kernels.BINARY, *kernels.GRADIENTS] else 1)
        getattr(kernels, name)(*arguments)
    # and nothing that the elementwise family has is left out
    extra = {"clamp", "leaky_relu", "elu", "softplus", "copy_elements", "where_elements",
             "transpose_tile", "ramp"}  # fmt: skip
    known = {*kernels.UNARY, *kernels.BINARY, *kernels.GRADIENTS, *extra}
    rows = {row.op for row in kernels.list() if row.family == "elementwise"}
    assert {op for op in rows if not op.startswith("cast_to_")} == known


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "var", "std"])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
def test_reductions(name: str, axis: int | tuple[int, ...] | None) -> None:
    x = normal(3, 4, 5)
    keywords = {"ddof": 1} if name in ("var", "std") else {}
    want = getattr(np, name)(x.astype(np.float64), axis=axis, **keywords)
    close(getattr(kernels, name)(x, axis), np.asarray(want))
    turned = x.transpose(2, 0, 1)[:, ::-1]
    got = getattr(kernels, name)(turned, axis, keepdims=True)
    close(got, getattr(np, name)(turned.astype(np.float64), axis=axis, keepdims=True, **keywords))


def test_arg_reductions_and_cumsum() -> None:
    x = normal(3, 4)
    np.testing.assert_array_equal(kernels.argmax(x, 1), x.argmax(1))
    np.testing.assert_array_equal(kernels.argmin(x), x.argmin())
    close(kernels.cumsum(x, 0), x.cumsum(0))
    counts = kernels.cumsum(np.ones(5, np.uint8))
    assert counts.dtype == np.int64
    assert counts.tolist() == [1, 2, 3, 4, 5]


def test_copy_casts_and_broadcasts() -> None:
    x = np.array([1.75, -2.5], np.float32)
    assert kernels.copy(x, dtype=gs.int32).tolist() == [1, -2]
    out = np.zeros((3, 2), np.float64)
    assert kernels.copy(x, out) is out
    close(out, np.broadcast_to(x, (3, 2)).astype(np.float64))
    assert kernels.where(x > 0, x, kernels.neg(x)).tolist() == [1.75, 2.5]
    assert kernels.clamp(x, -1, 1).tolist() == [1, -1]


def test_softmax_and_norms() -> None:
    x = normal(4, 6, 5)
    e = np.exp(x - x.max(1, keepdims=True))
    y = e / e.sum(1, keepdims=True)
    close(kernels.softmax(x, 1), y)
    close(kernels.log_softmax(x, 1), np.log(y))
    g = normal(4, 6, 5)
    close(kernels.softmax_backward(y, g, 1), y * (g - (g * y).sum(1, keepdims=True)))
    w, b = normal(5), normal(5)
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    close(kernels.layer_norm(x, w, b), (x - mean) / np.sqrt(var + 1e-5) * w + b)
    close(kernels.rms_norm(x, w), x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * w)
    mean, var = kernels.batch_norm_stats(x)
    close(mean, x.mean((0, 2)))
    close(var, x.var((0, 2)))
    want = (x - mean[:, None]) / np.sqrt(var[:, None] + 1e-5)
    close(kernels.batch_norm(x, mean, var), want)


def conv_by_loops(x: np.ndarray, w: np.ndarray, stride: int, padding: int) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    height = (x.shape[2] - w.shape[2]) // stride + 1
    width = (x.shape[3] - w.shape[3]) // stride + 1
    y = np.empty((x.shape[0], w.shape[0], height, width))
    for p in range(height):
        for q in range(width):
            window = x[:, :, p * stride :, q * stride :][:, :, : w.shape[2], : w.shape[3]]
            y[:, :, p, q] = np.tensordot(window, w, ([1, 2, 3], [1, 2, 3]))
    return y


def test_convolution_and_its_adjoints() -> None:
    x, w, b = (normal(*s, dtype=np.float64) for s in [(2, 3, 7, 8), (4, 3, 3, 2), (4,)])
    y = conv_by_loops(x, w, 2, 1)
    close(kernels.conv2d(x, w, b, 2, 1), y + b[:, None, None])
    dy = normal(*y.shape, dtype=np.float64)
    dx = kernels.conv2d_input_grad(dy, w, x.shape, 2, 1)
    dw = kernels.conv2d_weight_grad(dy, x, w.shape, 2, 1)
    assert np.vdot(dy, y) == pytest.approx(np.vdot(dx, x)) == pytest.approx(np.vdot(dw, w))


def test_pooling() -> None:
    x = normal(2, 3, 6, 4)
    windows = x.reshape(2, 3, 3, 2, 2, 2).swapaxes(3, 4).reshape(2, 3, 3, 2, 4)
    indices = np.empty((2, 3, 3, 2), np.int64)
    close(kernels.max_pool2d(x, 2, indices=indices), windows.max(-1))
    planes = x.reshape(2, 3, 24)
    close(np.take_along_axis(planes, indices.reshape(2, 3, 6), 2), windows.max(-1).reshape(2, 3, 6))
    close(kernels.avg_pool2d(x, 2), windows.mean(-1))


def test_lstm_runs_the_whole_sequence() -> None:
    steps, batch, size, hidden = 5, 3, 4, 6
    x, w_ih, w_hh = normal(steps, batch, size), normal(4 * hidden, size), normal(4 * hidden, hidden)
    b_ih, b_hh = normal(4 * hidden), normal(4 * hidden)
    h, c = normal(batch, hidden), normal(batch, hidden)
    y, h_last, c_last = kernels.lstm(x, w_ih, w_hh, b_ih, b_hh, h, c)
    for t in range(steps):
        gates = np.split(x[t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gates[k])) for k in (0, 1, 3))
        c = f * c + i * np.tanh(gates[2])
        h = o * np.tanh(c)
        close(y[t], h, 1e-4)
    close(h_last, h, 1e-4)
    close(c_last, c, 1e-4)


def test_dropout_is_reproducible() -> None:
    x = np.ones(10000, np.float32)
    y, mask = kernels.dropout(x, 0.25, seed=7)
    again, _ = kernels.dropout(x, 0.25, seed=7)
    np.testing.assert_array_equal(y, again)
    assert mask.dtype == bool
    assert 0.73 < mask.mean() < 0.77
    close(y, np.where(mask, np.float32(1 / 0.75), 0).astype(np.float32))


def test_optimizer_steps_write_in_place() -> None:
    p, g = normal(10), normal(10)
    want = p - 0.1 * g
    kernels.sgd_step(p, g, lr=0.1)
    close(p, want)
    m, v = np.zeros_like(p), np.zeros_like(p)
    before = p.copy()
    kernels.adam_step(p, g, m, v, 1, lr=0.01)
    close(m, 0.1 * g)
    close(v, 0.001 * g * g)
    close(p, before - 0.01 * g / (np.abs(g) + 1e-8))


# ---- memory ----


def test_out_is_the_callers_memory_and_inputs_are_not_copied() -> None:
    memory = np.zeros((4, 10), np.float32)
    x = normal(4, 5)
    out = memory[:, ::2]
    assert kernels.exp(x, out=out) is out
    close(memory[:, ::2], np.exp(x))
    assert not memory[:, 1::2].any()
    in_place = x.copy()
    kernels.mul(in_place, in_place, out=in_place)
    close(in_place, x * x)
    # 64 MB are read without 64 MB more being allocated
    big = np.zeros(1 << 24, np.float32)
    before = gs._core.memory_stats()["in_use_bytes"]
    kernels.abs(big, out=big)
    assert gs._core.memory_stats()["in_use_bytes"] - before < 1 << 20


def test_arrays_are_borrowed_for_the_call_only() -> None:
    a, b, out = normal(5, 3), normal(3, 4), np.full((5, 4), np.nan, np.float32)
    before = [sys.getrefcount(x) for x in (a, b, out)]
    assert kernels.gemm(a, b, out) is out
    with pytest.raises(ValueError, match="columns"):
        kernels.gemm(a, a, out)
    y = kernels.gemm(a, b)
    assert [sys.getrefcount(x) for x in (a, b, out)] == before
    del a, b
    close(y, out, 0)


def test_new_results_are_of_the_first_arguments_kind() -> None:
    x = normal(3)
    assert isinstance(kernels.exp(x), np.ndarray)
    tensor = gs.from_numpy(x)
    assert isinstance(kernels.exp(tensor), gs.Tensor)
    out = gs.zeros(3)
    assert kernels.add(tensor, x, out=out) is out
    close(out.numpy(), 2 * x)


def test_unaligned_and_read_only_inputs() -> None:
    raw = np.zeros(4 * 5 + 1, np.uint8)
    odd = raw[1:].view(np.float32)
    odd[:] = 3
    assert kernels.square(odd).tolist() == [9] * 5
    with pytest.raises(ValueError, match="exp: argument 'out' is not aligned"):
        kernels.exp(np.ones(5, np.float32), out=odd)
    fixed = np.ones(3, np.float32)
    fixed.flags.writeable = False
    assert kernels.neg(fixed).tolist() == [-1] * 3
    with pytest.raises(ValueError, match="exp: argument 'out' is read-only"):
        kernels.exp(fixed, out=fixed)


@pytest.mark.torch
def test_torch_tensors_share_memory() -> None:
    torch = pytest.importorskip("torch")
    a, b = torch.randn(8, 5), torch.randn(5, 3)
    out = torch.empty(8, 3)
    assert kernels.gemm(a, b, out=out) is out
    torch.testing.assert_close(out, a @ b)
    new = kernels.gemm(a, b.numpy())
    torch.testing.assert_close(torch.from_dlpack(new), a @ b)


# ---- errors ----


F32, F64 = np.ones((2, 3), np.float32), np.ones((2, 3))


@pytest.mark.parametrize(
    "call,error,text",
    [
        (lambda: kernels.exp([1.0]), TypeError, "argument 'x' must be a NumPy array"),
        (lambda: kernels.exp(None), TypeError, "must not be None"),
        (lambda: kernels.exp(np.ones(2, np.int64)), TypeError, "int64, which has no kernel"),
        (lambda: kernels.exp(np.ones(2, np.complex64)), TypeError, "format"),
        (lambda: kernels.add(F32, F64), TypeError, "'b' must be float32, got float64"),
        (lambda: kernels.add(F32, F32.T), ValueError, "(2, 3) and (3, 2)"),
        (lambda: kernels.exp(F32, out=F64), TypeError, "'out' must be float32, got float64"),
        (lambda: kernels.exp(F32, out=F32[0].copy()), ValueError, "(2, 3), got (3,)"),
        (lambda: kernels.gemm(F32, F32), ValueError, "3 columns, 'b' 2 rows"),
        (lambda: kernels.gemm(F32[0], F32), ValueError, "rank 2, or 3"),
        (lambda: kernels.gemm(F32, F32.T, beta=1), ValueError, "needs 'out'"),
        (lambda: kernels.gemm(F32, F32.T, activation="rel"), ValueError, "is 'rel', allowed"),
        (lambda: kernels.gemm(F32, F32.T, bias=F32), ValueError, "broadcast"),
        (lambda: kernels.sum(F32, 2), IndexError, "sum"),
        (lambda: kernels.sum(F32, (0, 0)), ValueError, "names dimension 0 twice"),
        (lambda: kernels.max(F32[:0]), ValueError, "nothing to reduce"),
        (lambda: kernels.softmax(F32.T), ValueError, "C-contiguous"),
        (lambda: kernels.conv2d(F32, F32), ValueError, "rank 4"),
        (lambda: kernels.dropout(F32, 1.5), ValueError, "[0, 1], got 1.5"),
        (lambda: kernels.adam_step(F32, F32, F32, F32, 1), ValueError, "overlaps"),
    ],
)  # fmt: skip
def test_bad_arguments(call, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


def test_overlapping_out_is_refused() -> None:
    x = normal(10)
    with pytest.raises(ValueError, match="overlaps an input without being exactly it"):
        kernels.exp(x[:5], out=x[1:6])
    square = normal(4, 4)
    with pytest.raises(ValueError, match="gemm: argument 'out' overlaps"):
        kernels.gemm(square, square, out=square)
    spread = np.lib.stride_tricks.as_strided(x, (3, 3), (4, 4))
    with pytest.raises(ValueError, match="share memory"):
        kernels.exp(normal(3, 3), out=spread)
    images = normal(1, 2, 5, 5)
    for bad in ({"stride": 0}, {"padding": -1}, {"dilation": 0}, {"groups": 3}, {"dilation": 9}):
        with pytest.raises(ValueError, match="conv2d"):
            kernels.conv2d(images, normal(2, 2, 3, 3), **bad)


# ---- targets, threads ----


def test_list_and_targets() -> None:
    rows = kernels.list()
    assert kernels.Row("gemm", "gemm_block", "float32", rows[0].targets)[:3] in {
        r[:3] for r in rows
    }
    assert kernels.targets()[-1] == "reference"
    before = kernels.get_target()
    a, b = normal(20, 30), normal(30, 10)
    for target in kernels.targets():
        with kernels.use_target(target):
            assert kernels.get_target() == target
            close(kernels.gemm(a, b), a @ b, 1e-4)
    assert kernels.get_target() == before
    with pytest.raises(ValueError, match="unknown target 'mmx'"):
        kernels.set_target("mmx")
    with pytest.raises(ValueError, match="mmx"), kernels.use_target("mmx"):
        pass
    assert kernels.get_target() == before


def test_explain_says_which_way_was_taken() -> None:
    (square,) = kernels.explain("gemm", normal(300, 200), normal(200, 400), measure=True)
    assert square.op == "gemm" and square.path == "blocks" and square.flops == 2 * 300 * 200 * 400
    assert square.target == kernels.get_target() and square.sizes["block_depth"] == 200
    assert square.seconds is not None and square.share_of_peak is not None
    assert "MFLOP" in str(square) and "of the peak" in str(square)
    if kernels.get_target() == "avx2":
        (few,) = kernels.explain("gemm", normal(3, 300), normal(300, 3000))
        assert few.path.startswith("few rows") and few.sizes["depth_step"] == 8
        (vector,) = kernels.explain("gemm", normal(1, 300), normal(3000, 300).T)
        assert "gemv_dot" in vector.path
    with kernels.use_target("scalar"):
        (plain,) = kernels.explain("gemm", normal(30, 20), normal(20, 40))
    targets = kernels.targets()
    others = targets[targets.index(gs._core.best_target()) : targets.index("scalar")]
    assert {f"not {name}: scalar was asked for" for name in others} <= set(plain.reasons)
    if "GRADSMITH_TARGET" not in os.environ:
        assert not any("was asked for" in reason for reason in square.reasons)
    x, w = normal(4, 64, 28, 28), normal(64, 64, 3, 3)
    (conv,) = kernels.explain("conv2d", x, w, padding=1)
    assert conv.path.startswith("Winograd") and conv.seconds is None
    (strided,) = kernels.explain("conv2d", x, w, stride=2)
    assert strided.path.startswith(("channels", "direct", "product"))
    assert "stride" in strided.reasons[0]
    layer = gs.nn.Linear(20, 30)
    assert [e.op for e in kernels.explain(layer, gs.randn(8, 20))] == ["gemm"]
    assert kernels.explain("exp", normal(3)) == ()
    for name in ("nothing", "_kernels", "Row"):
        with pytest.raises(ValueError, match=f"no kernel '{name}'"):
            kernels.explain(name)
    with pytest.raises(TypeError, match="must be a name or callable, got int"):
        kernels.explain(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="gemm"):
        kernels.explain("gemm", normal(2, 3), normal(4, 5))
    assert len(kernels.explain("gemm", normal(2, 3), normal(3, 5))) == 1  # the trace has ended


@pytest.mark.parametrize("padding", [0, 1, 2])
def test_winograd_and_the_direct_sum_agree(padding: int) -> None:
    x, w = normal(3, 64, 31, 29), normal(65, 64, 3, 3)
    assert kernels.get_winograd()
    fast = kernels.conv2d(x, w, padding=padding)
    fast_dx = kernels.conv2d_input_grad(fast, w, x.shape, padding=padding)
    try:
        kernels.set_winograd(False)
        assert not kernels.get_winograd()
        direct = kernels.conv2d(x, w, padding=padding)
        direct_dx = kernels.conv2d_input_grad(fast, w, x.shape, padding=padding)
    finally:
        kernels.set_winograd(True)
    assert not np.array_equal(fast, direct)  # it was taken
    np.testing.assert_allclose(fast, direct, rtol=0, atol=2e-6 * 576)
    np.testing.assert_allclose(fast_dx, direct_dx, rtol=0, atol=2e-6 * 576 * np.abs(fast).max())
    with pytest.raises(TypeError, match="'enabled' must be a bool, got int"):
        kernels.set_winograd(1)  # type: ignore[arg-type]


def test_a_bad_target_in_the_environment_is_an_error_of_the_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import gradsmith"],
        env={**os.environ, "GRADSMITH_TARGET": "mmx"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "GRADSMITH_TARGET: unknown target 'mmx'; allowed" in done.stderr


def test_the_gil_is_released() -> None:
    a = normal(1200, 1200)
    out = np.empty_like(a)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.0005):
            ticks.append(time.perf_counter())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        inside = 0
        for _ in range(20):
            begin = time.perf_counter()
            kernels.gemm(a, a, out)
            end = time.perf_counter()
            inside += sum(begin < t < end for t in ticks)
    finally:
        stop.set()
        thread.join()
    assert inside > 0
