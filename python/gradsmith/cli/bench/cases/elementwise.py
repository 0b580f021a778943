"""Elementwise kernels, copies and casts, dropout, reductions and optimizer steps."""

from __future__ import annotations

from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith import kernels

from ..case import Prepared, Run, Sizes, case, integers, normal, same

_INTEGER = ("bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor")
_POSITIVE = ("sqrt", "rsqrt", "log", "log1p", "log2", "log10", "asin", "acos", "pow")
_PARAMETERS: dict[str, tuple[float, ...]] = {"clamp": (-1.0, 1.0)}


def _operand(dtype: Any, name: str, *shape: int) -> Any:
    x = normal(dtype, *shape)
    if name in _POSITIVE:
        x = np.abs(x) / 8 + dtype.type(0.01)
    return x.view(np.int32) if name in _INTEGER else x


@case("elementwise", *kernels.UNARY, "clamp", "leaky_relu", "elu", "softplus", n=None)
def _unary(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = _operand(dtype, name, s["n"])
    kernel, parameters = getattr(kernels, name), _PARAMETERS.get(name, ())
    y = kernel(x, *parameters)
    return Prepared(
        run=lambda: kernel(x, *parameters, out=y),
        flops=0,
        bytes=x.nbytes + y.nbytes,
        arrays={"operands": [x], "out": y},
        options={"function": name, "parameters": parameters},
    )


def _two(name: str, a: Any, b: Any) -> Prepared:
    kernel = getattr(kernels, name)
    y = kernel(a, b)
    return Prepared(
        run=lambda: kernel(a, b, out=y),
        flops=0,
        bytes=a.nbytes + b.nbytes + y.nbytes,
        arrays={"operands": [a, b], "out": y},
        options={"function": name, "parameters": ()},
    )


@case("elementwise", *kernels.BINARY, *kernels.GRADIENTS, n=None)
def _binary(s: Sizes, dtype: Any, name: str) -> Prepared:
    a, b = (_operand(dtype, name, s["n"]) for _ in range(2))
    return _two(name, a, b)


@case("elementwise", "add_bias", "add_column", rows=None, n=None)
def _broadcast(s: Sizes, dtype: Any, name: str) -> Prepared:
    """Add one value a column, or one a row."""
    other = (s["n"],) if name == "add_bias" else (s["rows"], 1)
    return _two("add", normal(dtype, s["rows"], s["n"]), normal(dtype, *other))


@case("elementwise", "scale", n=None)
def _scale(s: Sizes, dtype: Any, name: str) -> Prepared:
    """Multiply by a number, in place."""
    x = normal(dtype, s["n"])

    def program(lib: Any) -> Run:
        given = lib.from_numpy(x.copy())
        return lambda: given.mul_(-1.0)

    return same(program, 0, 2 * x.nbytes)


_CASTS = {
    "copy": (None, None),
    "cast_to_bf16": (None, "bfloat16"),
    "cast_from_bf16": ("bfloat16", None),
    "cast_to_f64": (None, "float64"),
    "cast_from_i32": ("int32", None),
}


def _copies(x: Any, y: Any) -> Prepared:
    return Prepared(
        run=lambda: kernels.copy(x, y),
        flops=0,
        bytes=float(x.nbytes + y.nbytes),
        options={"from": x, "to": y},
    )


@case("elementwise", *_CASTS, n=None)
def _cast(s: Sizes, dtype: Any, name: str) -> Prepared:
    before, after = (getattr(gs, kind or dtype.name) for kind in _CASTS[name])
    x = gs.from_numpy(8 * normal(dtype, s["n"])).to(before)
    return _copies(x, gs.empty(s["n"], dtype=after))


@case("elementwise", "copy_transposed", rows=None, n=None)
def _transposed(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = gs.from_numpy(normal(dtype, s["rows"], s["n"]))
    return _copies(x.t(), gs.empty(s["n"], s["rows"], dtype=x.dtype))


@case("reduce", *kernels.REDUCTIONS, "var", "std", "argmax", "argmin", n=None, rows=1, axis=1)
def _reduce(s: Sizes, dtype: Any, name: str) -> Prepared:
    x, kernel = normal(dtype, s["rows"], s["n"]), getattr(kernels, name)
    return Prepared(
        run=lambda: kernel(x, s["axis"]),
        flops=0,
        bytes=x.nbytes,
        arrays={"x": x},
        options={"function": name, "axis": s["axis"]},
    )


@case("rng", "dropout", n=None)
def _dropout(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = normal(dtype, s["n"])

    def program(lib: Any) -> Run:
        given, function = lib.from_numpy(x), lib.nn.functional.dropout
        return lambda: function(given, 0.5, True)

    return same(program, 0, 2 * x.nbytes + x.size)


# Options by which PyTorch has one kernel or several over whole lists, and the arrays that move.
STEPS: dict[str, tuple[str, dict[str, Any], dict[str, Any], int]] = {
    "sgd_step": ("SGD", {"momentum": 0.9}, {"fused": True}, 5),
    "adam_step": ("Adam", {}, {"fused": True}, 7),
    "nadam_step": ("NAdam", {}, {"foreach": True}, 7),
    "radam_step": ("RAdam", {}, {"foreach": True}, 7),
    "adamax_step": ("Adamax", {}, {"foreach": True}, 7),
    "adadelta_step": ("Adadelta", {}, {"foreach": True}, 7),
    "rprop_step": ("Rprop", {}, {"foreach": True}, 7),
    "asgd_step": ("ASGD", {}, {"foreach": True}, 5),
}


@case("optim", *STEPS, n=None)
def _step(s: Sizes, dtype: Any, name: str) -> Prepared:
    values, grad = normal(dtype, s["n"]), normal(dtype, s["n"])
    maker, options, fast, arrays = STEPS[name]

    def program(lib: Any) -> Run:
        param = lib.from_numpy(values.copy()).requires_grad_()
        param.grad = lib.from_numpy(grad)
        return getattr(lib.optim, maker)(
            [param], lr=1e-6, **options, **({} if lib is gs else fast)
        ).step

    return same(program, 0, arrays * values.nbytes, tracked=True)


@case("embedding", "embedding", rows=None, vocab=None, n=None)
def _embedding(s: Sizes, dtype: Any, name: str) -> Prepared:
    values, places = normal(dtype, s["vocab"], s["n"]), integers(s["vocab"], s["rows"])

    def program(lib: Any) -> Run:
        table, index = lib.from_numpy(values), lib.from_numpy(places)
        function = lib.nn.functional.embedding
        return lambda: function(index, table)

    return same(program, 0, 2 * s["rows"] * s["n"] * dtype.itemsize + places.nbytes)
