"""Matrix products: one, or a batch of them, of either layout."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradsmith import kernels

from ..case import Prepared, Run, Sizes, case, normal, same


def _matrices(dtype: Any, transposed: int, rows: int, columns: int, *batch: int) -> Any:
    """Return [*batch, rows, columns], stored by columns where transposed."""
    if transposed:
        return normal(dtype, *batch, columns, rows).swapaxes(-1, -2)
    return normal(dtype, *batch, rows, columns)


def _product(a: Any, b: Any, out: Any) -> Prepared:
    return Prepared(
        run=lambda: kernels.gemm(a, b, out),
        flops=2.0 * out.size * a.shape[-1],
        bytes=a.nbytes + b.nbytes + out.nbytes,
        arrays={"a": a, "b": b, "out": out},
    )


@case("gemm", "gemm", m=None, n=None, k=None, ta=0, tb=0)
def _gemm(s: Sizes, dtype: Any, name: str) -> Prepared:
    a, b = (
        _matrices(dtype, s["ta"], s["m"], s["k"]),
        _matrices(dtype, s["tb"], s["k"], s["n"]),
    )
    return _product(a, b, np.empty((s["m"], s["n"]), dtype))


@case("gemm", "bmm", batch=None, m=None, n=None, k=None, ta=0, tb=0)
def _bmm(s: Sizes, dtype: Any, name: str) -> Prepared:
    a = _matrices(dtype, s["ta"], s["m"], s["k"], s["batch"])
    b = _matrices(dtype, s["tb"], s["k"], s["n"], s["batch"])
    return _product(a, b, np.empty((s["batch"], s["m"], s["n"]), dtype))


@case("gemm", "gemm_bf16", m=None, n=None, k=None, ta=0, tb=0)
def _gemm_bf16(s: Sizes, dtype: Any, name: str) -> Prepared:
    a, b = (
        _matrices(np.float32, s["ta"], s["m"], s["k"]),
        _matrices(np.float32, s["tb"], s["k"], s["n"]),
    )

    def program(lib: Any) -> Run:
        x, w = (lib.from_numpy(v).to(lib.bfloat16) for v in (a, b))
        return lambda: lib.matmul(x, w)

    prepared = same(
        program, 2.0 * s["m"] * s["n"] * s["k"], 2 * (a.size + b.size + s["m"] * s["n"])
    )
    prepared.peak = "bfloat16"
    return prepared
