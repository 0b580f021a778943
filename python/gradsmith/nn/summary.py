"""The table behind `Module.summary()`: layers, output shapes, parameters, flops and memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradsmith as gs
from gradsmith._core import Tensor

from . import activation, conv, linear, norm, pool, rnn, rnn_cell
from .module import Module

__all__ = ["LayerRow", "Summary", "summarize"]

Shape = tuple[int, ...]
_Cost = Callable[[Any, Shape, Shape], int]


@dataclass(frozen=True)
class LayerRow:
    """One module: where it sits, what it gave out, and what it cost."""

    name: str
    kind: str
    output_shape: str
    parameters: int
    flops: int
    output_bytes: int
    depth: int


@dataclass(frozen=True)
class Summary:
    """What `Module.summary()` returns; `str()` of it is the table.

    A multiply-add counts as two flops; each shared parameter counts once in the totals. Memory is
    that of parameters and buffers, and that of the outputs of all layers which hold no others: what
    training keeps for the backward pass, less what the ops save besides and what views share.
    """

    rows: list[LayerRow] = field(repr=False)
    parameters: int
    trainable: int
    buffers: int
    flops: int
    weight_bytes: int
    output_bytes: int

    def __str__(self) -> str:
        """Lay the table out."""
        cells: list[tuple[str, ...]] = [("layer", "output", "parameters", "flops", "memory")]
        for row in self.rows:
            label = "  " * row.depth + (f"{row.name} " if row.name else "") + f"({row.kind})"
            counts = (f"{n:,}" if n else "-" for n in (row.parameters, row.flops))
            cells.append((label, row.output_shape, *counts, _size_text(row.output_bytes)))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if at < 2 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in cells
        ]
        rule = "-" * len(lines[0])
        total = (
            f"{self.parameters:,} parameters ({self.trainable:,} trainable), "
            f"{self.buffers:,} buffer values, {self.flops:,} flops forward\n"
            f"memory: {_size_text(self.weight_bytes)} of weights, "
            f"{_size_text(self.output_bytes)} of outputs"
        )
        return "\n".join([lines[0], rule, *lines[1:], rule, total])


def _size(tensor: Tensor) -> int:
    return math.prod(tensor.shape)


def _bytes(value: Any) -> int:
    """Add up the memory of a tensor, or of all tensors in tuples and lists."""
    if isinstance(value, Tensor):
        return _size(value) * value.dtype.itemsize
    return sum(map(_bytes, value)) if isinstance(value, (tuple, list)) else 0


def _size_text(count: int) -> str:
    if not count:
        return "-"
    power = min((count.bit_length() - 1) // 10, 3)
    value = count / 1024**power
    digits = f"{value:.3g}" if value < 100 else f"{value:,.0f}"
    return f"{digits} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def _window(module: Any) -> int:
    return math.prod(module.kernel_size)


def _conv_flops(module: Any, source: Shape, target: Shape) -> int:
    taps = module.in_channels // module.groups * _window(module)
    return math.prod(target) * (2 * taps + (module.bias is not None))


def _transposed_flops(module: Any, source: Shape, target: Shape) -> int:
    taps = module.out_channels // module.groups * _window(module)
    return math.prod(source) * 2 * taps + (module.bias is not None) * math.prod(target)


def _linear_flops(module: Any, source: Shape, target: Shape) -> int:
    return math.prod(target) * (2 * module.in_features + (module.bias is not None))


def _bilinear_flops(module: Any, source: Shape, target: Shape) -> int:
    return math.prod(target) * 2 * module.in2_features * (module.in1_features + 1)


# Gates, and the operations on a hidden unit besides the products.
_GATES = {"LSTM": (4, 14), "GRU": (3, 13), "RNN": (1, 2)}


def _recurrent_flops(module: Any, source: Shape, target: Shape) -> int:
    steps = math.prod(source[:-1])
    hidden = module.hidden_size
    layers = getattr(module, "num_layers", 1)
    directions = 2 if getattr(module, "bidirectional", False) else 1
    gates, more = _GATES[type(module).__name__.removesuffix("Cell")]
    projected = getattr(module, "proj_size", 0)
    outputs = projected or hidden
    total = 0
    for layer in range(layers):
        features = module.input_size if layer == 0 else outputs * directions
        unit = 2 * gates * (features + outputs) + more + 2 * projected
        total += directions * steps * hidden * unit
    return total


def _pool_flops(module: Any, source: Shape, target: Shape) -> int:
    return math.prod(target) * _window(module)


def _adaptive_flops(module: Any, source: Shape, target: Shape) -> int:
    return math.prod(source)


def _per_output(cost: int) -> _Cost:
    return lambda module, source, target: cost * math.prod(target)


def _every(layers: Any, name: str, cost: _Cost) -> dict[type[Module], _Cost]:
    """Give a layer's cost to it in one, two and three axes."""
    return {getattr(layers, name.format(axes)): cost for axes in (1, 2, 3)}


