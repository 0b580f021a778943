"""PyTorch, eager. Convolutions run in both memory layouts; the faster one counts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ..case import Prepared, Run

NEEDS = "torch"


def _torch() -> Any:
    return importlib.import_module("torch")


def version() -> str:
    """Return PyTorch's."""
    return str(_torch().__version__)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads."""
    torch = _torch()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mode(tracked: bool) -> AbstractContextManager[object]:
    """Record gradients, or do not."""
    return _torch().set_grad_enabled(tracked)


def prepare(name: str, case: Prepared) -> dict[str, Run]:
    """Return what to call, by memory layout."""
    torch = _torch()
    if case.program:
        return {"": case.program(torch)}
    if name in _CONVOLUTIONS:
        return {
            "nchw": _CONVOLUTIONS[name](torch, case, torch.contiguous_format),
            "nhwc": _CONVOLUTIONS[name](torch, case, torch.channels_last),
        }
    if name in ("gemm", "bmm"):
        a, b, out = (torch.from_numpy(case.arrays[key]) for key in ("a", "b", "out"))
        product = torch.mm if name == "gemm" else torch.bmm
        return {"": lambda: product(a, b, out=out)}
    if "from" in case.options:
        source, out = (torch.from_dlpack(case.options[key]) for key in ("from", "to"))
        return {"": lambda: out.copy_(source)}
    if "axis" in case.options:
        return _reduction(torch, case)
    if "function" in case.options:
        return _elementwise(torch, case)
    return {}


_REDUCTIONS = {"max": "amax", "min": "amin"}


def _reduction(torch: Any, case: Prepared) -> dict[str, Run]:
    name, axis = case.options["function"], case.options["axis"]
    function = getattr(torch, _REDUCTIONS.get(name, name), None)
    if function is None:
        return {}
    x = torch.from_numpy(case.arrays["x"])
    return {"": lambda: function(x, axis)}


# Functions of the module `torch` that cannot write into an array.
_NO_OUT = (
    "relu",
    "isnan",
    "isinf",
    "isfinite",
    "gelu",
    "silu",
    "softplus",
    "leaky_relu",
    "elu",
    "selu",
)


def _elementwise(torch: Any, case: Prepared) -> dict[str, Run]:
    name, parameters = case.options["function"], case.options["parameters"]
    operands = [torch.from_numpy(array) for array in case.arrays["operands"]]
    if name == "relu":  # the only form that can write into an array
        out = torch.from_numpy(case.arrays["out"])
        return {"": lambda: torch.clamp(*operands, min=0, out=out)}
    function = getattr(torch, name, None) or getattr(torch.nn.functional, name, None)
    if function is None:
        return {}
    if name in _NO_OUT or not hasattr(torch, name):
        return {"": lambda: function(*operands, *parameters)}
    out = torch.from_numpy(case.arrays["out"])
    return {"": lambda: function(*operands, *parameters, out=out)}


def _tensors(torch: Any, case: Prepared, layout: Any, *names: str) -> list[Any]:
    return [torch.from_numpy(case.arrays[name]).contiguous(memory_format=layout) for name in names]


def _forward(torch: Any, case: Prepared, layout: Any) -> Run:
    x, w = _tensors(torch, case, layout, "x", "w")
    return lambda: torch.conv2d(x, w, **case.options)


def _transposed(torch: Any, case: Prepared, layout: Any) -> Run:
    x, w = _tensors(torch, case, layout, "x", "w")
    return lambda: torch.nn.functional.conv_transpose2d(x, w, **case.options)


def _gradient(which: int) -> Callable[[Any, Prepared, Any], Run]:
    def make(torch: Any, case: Prepared, layout: Any) -> Run:
        x, w, dy = _tensors(torch, case, layout, "x", "w", "dy")
        o = case.options
        wanted = [which == 0, which == 1, False]
        backward = torch.ops.aten.convolution_backward
        return lambda: backward(
            *(dy, x, w, None, o["stride"], o["padding"], o["dilation"]),
            *(False, [0, 0], o["groups"], wanted),
        )

    return make


_CONVOLUTIONS: dict[str, Callable[[Any, Prepared, Any], Run]] = {
    "conv2d": _forward,
    "conv2d_input_grad": _gradient(0),
    "conv2d_weight_grad": _gradient(1),
    "conv_transpose2d": _transposed,
}
