"""Convolutions in two dimensions: forward, both gradients, transposed.

Tensors in, tensors out, without `out`: as layers call them, and as PyTorch can be called too.
"""

from __future__ import annotations

from typing import Any

import gradsmith as gs
from gradsmith import kernels

from ..case import Prepared, Sizes, case, normal, pair

_CONV: dict[str, int | None] = {
    "n": None, "c": None, "h": None, "w": None, "o": None, "k": None, "kw": -1,
    "stride": 1, "sw": -1, "pad": 0, "pw": -1, "dil": 1, "dw": -1, "groups": 1,
}  # fmt: skip


def _options(s: Sizes) -> dict[str, Any]:
    return {
        "stride": pair(s, "sw"),
        "padding": pair(s, "pw"),
        "dilation": pair(s, "dw"),
        "groups": s["groups"],
    }


@case("conv", "conv2d", "conv2d_input_grad", "conv2d_weight_grad", **_CONV)
def _conv(s: Sizes, dtype: Any, name: str) -> Prepared:
    options = _options(s)
    x = gs.from_numpy(normal(dtype, s["n"], s["c"], s["h"], s["w"]))
    w = gs.from_numpy(normal(dtype, s["o"], s["c"] // s["groups"], *pair(s, "kw")))
    y = kernels.conv2d(x, w, **options)
    shape_x: Any = tuple(x.shape)
    shape_w: Any = tuple(w.shape)
    run = {
        "conv2d": lambda: kernels.conv2d(x, w, **options),
        "conv2d_input_grad": lambda: kernels.conv2d_input_grad(y, w, shape_x, **options),
        "conv2d_weight_grad": lambda: kernels.conv2d_weight_grad(y, x, shape_w, **options),
    }[name]
    return Prepared(
        run,
        flops=2.0 * y.numel() * w[0].numel(),
        bytes=float(dtype.itemsize * (x.numel() + w.numel() + y.numel())),
        arrays={"x": x.numpy(), "w": w.numpy(), "dy": y.numpy()},
        options=options,
    )


@case("conv", "conv_transpose2d", **_CONV, out_pad=0)
def _transposed(s: Sizes, dtype: Any, name: str) -> Prepared:
    options = {**_options(s), "output_padding": s["out_pad"]}
    x = gs.from_numpy(normal(dtype, s["n"], s["c"], s["h"], s["w"]))
    w = gs.from_numpy(normal(dtype, s["c"], s["o"] // s["groups"], *pair(s, "kw")))
    function = gs.nn.functional.conv_transpose2d
    y = function(x, w, **options)
    return Prepared(
        lambda: function(x, w, **options),
        flops=2.0 * x.numel() * w[0].numel(),
        bytes=float(dtype.itemsize * (x.numel() + w.numel() + y.numel())),
        arrays={"x": x.numpy(), "w": w.numpy()},
        options=options,
    )
