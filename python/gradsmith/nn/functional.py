"""Stateless layers, activations and losses: `import gradsmith.nn.functional as F`.

Most names are the compiled ops themselves, so calling them costs nothing extra; `help(F.linear)`
shows each op's arguments. The functions below take forms of an argument that the ops do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradsmith import _core
from gradsmith._core import (
    Tensor,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    conv_transpose2d,
    dropout,
    elu,
    gelu,
    group_norm,
    hardsigmoid,
    hardswish,
    hardtanh,
    huber_loss,
    kl_div,
    l1_loss,
    layer_norm,
    leaky_relu,
    linear,
    log_softmax,
    max_pool2d,
    mish,
    mse_loss,
    one_hot,
    pad,
    relu,
    relu6,
    rms_norm,
    selu,
    sigmoid,
    silu,
    smooth_l1_loss,
    softmax,
    softplus,
    softsign,
    tanh,
)
from gradsmith._core import log_sigmoid as logsigmoid

from ._args import as_index, conv_padding, pair, single, spatial_size

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gelu",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "max_pool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "relu6",
    "rms_norm",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "softsign",
    "tanh",
]

_Sizes = int | tuple[int, ...] | list[int]


def _zeros(
    op: str,
    sizes: Callable[..., tuple[int, ...]],
    weight: Tensor,
    stride: _Sizes,
    padding: str,
    dilation: _Sizes,
) -> tuple[int, ...]:
    strides, dilations = sizes(op, "stride", stride), sizes(op, "dilation", dilation)
    if not isinstance(weight, Tensor) or len(weight.shape) != len(strides) + 2:
        return (0,)  # the op says what is wrong
    return conv_padding(op, padding, tuple(weight.shape[2:]), strides, dilations)


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes | str = 0,
    dilation: _Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation along one axis; `padding` may be "same" or "valid", see `nn.Conv1d`."""
    if isinstance(padding, str):
        padding = _zeros("conv1d", single, weight, stride, padding, dilation)
    return _core.conv1d(input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: _Sizes = 1,
    padding: _Sizes | str = 0,
    dilation: _Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation over two axes; `padding` may be "same" or "valid", see `nn.Conv2d`."""
    if isinstance(padding, str):
        padding = _zeros("conv2d", pair, weight, stride, padding, dilation)
    return _core.conv2d(input, weight, bias, stride, padding, dilation, groups)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Mean over windows that give `output_size`; None keeps the input's size."""
    return _core.adaptive_avg_pool2d(input, spatial_size(input, output_size))


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maximum over windows that give `output_size`; None keeps the input's size."""
    return _core.adaptive_max_pool2d(input, spatial_size(input, output_size), return_indices)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """Rows of `weight`; indices of any integer type."""
    return _core.embedding(as_index(input), weight, padding_idx)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross-entropy against class indices or probabilities; see `nn.CrossEntropyLoss`."""
    return _core.cross_entropy(
        input, as_index(target), weight, ignore_index, reduction, label_smoothing
    )


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood of class indices; see `nn.NLLLoss`."""
    return _core.nll_loss(input, as_index(target), weight, ignore_index, reduction)
