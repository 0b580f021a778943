"""Single steps of recurrent layers: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from . import init
from ._args import choice, positive_int
from .module import Module
from .parameter import Parameter

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What the three cells share."""

    _gates: ClassVar[int]

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, device: Any, dtype: Any
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        self.input_size = positive_int(kind, "input_size", input_size)
        self.hidden_size = positive_int(kind, "hidden_size", hidden_size)
        self.bias = bias
        rows = self._gates * self.hidden_size
        self.weight_ih = Parameter(gs.empty((rows, self.input_size), dtype=dtype, device=device))
        self.weight_hh = Parameter(gs.empty((rows, self.hidden_size), dtype=dtype, device=device))
        for name in ("bias_ih", "bias_hh"):
            param = Parameter(gs.empty((rows,), dtype=dtype, device=device)) if bias else None
            self.register_parameter(name, param)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw fresh initial values."""
        bound = 1 / math.sqrt(self.hidden_size)
        for param in self.parameters():
            init.uniform_(param, -bound, bound)

    def _inputs(self, input: Tensor, states: Any, names: tuple[str, ...]) -> list[Any]:
        """Return a sequence of one step, the states and the weights, as the layer ops take them."""
        kind, shape = type(self).__name__, tuple(input.shape)
        if len(shape) not in (1, 2) or shape[-1] != self.input_size:
            raise ValueError(
                f"{kind}: input must have shape (N, {self.input_size}) or "
                f"({self.input_size},), got {shape}"
            )
        expected = (*shape[:-1], self.hidden_size)
        if states is None:
            states = (gs.zeros(expected, dtype=input.dtype, device=input.device),) * len(names)
        for name, state in zip(names, states, strict=True):
            if tuple(state.shape) != expected:
                raise ValueError(
                    f"{kind}: {name} must have shape {expected}, got {tuple(state.shape)}"
                )
        own = self._parameters
        return [
            input.reshape(1, -1, self.input_size),
            *(state.reshape(-1, self.hidden_size) for state in states),
            *(own[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        ]

    def _like(self, input: Tensor, state: Tensor) -> Tensor:
        return state.reshape(*input.shape[:-1], self.hidden_size)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class LSTMCell(RNNCellBase):
    """One step of an LSTM; formula and gate order as in `LSTM`.

    Args:
        input_size: features of the input.
        hidden_size: features of h and c.
        bias: whether the gates have biases.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, input_size) or (input_size); h and c (N, hidden_size) or (hidden_size).
    """

    _gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(
        self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Advance one step; returns (h, c). A missing `hx` means zeros."""
        _, h, c = _core.lstm_layer(*self._inputs(input, hx, ("h", "c")))
        return self._like(input, h), self._like(input, c)


class GRUCell(RNNCellBase):
    """One step of a GRU; formula and gate order as in `GRU`.

    Args:
        input_size: features of the input.
        hidden_size: features of h.
        bias: whether the gates have biases.
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, input_size) or (input_size); h (N, hidden_size) or (hidden_size).
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Advance one step; returns h. A missing `hx` means zeros."""
        states = None if hx is None else (hx,)
        _, h = _core.gru_layer(*self._inputs(input, states, ("h",)))
        return self._like(input, h)


class RNNCell(RNNCellBase):
    """One step of a plain recurrent network; formula as in `RNN`.

    Args:
        input_size: features of the input.
        hidden_size: features of h.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu".
        device: where the parameters are; the CPU unless given.
        dtype: float32 unless given.

    Shapes: input (N, input_size) or (input_size); h (N, hidden_size) or (hidden_size).
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Create and initialise the parameters."""
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = choice("RNNCell", "nonlinearity", nonlinearity, ("tanh", "relu"))

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """Advance one step; returns h. A missing `hx` means zeros."""
        states = None if hx is None else (hx,)
        inputs = self._inputs(input, states, ("h",))
        _, h = _core.rnn_layer(*(*inputs, False, None, self.nonlinearity))
        return self._like(input, h)

    def extra_repr(self) -> str:
        """Show the sizes and what differs from the defaults."""
        relu = ", nonlinearity=relu" if self.nonlinearity == "relu" else ""
        return super().extra_repr() + relu
