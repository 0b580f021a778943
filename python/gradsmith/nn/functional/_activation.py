"""Activations that are composed of ops; the others are ops themselves.

`inplace` is taken where PyTorch has it and changes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import nonnegative
from gradsmith._core import Tensor

__all__ = [
    "celu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "log_softmax",
    "prelu",
    "rrelu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "tanhshrink",
    "threshold",
]


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where positive, else alpha (exp(x / alpha) - 1) (Barron, 2017)."""
    if alpha == 0 or math.isnan(alpha):
        raise ValueError(f"celu: alpha must not be {alpha}")
    if alpha < 0:
        return _core.where(input > 0, input, _core.expm1(input / alpha) * alpha)
    return _core.elu(input) if alpha == 1 else _core.elu(input / alpha) * alpha


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half along `dim` times the sigmoid of the second (Dauphin et al., 2017)."""
    if not input.shape:
        raise ValueError("glu: input must have at least one axis, got a scalar")
    if not -len(input.shape) <= dim < len(input.shape):
        raise IndexError(f"glu: dim {dim} out of range for shape {tuple(input.shape)}")
    if input.shape[dim] % 2:
        raise ValueError(f"glu: the size of dim {dim} must be even, got shape {tuple(input.shape)}")
    half = input.shape[dim] // 2
    return input.narrow(dim, 0, half) * _core.sigmoid(input.narrow(dim, half, half))


def gumbel_softmax(
    logits: Tensor, tau: float = 1.0, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Softmax of logits with Gumbel noise: a differentiable draw (Jang, Gu and Poole, 2017).

    Args:
        logits: unnormalised log-probabilities.
        tau: temperature.
        hard: return one-hot vectors, whose gradient is that of the soft ones.
        eps: ignored.
        dim: the axis of the classes.
    """
    uniform = gs.rand_like(logits).clamp(min=1e-38)
    noise = -gs.log(-gs.log(uniform))
    soft = _core.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.argmax(dim, keepdim=True)
    ones = gs.ones(index.shape, dtype=soft.dtype, device=soft.device)
    one = gs.scatter_add(gs.zeros_like(soft.detach()), dim, index, ones)
    return one - soft.detach() + soft


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x, or 0 where `|x| <= lambd`."""
    return input.masked_fill(gs.abs(input.detach()) <= lambd, 0.0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, and 0 where `|x| <= lambd`."""
    nonnegative("softshrink", "lambd", lambd)
    return input - input.clamp(-lambd, lambd)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return input - gs.tanh(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else `value`."""
    return input.masked_fill(input.detach() <= threshold, value)


def _axis(op: str, input: Tensor, dim: int | None) -> int:
    """Return `dim`; without one PyTorch's choice, which takes 3 axes for (C, H, W)."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{op}: argument 'input' must be a Tensor, got {type(input).__name__}")
    if dim is not None:
        return dim
    return 0 if len(input.shape) in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`.

    Args:
        input: any shape.
        dim: unless given, 0 of an input with 0, 1 or 3 axes, else 1.
        dtype: the result's; the input is converted first.
    """
    return _core.softmax(input, _axis("softmax", input, dim), dtype)


def log_softmax(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along `dim`, without overflow; see `softmax`."""
    return _core.log_softmax(input, _axis("log_softmax", input, dim), dtype)


def softmin(input: Tensor, dim: int | None = None, dtype: Any = None) -> Tensor:
    """exp(-x) / sum(exp(-x)) along `dim`; see `softmax`."""
    axis = _axis("softmin", input, dim)
    if dtype is not None:  # before the sign, which uint8 has not
        input = input.to(dtype)
    return _core.softmax(-input, axis, dtype)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x exceeds the threshold.

    Args:
        input: any shape.
        beta: not 0; with a negative one the function lies below x instead of above it.
        threshold: where the function is taken for straight.
    """
    if (
        isinstance(beta, (int, float)) and beta < 0
    ):  # the op knows positive ones; both are one curve, mirrored at the origin
        return -_core.softplus(-input, -beta, threshold)
    return _core.softplus(input, beta, threshold)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where positive, else weight x (He et al., 2015).

    Args:
        input: (N, C, ...), or any shape where the weight is one number.
        weight: (1) or (C).
    """
    if not isinstance(weight, Tensor) or len(weight.shape) > 1:
        raise ValueError("prelu: weight must be a tensor of at most one axis")
    factor = weight
    if weight.numel() != 1:
        channels = input.shape[1] if len(input.shape) > 1 else 1
        if weight.numel() != channels:
            raise ValueError(
                f"prelu: weight has {weight.numel()} values, input {tuple(input.shape)} has "
                f"{channels} channels"
            )
        factor = weight.reshape(-1, *(1,) * (len(input.shape) - 2))
    elif not input.shape:
        factor = weight.reshape(())
    return gs.where(input.detach() > 0, input, factor * input)


def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Leaky ReLU with a slope drawn from [lower, upper) per element in training (Xu et al., 2015).

    In evaluation the slope is the mean of the two.
    """
    if not lower <= upper:
        raise ValueError(f"rrelu: lower ({lower}) must not exceed upper ({upper})")
    if not training:
        return _core.leaky_relu(input, (lower + upper) / 2)
    slope = gs.empty(input.shape, dtype=input.dtype, device=input.device).uniform_(lower, upper)
    return gs.where(input.detach() > 0, input, input * slope)
