"""Recurrent layers over whole sequences: RNN, LSTM, GRU. Their single steps are in rnn_cell.py."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import integer
from gradsmith._core import Tensor

from . import init
from ._args import choice, positive_int, probability
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

State = tuple[Tensor, ...]


class RNNBase(Module):
    """What the three layers share; states are tuples, (h,) or (h, c), until they are returned."""

    _gates: ClassVar[int]
    _states: ClassVar[tuple[str, ...]] = ("h_0",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        device: Any,
        dtype: Any,
        proj_size: int = 0,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        self.input_size = positive_int(kind, "input_size", input_size)
        self.hidden_size = positive_int(kind, "hidden_size", hidden_size)
        self.num_layers = positive_int(kind, "num_layers", num_layers)
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = probability(kind, "dropout", dropout)
        self.bidirectional = bidirectional
        if not 0 <= integer(kind, "proj_size", proj_size) < self.hidden_size:
            raise ValueError(
                f"{kind}: proj_size must be in [0, hidden_size {hidden_size}), got {proj_size}"
            )
        self.proj_size = proj_size
        directions = 2 if bidirectional else 1
        rows = self._gates * self.hidden_size
        for layer in range(self.num_layers):
            features = self.input_size if layer == 0 else self._outputs() * directions
            for suffix in self._suffixes(layer):
                shapes: list[tuple[str, tuple[int, ...]]] = [
                    ("weight_ih", (rows, features)),
                    ("weight_hh", (rows, self._outputs())),
                ]
                if bias:
                    shapes += [("bias_ih", (rows,)), ("bias_hh", (rows,))]
                if proj_size:
                    shapes.append(("weight_hr", (proj_size, self.hidden_size)))
                for name, shape in shapes:
                    param = Parameter(gs.empty(shape, dtype=dtype, device=device))
                    self.register_parameter(name + suffix, param)
        self.reset_parameters()

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"] if self.bidirectional else [f"_l{layer}"]

    def _outputs(self) -> int:
        """Count the features of h."""
        return self.proj_size or self.hidden_size

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        bound = 1 / math.sqrt(self.hidden_size)
        for param in self.parameters():
            init.uniform_(param, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: kernels pack the weights themselves. For programs written for PyTorch."""

    def _run(self, input: Tensor | PackedSequence, hx: Any) -> tuple[Any, State]:
        """Return the output, packed if the input was, and the last states."""
        if isinstance(input, PackedSequence):
            self._check_features(input.data)
            batch = int(input.batch_sizes[0].item())
            states = self._initial_states(input.data, batch, hx, True)
            if input.sorted_indices is not None and hx is not None:
                states = tuple(s.index_select(1, input.sorted_indices) for s in states)
            output, last = self._layers(input.data, states, input.batch_sizes)
            if input.unsorted_indices is not None:
                last = tuple(s.index_select(1, input.unsorted_indices) for s in last)
            return input._replace(data=output), last
        kind = type(self).__name__
        rank = len(input.shape)
        if rank not in (2, 3):
            raise ValueError(f"{kind}: input must have 2 or 3 axes, got shape {input.shape}")
        self._check_features(input)
        if rank == 2:
            states = self._initial_states(input, 1, hx, False)
            output, last = self._layers(input.unsqueeze(1), states, None)
            return output.squeeze(1), tuple(state.squeeze(1) for state in last)
        if self.batch_first:
            input = input.transpose(0, 1)
        states = self._initial_states(input, input.shape[1], hx, True)
        output, last = self._layers(input, states, None)
        return output.transpose(0, 1) if self.batch_first else output, last

    def _check_features(self, input: Tensor) -> None:
        if input.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: input has {input.shape[-1]} features, "
                f"input_size is {self.input_size}"
            )

    def _initial_states(self, input: Tensor, batch: int, hx: Any, batched: bool) -> State:
        rows = self.num_layers * (2 if self.bidirectional else 1)
        sizes = (self._outputs(), self.hidden_size)[: len(self._states)]
        if hx is None:
            return tuple(
                gs.zeros(rows, batch, size, dtype=input.dtype, device=input.device)
                for size in sizes
            )
        kind = type(self).__name__
        if len(self._states) == 1:
            hx = (hx,)
        elif not isinstance(hx, (tuple, list)) or len(hx) != len(self._states):
            raise TypeError(f"{kind}: hx must be a pair (h_0, c_0), got {type(hx).__name__}")
        states: list[Tensor] = []
        for name, state, size in zip(self._states, hx, sizes, strict=True):
            if not isinstance(state, Tensor):
                raise TypeError(f"{kind}: {name} must be a Tensor, got {type(state).__name__}")
            whole = state if batched else state.unsqueeze(1)
            if tuple(whole.shape) != (rows, batch, size):
                expected = (rows, batch, size) if batched else (rows, size)
                raise ValueError(
                    f"{kind}: {name} must have shape {expected}, got {tuple(state.shape)}"
                )
            states.append(whole)
        return tuple(states)

    def _layers(
        self, input: Tensor, states: State, batch_sizes: Tensor | None
    ) -> tuple[Tensor, State]:
        own: Any = self._parameters
        last: list[State] = []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                input = _core.dropout(input, self.dropout, self.training)
            outputs = []
            for suffix in self._suffixes(layer):
                arguments = (
                    input,
                    *(state[len(last)] for state in states),
                    own["weight_ih" + suffix],
                    own["weight_hh" + suffix],
                    own.get("bias_ih" + suffix),
                    own.get("bias_hh" + suffix),
                    suffix.endswith("_reverse"),
                    batch_sizes,
                    *((own["weight_hr" + suffix],) if self.proj_size else ()),
                )
                y, *now = self._direction(arguments)
                outputs.append(y)
                last.append(tuple(now))
            input = gs.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        return input, tuple(gs.stack(list(each)) for each in zip(*last, strict=True))

    def _direction(self, arguments: tuple[Any, ...]) -> State:
        """Call the op of one direction of one layer; returns its output and its last states."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Show what differs from the defaults."""
        parts = [f"{self.input_size}, {self.hidden_size}"]
        if self.proj_size:
            parts.append(f"proj_size={self.proj_size}")
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


