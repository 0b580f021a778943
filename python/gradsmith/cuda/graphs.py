"""CUDA graphs: a step recorded once and replayed by one call to the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from .streams import Stream, current_stream, stream

__all__ = ["Graph", "graph", "note_step"]

_streams: dict[int, Stream] = {}  # that graphs are recorded on and run on, by device
_open: list[Graph] = []  # being recorded


class Graph:
    """A function's work on the device, recorded; calling it does that work again.

    Args:
        step: called once while recording, with tensors of its own in place of `inputs`. It works on
            one CUDA device and does not look at values (`item()`, masks, `nonzero`, printing).
        *inputs: examples of what it is called with; at least one CUDA tensor.

    Replays read and write the same memory: parameters are updated in place, and results are
    tensors that the next replay overwrites. Random numbers go on as they would without a graph, and
    optimizers (SGD, Adam, AdamW, RMSprop, Adagrad) count their steps and follow their learning
    rate. Optimizer state must exist, so at least one step must have been made before. Indices and
    targets are not checked during replays. The graph keeps `step`, and so what it refers to, alive;
    tensors that it looks up in a module must stay there. Gradients are put back before replays only
    for parameters of optimizers in the step.
    """

    def __init__(self, step: Callable[..., Any], *inputs: Tensor) -> None:
        """Record `step`."""
        devices = {x.device for x in inputs}
        if len(devices) != 1 or next(iter(devices)).type != "cuda":
            raise ValueError(
                "graph: inputs must be tensors on one CUDA device, got "
                f"{', '.join(sorted(map(str, devices))) or 'none'}"
            )
        at = next(iter(devices)).index
        self._stream = _streams.setdefault(at, Stream(at))
        self._step = step  # and with it whatever memory the recorded work uses
        self._inputs = [x.detach().clone() for x in inputs]
        self._steps: list[tuple[Any, list[tuple[Tensor, Tensor]], dict[Any, Any]]] = []
        self._stream.wait_stream(current_stream(at))
        with stream(self._stream):
            self._graph = _core.CudaGraph(at)
            _open.append(self)
            try:
                self.outputs = step(*self._inputs)
                self._graph.finish()
            except BaseException:
                self._graph.abandon()
                raise
            finally:
                _open.remove(self)
                for optimizer, _, counts in self._steps:  # nothing has been done yet
                    for param, numbers in counts.items():
                        optimizer.state[param].update(numbers)
        params = {p for _, pairs, _ in self._steps for p, _ in pairs}
        self._grads = [(p, p.grad) for p in params]

    def fits(self, *inputs: Tensor) -> bool:
        """Whether inputs have the shapes, dtypes and device of those that were recorded."""
        return len(inputs) == len(self._inputs) and all(
            (x.shape, x.dtype, x.device) == (y.shape, y.dtype, y.device)
            for x, y in zip(inputs, self._inputs, strict=True)
        )

    def __call__(self, *inputs: Tensor) -> Any:
        """Copy `inputs` in, replay, and return what the recorded call returned."""
        if not self.fits(*inputs):
            raise ValueError(
                f"graph: inputs must be like {[tuple(x.shape) for x in self._inputs]}, got "
                f"{[tuple(x.shape) for x in inputs]}, of the same dtypes and device"
            )
        outside = current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with stream(self._stream):
            with gs.no_grad():
                for own, x in zip(self._inputs, inputs, strict=True):
                    own.copy_(x)
            self._refresh()
            self._graph.launch()
        for param, grad in self._grads:
            param.grad = grad
        outside.wait_stream(self._stream)
        return self.outputs

    def _refresh(self) -> None:
        """Let the optimizers work out the numbers of their next step."""
        self._graph.refresh(True)
        try:
            for optimizer, pairs, _ in self._steps:
                optimizer.zero_grad()
                for param, grad in pairs:
                    param.grad = grad
                optimizer.step()
        finally:
            self._graph.refresh(False)


def graph(step: Callable[..., Any], *inputs: Tensor, warmup: int = 1) -> Graph:
    """Call `step` `warmup` times with `inputs`, record the next call, and return it for replays.

    Args:
        step: see `Graph`; for a training step: zero_grad, forward, loss, backward, optimizer step.
        *inputs: see `Graph`.
        warmup: calls before, with their effects; they create gradients' and optimizers' memory.

    Example:
        >>> def step(x, y):
        ...     optimizer.zero_grad()
        ...     loss = loss_fn(model(x), y)
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss
        >>> replay = gs.cuda.graph(step, x, y)
        >>> for x, y in batches:
        ...     loss = replay(x, y)
    """
    if not callable(step):
        raise TypeError(f"graph: step must be callable, got {type(step).__name__}")
    for _ in range(warmup):
        step(*inputs)
    return Graph(step, *inputs)


def note_step(optimizer: Any) -> None:
    """Remember that the graph that is being recorded makes a step of an optimizer."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    counts = {
        p: {name: v for name, v in optimizer.state[p].items() if not isinstance(v, Tensor)}
        for p in params
        if p in optimizer.state
    }
    _open[-1]._steps.append(
        (optimizer, [(p, p.grad) for p in params if p.grad is not None], counts)
    )
