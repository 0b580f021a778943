"""NumPy: matrix products through its BLAS, ufuncs, reductions."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ..case import Prepared, Run

NEEDS = "threadpoolctl"  # sets the number of threads of NumPy's BLAS

_NAMES = {
    "sub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "eq": "equal",
    "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    "abs": "absolute",
}  # fmt: skip


def version() -> str:
    """Return NumPy's, and what its matrix products come from."""
    control = importlib.import_module("threadpoolctl")
    libraries = [info for info in control.threadpool_info() if info["user_api"] == "blas"]
    blas = " ".join(f"{info['internal_api']} {info['version']}" for info in libraries[:1])
    return f"{np.__version__} ({blas})"


def threads(count: int) -> AbstractContextManager[object]:
    """Use so many threads."""
    limits: AbstractContextManager[object] = importlib.import_module(
        "threadpoolctl"
    ).threadpool_limits(count, "blas")
    return limits


def mode(tracked: bool) -> AbstractContextManager[object]:
    """Do nothing: there are no gradients."""
    return nullcontext()


def prepare(name: str, case: Prepared) -> dict[str, Run]:
    """Return what to call."""
    if name in ("gemm", "bmm"):
        a, b, product = case.arrays["a"], case.arrays["b"], case.arrays["out"]
        return {"": lambda: np.matmul(a, b, out=product)}
    wanted = case.options.get("function", "")
    function: Any = getattr(np, _NAMES.get(wanted, wanted), None) if wanted else None
    if "axis" in case.options and function:
        x, axis = case.arrays["x"], case.options["axis"]
        return {"": lambda: function(x, axis=axis)}
    if isinstance(function, np.ufunc):
        operands, out = case.arrays["operands"], case.arrays["out"]
        return {"": lambda: function(*operands, out=out)}
    if name in ("copy", "copy_transposed"):
        source, target = case.options["from"].numpy(), case.options["to"].numpy()
        return {"": lambda: np.copyto(target, source)}
    return {}
