"""Applying a model without training it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith.data import DataLoader, TensorDataset
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


def predict(model: Module, inputs: Any, *, batch_size: int = 256) -> Tensor:
    """Return the model's outputs, in evaluation mode and without gradients.

    Args:
        model: what to apply.
        inputs: a tensor, array or list whose first axis runs over samples, or a tuple of them
            for a model of several inputs.
        batch_size: samples per forward pass.

    Raises:
        ValueError: there are no samples.
    """
    several = inputs if isinstance(inputs, tuple) else (inputs,)
    tensors = [gs.tensor(item) if isinstance(item, list) else item for item in several]
    with evaluating(model):
        outputs = [model(*batch) for batch in DataLoader(TensorDataset(*tensors), batch_size)]
        if not outputs:
            raise ValueError("predict: inputs has no samples")
        return gs.cat(outputs, 0)
