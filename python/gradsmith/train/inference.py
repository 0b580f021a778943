"""Applying a model without training it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import gradsmith as gs
from gradsmith._core import Tensor, device
from gradsmith.data import DataLoader, Dataset, TensorDataset
from gradsmith.nn import Module

__all__ = ["evaluating", "predict"]


@contextlib.contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Switch to evaluation mode without gradients; restores every module's mode at the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with gs.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def device_of(model: Module) -> device:
    """Return where a model's first parameter is; the CPU for a model without any."""
    for param in model.parameters():
        return param.device
    return device("cpu")


def to_model(model: Module, items: Iterable[Any]) -> tuple[Any, ...]:
    """Move the tensors among `items` to the model's device; on the CPU they are already there."""
    where = device_of(model)
    if where.type == "cpu":
        return tuple(items)
    return tuple(item.to(where) if isinstance(item, Tensor) else item for item in items)


def to_cpu(value: Any) -> Any:
    """Bring a tensor to the CPU, off the tape; anything else stays as it is."""
    return value.detach().cpu() if isinstance(value, Tensor) else value


def predict(model: Module, inputs: Any, *, batch_size: int = 256) -> Tensor:
    """Return the model's outputs, in evaluation mode and without gradients.

    Args:
        model: what to apply.
        inputs: a tensor, array or list whose first axis runs over samples, or a tuple of them
            for a model of several inputs; or a dataset or DataLoader, of whose batches the last
            item, the target, is left out where there are several.
        batch_size: samples per forward pass, where `inputs` is no DataLoader.

    The outputs are on the model's device, to which inputs are moved.

    Raises:
        ValueError: there are no samples.
    """
    outputs = []
    with evaluating(model):
        for batch in _batches(inputs, batch_size):
            outputs.append(model(*to_model(model, batch)))
        if not outputs:
            raise ValueError("predict: inputs has no samples")
        return gs.cat(outputs, 0)


def _batches(inputs: Any, batch_size: int) -> Iterator[tuple[Any, ...]]:
    if isinstance(inputs, (DataLoader, Dataset)):
        loader = inputs if isinstance(inputs, DataLoader) else DataLoader(inputs, batch_size)
        for batch in loader:
            items = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
            yield items[:-1] if len(items) > 1 else items
        return
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    tensors = [gs.tensor(item) if isinstance(item, list) else item for item in several]
    yield from DataLoader(TensorDataset(*tensors), batch_size)