_FLOPS: dict[type[Module], _Cost] = {
    linear.Linear: _linear_flops,
    linear.Bilinear: _bilinear_flops,
    **_every(conv, "Conv{}d", _conv_flops),
    **_every(conv, "ConvTranspose{}d", _transposed_flops),
    rnn.LSTM: _recurrent_flops,
    rnn.GRU: _recurrent_flops,
    rnn.RNN: _recurrent_flops,
    rnn_cell.LSTMCell: _recurrent_flops,
    rnn_cell.GRUCell: _recurrent_flops,
    rnn_cell.RNNCell: _recurrent_flops,
    **_every(pool, "MaxPool{}d", _pool_flops),
    **_every(pool, "AvgPool{}d", _pool_flops),
    **_every(pool, "AdaptiveAvgPool{}d", _adaptive_flops),
    **_every(pool, "AdaptiveMaxPool{}d", _adaptive_flops),
    **_every(norm, "BatchNorm{}d", _per_output(2)),
    **_every(norm, "InstanceNorm{}d", _per_output(8)),
    norm.LayerNorm: _per_output(8),
    norm.GroupNorm: _per_output(8),
    norm.RMSNorm: _per_output(5),
    **{getattr(activation, name): _per_output(1) for name in activation.__all__},
}


def _shape_text(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    if isinstance(output, (tuple, list)):
        return ", ".join(_shape_text(item) for item in output)
    return type(output).__name__


def _first_shape(value: Any) -> Shape:
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def summarize(module: Module, input_size: Any, dtype: Any = None) -> Summary:
    """Run one forward pass on zeros, in evaluation mode, and note every module's output.

    Args:
        module: what to describe.
        input_size: shape of the input including the batch, or a list of shapes.
        dtype: dtype of the inputs; float32 unless given.
    """
    sizes = input_size if isinstance(input_size, list) else [input_size]
    inputs = []
    for size in sizes:
        if not isinstance(size, (tuple, list)) or not all(isinstance(n, int) for n in size):
            raise TypeError(
                f"summary: input_size must be a shape or a list of shapes, got {size!r}"
            )
        inputs.append(gs.zeros(tuple(size), dtype=dtype or gs.float32))

    names = {id(child): name for name, child in module.named_modules()}
    seen: dict[int, tuple[str, int, int]] = {}  # text of the last output; flops and bytes of all

    def note(child: Module, args: tuple[Any, ...], output: Any) -> None:
        cost = _FLOPS.get(type(child))
        flops = cost(child, _first_shape(args), _first_shape(output)) if cost else 0
        _, spent, held = seen.get(id(child), ("", 0, 0))
        seen[id(child)] = (_shape_text(output), spent + flops, held + _bytes(output))

    modes = [(child, child.training) for child in module.modules()]
    hooks = [child.register_forward_hook(note) for child in module.modules()]
    try:
        module.eval()
        with gs.no_grad():
            module(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
        for child, mode in modes:
            child.training = mode

    rows = []
    for child in module.modules():
        path = names[id(child)]
        text, flops, held = seen.get(id(child), ("not called", 0, 0))
        rows.append(
            LayerRow(
                name=path.rpartition(".")[2],
                kind=type(child).__name__,
                output_shape=text,
                parameters=sum(_size(p) for p in child.parameters(recurse=False)),
                flops=flops,
                output_bytes=held,
                depth=path.count(".") + 1 if path else 0,
            )
        )
    return Summary(
        rows=rows,
        parameters=sum(_size(p) for p in module.parameters()),
        trainable=sum(_size(p) for p in module.parameters() if p.requires_grad),
        buffers=sum(_size(b) for b in module.buffers()),
        flops=sum(row.flops for row in rows),
        weight_bytes=_bytes([*module.parameters(), *module.buffers()]),
        output_bytes=sum(
            row.output_bytes
            for child, row in zip(module.modules(), rows, strict=True)
            if not any(True for _ in child.children())
        ),
    )
