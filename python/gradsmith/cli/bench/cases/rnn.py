"""Recurrent layers over whole sequences, forward and with the backward pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..case import Prepared, Run, Sizes, Unsupported, case, normal, same

_LAYERS = {"lstm": ("LSTM", 4), "gru": ("GRU", 3), "rnn": ("RNN", 1)}
_SIZES: dict[str, int | None] = {
    "steps": None, "batch": None, "input": None, "hidden": None, "layers": 1,
}  # fmt: skip


def _layer(lib: Any, kind: str, s: Sizes, dtype: Any) -> Any:
    kind = _LAYERS[kind][0]
    if not hasattr(lib.nn, kind):
        raise Unsupported(f"{lib.__name__} has no nn.{kind}")
    kind_of_number = getattr(lib, dtype.name)
    return getattr(lib.nn, kind)(s["input"], s["hidden"], s["layers"], dtype=kind_of_number)


def _flops(kind: str, s: Sizes) -> float:
    width = s["input"] + s["hidden"] + (s["layers"] - 1) * 2 * s["hidden"]
    return 2.0 * _LAYERS[kind][1] * s["steps"] * s["batch"] * s["hidden"] * width


def _bytes(kind: str, s: Sizes, dtype: Any) -> float:
    """Count input, output and weights once."""
    outer = s["steps"] * s["batch"] * (s["input"] + s["hidden"])
    weights = _flops(kind, s) / (2.0 * s["steps"] * s["batch"])
    return float(dtype.itemsize * (outer + weights))


@case("rnn", "lstm", "gru", "rnn", **_SIZES)
def _forward(s: Sizes, dtype: Any, name: str) -> Prepared:
    x = normal(dtype, s["steps"], s["batch"], s["input"])

    def program(lib: Any) -> Run:
        layer, given = _layer(lib, name, s, dtype), lib.from_numpy(x)
        return lambda: layer(given)

    return same(program, _flops(name, s), _bytes(name, s, dtype))


@case("rnn", "lstm_and_grad", "gru_and_grad", "rnn_and_grad", **_SIZES)
def _both(s: Sizes, dtype: Any, name: str) -> Prepared:
    kind = name.partition("_")[0]
    x = normal(dtype, s["steps"], s["batch"], s["input"])
    dy = normal(dtype, s["steps"], s["batch"], s["hidden"])

    def program(lib: Any) -> Run:
        layer = _layer(lib, kind, s, dtype)
        given, grad = lib.from_numpy(x).requires_grad_(), lib.from_numpy(dy)
        inputs = [given, *layer.parameters()]
        return lambda: lib.autograd.grad(layer(given)[0], inputs, grad)

    return same(program, 3 * _flops(kind, s), 3 * _bytes(kind, s, dtype), tracked=True)


@case("rnn", "lstm_packed", "gru_packed", "rnn_packed", **_SIZES)
def _packed(s: Sizes, dtype: Any, name: str) -> Prepared:
    """Sequences of a fifth of the steps up to all of them."""
    kind = name.partition("_")[0]
    x = normal(dtype, s["steps"], s["batch"], s["input"])
    lengths = np.linspace(s["steps"], max(1, s["steps"] // 5), s["batch"]).astype(np.int64)
    share = float(lengths.sum()) / (s["steps"] * s["batch"])

    def program(lib: Any) -> Run:
        layer, given = _layer(lib, kind, s, dtype), lib.from_numpy(x)
        pack = getattr(getattr(lib.nn.utils, "rnn", None), "pack_padded_sequence", None)
        if pack is None:
            raise Unsupported(f"{lib.__name__} has no nn.utils.rnn.pack_padded_sequence")
        counts = lib.from_numpy(lengths)
        return lambda: layer(pack(given, counts))

    return same(program, share * _flops(kind, s), share * _bytes(kind, s, dtype))
