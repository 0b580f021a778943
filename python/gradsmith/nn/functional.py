"""Stateless layers, activations and losses: `import gradsmith.nn.functional as F`.

Most names are the compiled ops themselves, so calling them costs nothing extra; `help(F.conv2d)`
shows each op's arguments.
"""

from __future__ import annotations

from typing import Any

from gradsmith._core import (
    Tensor,
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    conv1d,
    conv2d,
    cross_entropy,
    dropout,
    elu,
    embedding,
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
    max_pool2d_with_indices,
    mish,
    mse_loss,
    nll_loss,
    relu,
    relu6,
    rms_norm,
    sigmoid,
    silu,
    smooth_l1_loss,
    softmax,
    softplus,
    tanh,
)
from gradsmith._core import log_sigmoid as logsigmoid
from gradsmith._core import max_pool2d as _max_pool2d

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
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
    "relu",
    "relu6",
    "rms_norm",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "tanh",
]


def max_pool2d(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Maximum over a sliding window; see `nn.MaxPool2d`.

    Returns:
        The maxima, or (maxima, indices) with `return_indices`.
    """
    pool = max_pool2d_with_indices if return_indices else _max_pool2d
    return pool(input, kernel_size, () if stride is None else stride, padding, dilation, ceil_mode)
