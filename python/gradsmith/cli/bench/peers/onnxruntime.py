"""ONNX Runtime, for inference: our network, written as ONNX with our weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from ..case import Prepared, Run

NEEDS = "onnxruntime and onnx"

_count = 1


def version() -> str:
    """Return ONNX Runtime's."""
    importlib.import_module("onnx")
    return str(importlib.import_module("onnxruntime").__version__)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use so many threads in the sessions made meanwhile."""
    global _count
    before, _count = _count, count
    try:
        yield
    finally:
        _count = before


def mode(tracked: bool) -> AbstractContextManager[object]:
    """Do nothing: there are no gradients."""
    return nullcontext()


def prepare(name: str, case: Prepared) -> dict[str, Run]:
    """Return the inference of a network."""
    if case.model is None:
        return {}
    onnxruntime: Any = importlib.import_module("onnxruntime")
    x = case.arrays["x"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _count
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        _Writer(x).model(case.model()), options, providers=["CPUExecutionProvider"]
    )
    feed = {"x": x}
    return {"": lambda: session.run(None, feed)}


class _Writer:
    """Collects the nodes and weights of an ONNX graph, layer by layer."""

    def __init__(self, x: Any) -> None:
        self._helper: Any = importlib.import_module("onnx.helper")
        self._arrays: Any = importlib.import_module("onnx.numpy_helper")
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._x = x

    def model(self, net: Any) -> bytes:
        """Return the file of a network that is applied to x."""
        out = self._layer(net, "x")
        kind = self._helper.np_dtype_to_tensor_dtype
        result = np.dtype(np.float64 if self._x.dtype == np.float64 else np.float32)
        graph = self._helper.make_graph(
            self._nodes,
            "network",
            [self._helper.make_tensor_value_info("x", kind(self._x.dtype), self._x.shape)],
            [self._helper.make_tensor_value_info(out, kind(result), None)],
            self._weights,
        )
        opset = [self._helper.make_opsetid("", 17)]
        model = self._helper.make_model(graph, opset_imports=opset, ir_version=8)
        return bytes(model.SerializeToString())

    def _node(self, op: str, *inputs: str, results: int = 1, **attributes: Any) -> str:
        """Add a node; returns the name of its first result."""
        names = [f"{op}_{len(self._nodes)}_{i}" for i in range(results)]
        self._nodes.append(self._helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def _weight(self, value: Any) -> str:
        """Add a constant, a tensor or an array; nothing for None."""
        if value is None:
            return ""
        array = value if isinstance(value, np.ndarray) else value.detach().numpy()
        name = f"weight_{len(self._weights)}"
        self._weights.append(self._arrays.from_array(np.ascontiguousarray(array), name))
        return name

    def _layer(self, layer: Any, x: str) -> str:
        kind = type(layer).__name__
        if kind not in _LAYERS:
            raise ValueError(f"the onnxruntime peer cannot write a {kind}")
        return _LAYERS[kind](self, layer, x)

    def sequential(self, net: Any, x: str) -> str:
        for layer in net:
            x = self._layer(layer, x)
        return x

    def linear(self, layer: Any, x: str) -> str:
        return self._node("Gemm", x, self._weight(layer.weight), self._weight(layer.bias), transB=1)

    def convolution(self, layer: Any, x: str) -> str:
        pads = [*_two(layer.padding)] * 2
        return self._node(
            *("Conv", x, self._weight(layer.weight), self._weight(layer.bias)),
            strides=_two(layer.stride),
            pads=pads,
        )

    def up(self, layer: Any, x: str) -> str:
        pads = [*_two(layer.padding)] * 2
        weight = self._weight(layer.weight)
        return self._node("ConvTranspose", x, weight, strides=_two(layer.stride), pads=pads)

    def norm(self, layer: Any, x: str) -> str:
        values = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
        return self._node("BatchNormalization", x, *map(self._weight, values), epsilon=layer.eps)

    def pool(self, layer: Any, x: str) -> str:
        size = _two(layer.kernel_size)
        return self._node("MaxPool", x, kernel_shape=size, strides=size)

    def block(self, layer: Any, x: str) -> str:
        y = self._node("Relu", self.norm(layer.norm1, self.convolution(layer.conv1, x)))
        y = self.norm(layer.norm2, self.convolution(layer.conv2, y))
        if layer.stride > 1:
            places = [np.array(v) for v in ([0, 0], [2**31, 2**31], [2, 3], [2, 2])]
            x = self._node("Slice", x, *map(self._weight, places))
            pads = np.array([0, layer.more, 0, 0, 0, layer.more, 0, 0])
            x = self._node("Pad", x, self._weight(pads))
        return self._node("Relu", self._node("Add", y, x))

    def characters(self, net: Any, x: str) -> str:
        x = self._node("Gather", self._weight(net.embedding.weight), x)
        x = self._node("Transpose", x, perm=[1, 0, 2])  # steps first, as its LSTM wants them
        for i in range(net.lstm.num_layers):
            w, r, b, c = (
                getattr(net.lstm, f"{name}_l{i}").detach().numpy()
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            hidden = r.shape[1]
            # Gates in the order input, output, forget, cell.
            order = [*range(hidden), *range(3 * hidden, 4 * hidden), *range(hidden, 3 * hidden)]
            weights = (w[order], r[order], np.concatenate([b[order], c[order]]))
            named = [self._weight(value[None]) for value in weights]
            x = self._node("LSTM", x, *named, hidden_size=hidden)
            x = self._node("Squeeze", x, self._weight(np.array([1])))  # of directions
        x = self._node("Transpose", x, perm=[1, 0, 2])
        x = self._node("MatMul", x, self._weight(net.output.weight.detach().numpy().T))
        return self._node("Add", x, self._weight(net.output.bias))


def _two(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _plain(op: str, **attributes: Any) -> Callable[[_Writer, Any, str], str]:
    return lambda writer, layer, x: writer._node(op, x, **attributes)


_LAYERS: dict[str, Callable[[_Writer, Any, str], str]] = {
    "Sequential": _Writer.sequential,
    "Linear": _Writer.linear,
    "Conv2d": _Writer.convolution,
    "Up": _Writer.up,
    "BatchNorm2d": _Writer.norm,
    "MaxPool2d": _Writer.pool,
    "Block": _Writer.block,
    "CharLM": _Writer.characters,
    "ReLU": _plain("Relu"),
    "Tanh": _plain("Tanh"),
    "Flatten": _plain("Flatten"),
    "AdaptiveAvgPool2d": _plain("GlobalAveragePool"),
}