class LSTM(RNNBase):
    """Long short-term memory over a sequence (Hochreiter and Schmidhuber, 1997).

    Per step, with gates stacked in the order i, f, g, o:
    c' = sigmoid(f) c + sigmoid(i) tanh(g),  h' = sigmoid(o) tanh(c'). With proj_size
    h' = W_hr (sigmoid(o) tanh(c')) (Sak, Senior and Beaufays, 2014).

    Args:
        input_size: features per step.
        hidden_size: features of h and c.
        num_layers: layers stacked on top of each other.
        bias: whether the gates have biases.
        batch_first: sequences are (N, T, ...) instead of (T, N, ...).
        dropout: probability applied to the output of every layer but the last, in training.
        bidirectional: a second set of layers reads backwards; outputs are joined.
        proj_size: features of h, if they are not hidden_size's; less than hidden_size.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (T, N, input_size) or (T, input_size), or a PackedSequence; h0 and c0
    (num_layers * D, N, hidden_size) with D = 2 if bidirectional else 1; output (T, N, D *
    hidden_size), packed where the input is. With proj_size h0 and the output have it in place of
    hidden_size. Parameters are weight_ih_l{k} (4 hidden_size, features), weight_hh_l{k} (4
    hidden_size, features of h), bias_ih_l{k}, bias_hh_l{k} and, with proj_size, weight_hr_l{k}
    (proj_size, hidden_size), with "_reverse" appended for the backward direction; all start
    uniform in +-1/sqrt(hidden_size).
    """

    _gates = 4
    _states = ("h_0", "c_0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        options = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype, proj_size)
        super().__init__(input_size, hidden_size, *options)

    def forward(
        self, input: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Any, tuple[Tensor, Tensor]]:
        """Run the sequence; returns (output, (h_n, c_n)). A missing `hx` means zeros."""
        output, (h, c) = self._run(input, hx)
        return output, (h, c)

    def _direction(self, arguments: tuple[Any, ...]) -> State:
        return _core.lstm_layer(*arguments)


class GRU(RNNBase):
    """Gated recurrent units over a sequence (Cho et al., 2014).

    Per step, with gates stacked in the order r, z, n: r, z = sigmoid(W_i x + b_i + W_h h + b_h),
    n = tanh(W_in x + b_in + r (W_hn h + b_hn)),  h' = (1 - z) n + z h.

    Args:
        input_size: features per step.
        hidden_size: features of h.
        num_layers: layers stacked on top of each other.
        bias: whether the gates have biases.
        batch_first: sequences are (N, T, ...) instead of (T, N, ...).
        dropout: probability applied to the output of every layer but the last, in training.
        bidirectional: a second set of layers reads backwards; outputs are joined.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: as `LSTM`, with a state h alone; weight_ih_l{k} is (3 hidden_size, features).
    """

    _gates = 3

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
        options = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, *options)

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Any, Tensor]:
        """Run the sequence; returns (output, h_n). A missing `hx` means zeros."""
        output, (h,) = self._run(input, hx)
        return output, h

    def _direction(self, arguments: tuple[Any, ...]) -> State:
        return _core.gru_layer(*arguments)


class RNN(RNNBase):
    """A plain recurrent network (Elman, 1990): h' = f(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        input_size: features per step.
        hidden_size: features of h.
        num_layers: layers stacked on top of each other.
        nonlinearity: f, "tanh" or "relu".
        bias: whether there are biases.
        batch_first: sequences are (N, T, ...) instead of (T, N, ...).
        dropout: probability applied to the output of every layer but the last, in training.
        bidirectional: a second set of layers reads backwards; outputs are joined.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: as `LSTM`, with a state h alone; weight_ih_l{k} is (hidden_size, features).
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        options = (num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        super().__init__(input_size, hidden_size, *options)
        self.nonlinearity = choice("RNN", "nonlinearity", nonlinearity, ("tanh", "relu"))

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Any, Tensor]:
        """Run the sequence; returns (output, h_n). A missing `hx` means zeros."""
        output, (h,) = self._run(input, hx)
        return output, h

    def _direction(self, arguments: tuple[Any, ...]) -> State:
        return _core.rnn_layer(*(*arguments, self.nonlinearity))

    def extra_repr(self) -> str:
        """Show what differs from the defaults."""
        relu = ", nonlinearity=relu" if self.nonlinearity == "relu" else ""
        return super().extra_repr() + relu
