"""Softmax, norms, losses and pooling: forward through the ops, and forward with backward.

The bytes are those of each array that an exact computation must move once; batch norm, whose
mean is of data that do not fit in a cache, reads its input twice each way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..case import Prepared, Run, Sizes, case, integers, normal, pair, same

Function = Callable[[Any], Callable[[Any], Any]]  # library -> tensor -> tensor


def _prepare(name: str, x: Any, function: Function, forward: float, both: float) -> Prepared:
    """Return the case of a function of x; bytes forward and with backward, in sizes of x."""

    def program(lib: Any) -> Run:
        given, apply = lib.from_numpy(x), function(lib)
        if not name.endswith("_and_grad"):
            return lambda: apply(given)
        given.requires_grad_()
        grad = lib.ones_like(apply(given).detach())
        return lambda: lib.autograd.grad(apply(given), given, grad)

    tracked = name.endswith("_and_grad")
    return same(program, 0, x.nbytes * (both if tracked else forward), tracked=tracked)


@case(
    "softmax", "softmax", "log_softmax", "softmax_and_grad", "log_softmax_and_grad",
    rows=None, n=None, inner=1,
)  # fmt: skip
def _softmax(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = normal(dtype, s["rows"], s["n"], *([s["inner"]] if s["inner"] > 1 else []))
    kind = name.removesuffix("_and_grad")

    def function(lib: Any) -> Callable[[Any], Any]:
        apply = getattr(lib.nn.functional, kind)
        return lambda given: apply(given, 1)

    return _prepare(name, x, function, 2, 5)


@case(
    "norm", "layer_norm", "rms_norm", "layer_norm_and_grad", "rms_norm_and_grad",
    rows=None, n=None,
)  # fmt: skip
def _norm(s: Sizes, dtype: Any, name: str) -> Prepared:
    x, values = normal(dtype, s["rows"], s["n"]), normal(dtype, s["n"])
    kind = name.removesuffix("_and_grad")

    def function(lib: Any) -> Callable[[Any], Any]:
        apply, weight = getattr(lib.nn.functional, kind), lib.from_numpy(values)
        weight.requires_grad_(name.endswith("_and_grad"))
        return lambda given: apply(given, (s["n"],), weight)

    return _prepare(name, x, function, 2, 5)


@case("norm", "batch_norm", "batch_norm_and_grad", n=None, c=None, hw=None)
def _batch_norm(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = normal(dtype, s["n"], s["c"], s["hw"])
    ones, zeros = abs(normal(dtype, s["c"])), normal(dtype, s["c"])

    def function(lib: Any) -> Callable[[Any], Any]:
        apply = lib.nn.functional.batch_norm
        weight, bias = lib.from_numpy(ones.copy()), lib.from_numpy(zeros.copy())
        mean, var = lib.from_numpy(zeros.copy()), lib.from_numpy(ones.copy())
        return lambda given: apply(given, mean, var, weight, bias, training=True)

    return _prepare(name, x, function, 3, 8)


@case("loss", "cross_entropy", "cross_entropy_and_grad", rows=None, n=None)
def _cross_entropy(s: Sizes, dtype: Any, name: str) -> Prepared:
    x, classes = normal(dtype, s["rows"], s["n"]), integers(s["n"], s["rows"])

    def function(lib: Any) -> Callable[[Any], Any]:
        apply, target = lib.nn.functional.cross_entropy, lib.from_numpy(classes)
        return lambda given: apply(given, target)

    return _prepare(name, x, function, 1, 3)


@case(
    "pool", "max_pool2d", "avg_pool2d", "max_pool2d_and_grad", "avg_pool2d_and_grad",
    n=None, c=None, h=None, w=None, k=None, kw=-1, stride=0, sw=-1, pad=0, pw=-1,
)  # fmt: skip
def _pool(s: Sizes, dtype: Any, name: str) -> Prepared:
    x, window = normal(dtype, s["n"], s["c"], s["h"], s["w"]), pair(s, "kw")
    stride = pair(s, "sw") if s["stride"] else window
    kind = name.removesuffix("_and_grad")

    def function(lib: Any) -> Callable[[Any], Any]:
        apply = getattr(lib.nn.functional, kind)
        return lambda given: apply(given, window, stride, pair(s, "pw"))

    share = 1 / (stride[0] * stride[1])  # of the result in sizes of x
    return _prepare(name, x, function, 1 + share, 2 + 2 * share)
