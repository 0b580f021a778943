"""Recurrent layers: LSTM over whole sequences, LSTMCell for one step."""

from __future__ import annotations

import math
from typing import Any

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from . import init
from ._args import positive_int, probability
from .module import Module
from .parameter import Parameter

__all__ = ["LSTM", "LSTMCell"]

State = tuple[Tensor, Tensor]


def _uniform(module: Module, hidden_size: int) -> None:
    bound = 1 / math.sqrt(hidden_size)
    for param in module.parameters():
        init.uniform_(param, -bound, bound)


class LSTM(Module):
    """Long short-term memory over a sequence (Hochreiter and Schmidhuber, 1997).

    Per step, with gates stacked in the order i, f, g, o:
    c' = sigmoid(f) c + sigmoid(i) tanh(g),  h' = sigmoid(o) tanh(c').

    Args:
        input_size: features per step.
        hidden_size: features of h and c.
        num_layers: layers stacked on top of each other.
        bias: whether the gates have biases.
        batch_first: sequences are (N, T, ...) instead of (T, N, ...).
        dropout: probability applied to the output of every layer but the last, in training.
        bidirectional: a second set of layers reads backwards; outputs are joined.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (T, N, input_size) or (T, input_size); h0 and c0 (num_layers * D, N,
    hidden_size) with D = 2 if bidirectional else 1; output (T, N, D * hidden_size). Parameters
    are weight_ih_l{k} (4 hidden_size, features), weight_hh_l{k}, bias_ih_l{k}, bias_hh_l{k}, with
    "_reverse" appended for the backward direction; all start uniform in +-1/sqrt(hidden_size).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__()
        self.input_size = positive_int("LSTM", "input_size", input_size)
        self.hidden_size = positive_int("LSTM", "hidden_size", hidden_size)
        self.num_layers = positive_int("LSTM", "num_layers", num_layers)
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = probability("LSTM", "dropout", dropout)
        self.bidirectional = bidirectional
        directions = 2 if bidirectional else 1
        rows = 4 * self.hidden_size
        for layer in range(self.num_layers):
            features = self.input_size if layer == 0 else self.hidden_size * directions
            for suffix in self._suffixes(layer):
                shapes: list[tuple[str, tuple[int, ...]]] = [
                    ("weight_ih", (rows, features)),
                    ("weight_hh", (rows, self.hidden_size)),
                ]
                if bias:
                    shapes += [("bias_ih", (rows,)), ("bias_hh", (rows,))]
                for name, shape in shapes:
                    param = Parameter(gs.empty(shape, dtype=dtype, device=device))
                    self.register_parameter(name + suffix, param)
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"] if self.bidirectional else [f"_l{layer}"]

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        _uniform(self, self.hidden_size)

    def forward(self, input: Tensor, hx: State | None = None) -> tuple[Tensor, State]:
        """Run the sequence; returns (output, (h_n, c_n)). A missing `hx` means zeros."""
        rank = len(input.shape)
        if rank not in (2, 3):
            raise ValueError(f"LSTM: input must have 2 or 3 axes, got shape {tuple(input.shape)}")
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"LSTM: input has {input.shape[-1]} features, input_size is {self.input_size}"
            )
        batched = rank == 3
        if not batched:
            input = input.unsqueeze(1)
        elif self.batch_first:
            input = input.transpose(0, 1)
        h0, c0 = self._initial_state(input, hx, batched)
        output, h_n, c_n = self._layers(input, h0, c0)
        if not batched:
            return output.squeeze(1), (h_n.squeeze(1), c_n.squeeze(1))
        return (output.transpose(0, 1) if self.batch_first else output), (h_n, c_n)

    def _initial_state(self, input: Tensor, hx: State | None, batched: bool) -> State:
        directions = 2 if self.bidirectional else 1
        shape = (self.num_layers * directions, input.shape[1], self.hidden_size)
        if hx is None:
            zeros = gs.zeros(shape, dtype=input.dtype, device=input.device)
            return zeros, zeros
        if not isinstance(hx, (tuple, list)) or len(hx) != 2:
            raise TypeError(f"LSTM: hx must be a pair (h_0, c_0), got {type(hx).__name__}")
        h0, c0 = hx if batched else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
        for name, state in (("h_0", h0), ("c_0", c0)):
            if tuple(state.shape) != shape:
                raise ValueError(f"LSTM: {name} must have shape {shape}, got {tuple(state.shape)}")
        return h0, c0

    def _layers(self, input: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        last_h: list[Tensor] = []
        last_c: list[Tensor] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                input = _core.dropout(input, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes(layer):
                y, h, c = _core.lstm_layer(
                    input,
                    h0[len(last_h)],
                    c0[len(last_c)],
                    getattr(self, "weight_ih" + suffix),
                    getattr(self, "weight_hh" + suffix),
                    getattr(self, "bias_ih" + suffix, None),
                    getattr(self, "bias_hh" + suffix, None),
                    suffix.endswith("_reverse"),
                )
                outputs.append(y)
                last_h.append(h)
                last_c.append(c)
            input = gs.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        return input, gs.stack(last_h), gs.stack(last_c)

    def extra_repr(self) -> str:
        """Show what differs from the defaults."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.num_layers != 1:
            parts.append(f"num_layers={self.num_layers}")
        if not self.bias:
            parts.append("bias=False")
        if self.batch_first:
            parts.append("batch_first=True")
        if self.dropout:
            parts.append(f"dropout={self.dropout}")
        if self.bidirectional:
            parts.append("bidirectional=True")
        return ", ".join(parts)


class LSTMCell(Module):
    """One step of an LSTM; formula and gate order as in `LSTM`.

    Args:
        input_size: features of the input.
        hidden_size: features of h and c.
        bias: whether the gates have biases.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, input_size) or (input_size); h and c (N, hidden_size) or (hidden_size).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__()
        self.input_size = positive_int("LSTMCell", "input_size", input_size)
        self.hidden_size = positive_int("LSTMCell", "hidden_size", hidden_size)
        self.bias = bias
        rows = 4 * self.hidden_size
        self.weight_ih = Parameter(gs.empty((rows, self.input_size), dtype=dtype, device=device))
        self.weight_hh = Parameter(gs.empty((rows, self.hidden_size), dtype=dtype, device=device))
        for name in ("bias_ih", "bias_hh"):
            param = Parameter(gs.empty((rows,), dtype=dtype, device=device)) if bias else None
            self.register_parameter(name, param)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        _uniform(self, self.hidden_size)

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """Advance one step; returns (h, c). A missing `hx` means zeros."""
        shape = tuple(input.shape)
        if len(shape) not in (1, 2) or shape[-1] != self.input_size:
            raise ValueError(
                f"LSTMCell: input must have shape (N, {self.input_size}) or "
                f"({self.input_size},), got {shape}"
            )
        expected = (*shape[:-1], self.hidden_size)
        if hx is None:
            zeros = gs.zeros(expected, dtype=input.dtype, device=input.device)
            hx = (zeros, zeros)
        h, c = hx
        for name, state in (("h", h), ("c", c)):
            if tuple(state.shape) != expected:
                raise ValueError(
                    f"LSTMCell: {name} must have shape {expected}, got {tuple(state.shape)}"
                )
        batch = (-1, self.hidden_size)
        _, h, c = _core.lstm_layer(
            input.reshape(1, -1, self.input_size),
            h.reshape(*batch),
            c.reshape(*batch),
            self.weight_ih,
            self.weight_hh,
            self.bias_ih,
            self.bias_hh,
            False,
        )
        return h.reshape(*expected), c.reshape(*expected)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
