"""What `gradsmith bench` can run: kernel, sizes, operations and bytes of each case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import kernels

__all__ = ["CASES", "Case", "Prepared", "read_shapes"]

Run = Callable[[], object]
Sizes = dict[str, int]


@dataclass
class Prepared:
    """One case with its arrays: what to call and what that costs at least."""

    run: Run
    flops: float  # 0: bound by memory alone
    bytes: float  # read and written once
    numpy: Run | None = None
    torch: Callable[[Any], Run] | None = None  # given the torch module


@dataclass
class Case:
    """A kernel, the sizes it takes with their defaults (None: required), and how to prepare it."""

    family: str
    sizes: dict[str, int | None]
    prepare: Callable[[Sizes, Any], Prepared]


CASES: dict[str, Case] = {}


def _case(
    family: str, *names: str, **sizes: int | None
) -> Callable[[Callable[..., Prepared]], Callable[..., Prepared]]:
    """Register a function (sizes, dtype, name) -> Prepared under these names."""

    def register(make: Callable[..., Prepared]) -> Callable[..., Prepared]:
        for name in names:

            def prepare(given: Sizes, dtype: Any, name: str = name) -> Prepared:
                return make({**sizes, **given}, np.dtype(dtype), name)

            CASES[name] = Case(family, dict(sizes), prepare)
        return make

    return register


_rng = np.random.default_rng(0)


def _normal(dtype: Any, *shape: int) -> np.ndarray[Any, Any]:
    return _rng.standard_normal(shape, np.float32).astype(dtype)


@_case("gemm", "gemm", m=None, n=None, k=None)
def _gemm(s: Sizes, dtype: Any, name: str) -> Prepared:
    a, b = _normal(dtype, s["m"], s["k"]), _normal(dtype, s["k"], s["n"])
    out = np.empty((s["m"], s["n"]), dtype)

    def with_torch(torch: Any) -> Run:
        x, y, z = torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(out)
        return lambda: torch.mm(x, y, out=z)

    return Prepared(
        run=lambda: kernels.gemm(a, b, out),
        flops=2.0 * s["m"] * s["n"] * s["k"],
        bytes=a.nbytes + b.nbytes + out.nbytes,
        numpy=lambda: np.matmul(a, b, out=out),
        torch=with_torch,
    )


_CONV: dict[str, int | None] = {
    "n": None, "c": None, "h": None, "w": None, "o": None, "k": None,
    "stride": 1, "pad": 0, "groups": 1,
}  # fmt: skip


@_case("conv", "conv2d", "conv2d_input_grad", "conv2d_weight_grad", **_CONV)
def _conv(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = _normal(dtype, s["n"], s["c"], s["h"], s["w"])
    w = _normal(dtype, s["o"], s["c"] // s["groups"], s["k"], s["k"])
    options: dict[str, Any] = {"stride": s["stride"], "padding": s["pad"], "groups": s["groups"]}
    y = kernels.conv2d(x, w, **options)
    dx, dw = np.empty_like(x), np.empty_like(w)
    runs: dict[str, Run] = {
        "conv2d": lambda: kernels.conv2d(x, w, out=y, **options),
        "conv2d_input_grad": lambda: kernels.conv2d_input_grad(y, w, x.shape, out=dx, **options),
        "conv2d_weight_grad": lambda: kernels.conv2d_weight_grad(y, x, w.shape, out=dw, **options),
    }

    def with_torch(torch: Any) -> Run:
        tx, tw, ty = (torch.from_numpy(array) for array in (x, w, y))
        grad = torch.nn.grad
        return {
            "conv2d": lambda: torch.conv2d(tx, tw, **options),
            "conv2d_input_grad": lambda: grad.conv2d_input(tx.shape, tw, ty, **options),
            "conv2d_weight_grad": lambda: grad.conv2d_weight(tx, tw.shape, ty, **options),
        }[name]

    return Prepared(
        run=runs[name],
        flops=2.0 * y.size * w[0].size,
        bytes=x.nbytes + w.nbytes + y.nbytes,
        torch=with_torch,
    )


@_case("pool", "max_pool2d", "avg_pool2d", n=None, c=None, h=None, w=None, k=None)
def _pool(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = _normal(dtype, s["n"], s["c"], s["h"], s["w"])
    kernel = getattr(kernels, name)
    y = kernel(x, s["k"])

    def with_torch(torch: Any) -> Run:
        tx, pool = torch.from_numpy(x), getattr(torch.nn.functional, name)
        return lambda: pool(tx, s["k"])

    return Prepared(lambda: kernel(x, s["k"], out=y), 0, x.nbytes + y.nbytes, torch=with_torch)


@_case("softmax", "softmax", "log_softmax", rows=None, n=None)
def _softmax(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = _normal(dtype, s["rows"], s["n"])
    y, kernel = np.empty_like(x), getattr(kernels, name)

    def with_torch(torch: Any) -> Run:
        tx = torch.from_numpy(x)
        return lambda: getattr(torch, name)(tx, -1)

    return Prepared(lambda: kernel(x, out=y), 0, 2 * x.nbytes, torch=with_torch)


@_case("norm", "layer_norm", "rms_norm", rows=None, n=None)
def _norm(s: Sizes, dtype: Any, name: str) -> Prepared:
    x, w = _normal(dtype, s["rows"], s["n"]), _normal(dtype, s["n"])
    y, kernel = np.empty_like(x), getattr(kernels, name)

    def with_torch(torch: Any) -> Run:
        tx, tw = torch.from_numpy(x), torch.from_numpy(w)
        norm = getattr(torch.nn.functional, name)
        return lambda: norm(tx, (s["n"],), tw)

    return Prepared(lambda: kernel(x, w, out=y), 0, 2 * x.nbytes, torch=with_torch)


@_case("norm", "batch_norm", n=None, c=None, hw=None)
def _batch_norm(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = _normal(dtype, s["n"], s["c"], s["hw"])
    y = np.empty_like(x)

    def run() -> None:
        kernels.batch_norm(x, *kernels.batch_norm_stats(x), out=y)

    def with_torch(torch: Any) -> Run:
        tx = torch.from_numpy(x)
        return lambda: torch.nn.functional.batch_norm(tx, None, None, training=True)

    return Prepared(run, 0, 3 * x.nbytes, torch=with_torch)


@_case("rnn", "lstm", steps=None, batch=None, input=None, hidden=None)
def _lstm(s: Sizes, dtype: Any, name: str) -> Prepared:
    hidden, size = s["hidden"], s["input"]
    x = _normal(dtype, s["steps"], s["batch"], size)
    w_ih, w_hh = _normal(dtype, 4 * hidden, size) / 16, _normal(dtype, 4 * hidden, hidden) / 16
    y = np.empty((s["steps"], s["batch"], hidden), dtype)

    def with_torch(torch: Any) -> Run:
        layer = torch.nn.LSTM(size, hidden, bias=False).to(torch.from_numpy(x).dtype)
        tx = torch.from_numpy(x)

        def run() -> None:
            with torch.no_grad():
                layer(tx)

        return run

    return Prepared(
        run=lambda: kernels.lstm(x, w_ih, w_hh, out=y),
        flops=8.0 * s["steps"] * s["batch"] * hidden * (size + hidden),
        bytes=x.nbytes + y.nbytes + w_ih.nbytes + w_hh.nbytes,
        torch=with_torch,
    )


_NUMPY = {
    "sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "eq": "equal",
    "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "abs": "absolute", "copy": "positive",
}  # fmt: skip


def _numpy_function(name: str) -> Any:
    return getattr(np, _NUMPY.get(name, name), None)


def _torch_call(name: str, arrays: list[Any], out: Any) -> Callable[[Any], Run]:
    def with_torch(torch: Any) -> Run:
        functional = torch.nn.functional
        function = getattr(torch, name, None) or getattr(functional, name)
        tensors = [torch.from_numpy(array) for array in arrays]
        if out is None or not hasattr(torch, name) or name in ("relu", "isnan", "isinf"):
            return lambda: function(*tensors)
        result = torch.from_numpy(out)
        return lambda: function(*tensors, out=result)

    return with_torch


_INTEGER = ("bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor")
_PARAMETERS: dict[str, tuple[float, ...]] = {"clamp": (-1.0, 1.0)}


@_case("elementwise", *kernels.UNARY, "clamp", "leaky_relu", "elu", "softplus", "copy", n=None)
def _unary(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = np.abs(_normal(dtype, s["n"])) / 8 + dtype.type(0.01)
    if name in _INTEGER:
        x = x.view(np.int32)
    kernel = getattr(kernels, name)
    parameters = _PARAMETERS.get(name, ())
    y = kernel(x, *parameters)
    ufunc = _numpy_function(name)
    return Prepared(
        run=lambda: kernel(x, *parameters, out=y),
        flops=0,
        bytes=x.nbytes + y.nbytes,
        numpy=(lambda: ufunc(x, out=y)) if isinstance(ufunc, np.ufunc) else None,
        torch=_torch_call(name, [x], y) if name not in ("clamp", "copy") else None,
    )


@_case("elementwise", *kernels.BINARY, *kernels.GRADIENTS, n=None)
def _binary(s: Sizes, dtype: Any, name: str) -> Prepared:
    a, b = (np.abs(_normal(dtype, s["n"])) / 8 + dtype.type(0.01) for _ in range(2))
    if name in _INTEGER:
        a, b = a.view(np.int32), b.view(np.int32)
    kernel = getattr(kernels, name)
    y = kernel(a, b)
    ufunc = _numpy_function(name)
    return Prepared(
        run=lambda: kernel(a, b, out=y),
        flops=0,
        bytes=a.nbytes + b.nbytes + y.nbytes,
        numpy=(lambda: ufunc(a, b, out=y)) if isinstance(ufunc, np.ufunc) else None,
        torch=_torch_call(name, [a, b], y) if "backward" not in name else None,
    )


@_case("reduce", *kernels.REDUCTIONS, "var", "std", "argmax", "argmin", n=None, rows=1, axis=1)
def _reduce(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = _normal(dtype, s["rows"], s["n"])
    kernel, function = getattr(kernels, name), _numpy_function(name)
    return Prepared(
        run=lambda: kernel(x, s["axis"]),
        flops=0,
        bytes=x.nbytes,
        numpy=(lambda: function(x, axis=s["axis"])) if function else None,
    )


@_case("rng", "dropout", n=None)
def _dropout(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = _normal(dtype, s["n"])
    y, mask = kernels.dropout(x)

    def with_torch(torch: Any) -> Run:
        tx = torch.from_numpy(x)
        return lambda: torch.dropout(tx, 0.5, True)

    return Prepared(
        run=lambda: kernels.dropout(x, out=y, mask=mask),
        flops=0,
        bytes=2 * x.nbytes + mask.nbytes,
        torch=with_torch,
    )


@_case("optim", "sgd_step", "adam_step", n=None)
def _step(s: Sizes, dtype: Any, name: str) -> Prepared:
    p, g, m = (_normal(dtype, s["n"]) for _ in range(3))
    v = np.abs(_normal(dtype, s["n"]))
    if name == "sgd_step":
        return Prepared(lambda: kernels.sgd_step(p, g, m, lr=1e-6, momentum=0.9), 0, 5 * p.nbytes)
    return Prepared(lambda: kernels.adam_step(p, g, m, v, 10, lr=1e-6), 0, 7 * p.nbytes)


# Families without a raw function yet run through their ops, off the tape.


@_case("embedding", "embedding", rows=None, vocab=None, n=None)
def _embedding(s: Sizes, dtype: Any, name: str) -> Prepared:
    table = gs.from_numpy(_normal(dtype, s["vocab"], s["n"]))
    index = gs.from_numpy(_rng.integers(0, s["vocab"], s["rows"]))
    functional = gs.nn.functional
    return Prepared(
        run=lambda: functional.embedding(index, table),
        flops=0,
        bytes=2 * s["rows"] * s["n"] * np.dtype(dtype).itemsize + 8 * s["rows"],
    )


@_case("loss", "cross_entropy", rows=None, n=None)
def _cross_entropy(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = gs.from_numpy(_normal(dtype, s["rows"], s["n"]))
    target = gs.from_numpy(_rng.integers(0, s["n"], s["rows"]))
    functional = gs.nn.functional
    return Prepared(
        run=lambda: functional.cross_entropy(x, target),
        flops=0,
        bytes=s["rows"] * s["n"] * np.dtype(dtype).itemsize,
    )


# ---- shape files ----


def read_shapes(path: Path) -> list[tuple[str, Sizes]]:
    """Return the (kernel, sizes) of every line of a shape file.

    Raises:
        ValueError: naming file and line, for a kernel or size that is unknown or missing.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{path}:{number}"
        case = CASES.get(words[0])
        if case is None:
            raise ValueError(f"{where}: there is no kernel '{words[0]}' to measure")
        sizes = {}
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key not in case.sizes or not value.isascii() or not value.isdigit():
                raise ValueError(
                    f"{where}: '{word}' is not a size of {words[0]}; it takes "
                    + " ".join(f"{name}=N" for name in case.sizes)
                )
            sizes[key] = int(value)
        missing = [
            name for name, value in case.sizes.items() if value is None and name not in sizes
        ]
        if missing:
            raise ValueError(f"{where}: {words[0]} needs {' and '.join(missing)}")
        found.append((words[0], sizes))
    return found
