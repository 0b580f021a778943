"""Taps: listen to the gradients of layers' outputs and of every step's hidden state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith._hooks import RemovableHandle
from gradsmith.nn import GRU, LSTM, RNN, GRUCell, LSTMCell, Module, RNNCell

__all__ = ["Taps", "norm"]

_LAYERS = (RNN, LSTM, GRU)
_CELLS = (RNNCell, LSTMCell, GRUCell)
_STATES = ("h", "c")


def norm(tensor: Tensor) -> float:
    """Return the Euclidean norm; in float64, where small gradients do not underflow."""
    return float(tensor.detach().double().norm().item())


class Taps:
    """While attached, gathers gradient norms in the backward passes of a model.

    `outputs` maps each layer with parameters of its own to the norm of its output's gradient,
    `steps` each recurrent state ("rnn.h_l0", "lstm.c_l1_reverse", "cell.h") to one norm per time
    step: of the whole derivative of the loss with respect to that state, through the step's own
    output and through all later steps. The fused layers hand no such gradients out, so while taps
    are attached they run step by step.
    """

    def __init__(self) -> None:
        """Start with nothing attached."""
        self.outputs: dict[str, float] = {}
        self.steps: dict[str, list[float]] = {}
        self._complete = False  # a backward pass has run: the next forward pass starts afresh
        self._undo: list[Callable[[], object]] = []

    def attach(self, model: Module) -> None:
        """Listen to every layer of `model`."""
        for name, module in model.named_modules():
            prefix = f"{name}." if name else ""
            if isinstance(module, _LAYERS):
                self._unroll(prefix, module)
            elif isinstance(module, _CELLS):
                self._keep(module.register_forward_hook(self._cell_hook(prefix)))
            elif any(param is not None for param in module._parameters.values()):
                self._keep(module.register_forward_hook(self._layer_hook(name)))

    def detach(self) -> None:
        """Stop listening; what was gathered stays until the next forward pass."""
        for undo in self._undo:
            undo()
        self._undo.clear()

    def clear(self) -> None:
        """Forget what was gathered."""
        self.outputs, self.steps, self._complete = {}, {}, False

    def _keep(self, handle: RemovableHandle) -> None:
        self._undo.append(handle.remove)

    def _begin(self) -> bool:
        """Start afresh after a backward pass; say whether anything is to be listened to."""
        if not gs.is_grad_enabled():
            return False
        if self._complete:
            self.clear()
        return True

    def _layer_hook(self, name: str) -> Callable[[Module, Any, Any], None]:
        def heard(grad: Tensor) -> None:
            # A layer that is applied several times has one norm over all of its outputs.
            self.outputs[name] = float(np.hypot(self.outputs.get(name, 0.0), norm(grad)))
            self._complete = True

        def hook(module: Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.requires_grad and self._begin():
                output.register_hook(heard)

        return hook

    def _cell_hook(self, prefix: str) -> Callable[[Module, Any, Any], None]:
        def hook(module: Module, args: Any, output: Any) -> None:
            if self._begin():
                states = output if isinstance(output, tuple) else (output,)
                for kind, state in zip(_STATES, states, strict=False):
                    self._listen(prefix + kind, state, self._reserve(prefix + kind, 1))

        return hook

    def _reserve(self, key: str, count: int) -> int:
        """Make room for `count` more steps; a step that no gradient reaches stays at 0."""
        norms = self.steps.setdefault(key, [])
        norms.extend([0.0] * count)
        return len(norms) - count

    def _listen(self, key: str, state: Tensor, at: int) -> None:
        norms = self.steps[key]

        def heard(grad: Tensor) -> None:
            norms[at] = norm(grad)
            self._complete = True

        if state.requires_grad:
            state.register_hook(heard)

    def _unroll(self, prefix: str, module: Any) -> None:
        """Make a recurrent layer run step by step, and listen to each step's states."""
        fused, count = module._direction, len(module._states)

        def direction(arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
            if not self._begin():
                return fused(arguments)
            input, states = arguments[0], arguments[1 : 1 + count]
            weights = arguments[1 + count : 5 + count]
            reverse, batch_sizes = arguments[5 + count : 7 + count]
            more = arguments[7 + count :]
            own = next(key for key, param in module._parameters.items() if param is weights[0])
            suffix = own.removeprefix("weight_ih")
            keys = [f"{prefix}{kind}{suffix}" for kind in _STATES[:count]]

            sequence = _split(input, batch_sizes)
            starts = [self._reserve(key, len(sequence)) for key in keys]
            outputs: list[Tensor] = [input] * len(sequence)
            order = range(len(sequence))
            for t in reversed(order) if reverse else order:
                size = sequence[t].shape[1]
                active = tuple(state[:size] for state in states)
                _, *now = fused((sequence[t], *active, *weights, False, None, *more))
                for key, start, state in zip(keys, starts, now, strict=True):
                    self._listen(key, state, start + t)
                outputs[t] = now[0]
                # Sequences that have ended, or have not begun from behind, keep their state.
                states = tuple(
                    new if size == old.shape[0] else gs.cat([new, old[size:]], 0)
                    for new, old in zip(now, states, strict=True)
                )
            joined = gs.stack(outputs) if batch_sizes is None else gs.cat(outputs, 0)
            return joined, *states

        module._direction = direction
        self._undo.append(lambda: module.__dict__.pop("_direction", None))


def _split(input: Tensor, batch_sizes: Tensor | None) -> list[Tensor]:
    """Return one (1, N_t, features) tensor per step, of a packed batch too."""
    if batch_sizes is None:
        return [input[t : t + 1] for t in range(input.shape[0])]
    ends = np.cumsum(batch_sizes.numpy())
    return [input[int(b - n) : int(b)].unsqueeze(0) for b, n in zip(ends, batch_sizes, strict=True)]
