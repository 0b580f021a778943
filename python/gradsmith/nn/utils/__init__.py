"""Helpers over many parameters: gradient clipping, flattening to one vector; `rnn`: sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable

import gradsmith as gs
from gradsmith import _core
from gradsmith._checks import number
from gradsmith._core import Tensor

from . import rnn

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "get_total_norm",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
]


def _grads(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [tensor.grad for tensor in tensors if tensor.grad is not None]


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Return the norm of all elements of all tensors together, a tensor without axes.

    Args:
        tensors: such as gradients; of none of them the norm is 0.
        norm_type: the p of the norm; may be infinity.
        error_if_nonfinite: raise where the norm is infinite or NaN.

    Raises:
        ValueError: the norm is not finite and that is refused.
    """
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    p = float(number("get_total_norm", "norm_type", norm_type))
    if not given:
        return gs.zeros(())
    norm = gs.norm(gs.stack([gs.norm(tensor, p) for tensor in given]), p)
    if error_if_nonfinite and not math.isfinite(norm.item()):
        raise ValueError(f"get_total_norm: the norm of the tensors is {norm.item()}")
    return norm


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients down together so that their joint norm is at most `max_norm`.

    Args:
        parameters: tensors whose `grad` is clipped in place; those without one are skipped.
        max_norm: the largest norm allowed.
        norm_type: the p of the norm; may be infinity.
        error_if_nonfinite: raise instead of scaling by a norm that is infinite or NaN.

    Returns:
        The norm before clipping, a tensor without axes.

    Raises:
        ValueError: `max_norm` is negative or NaN, or the norm is not finite and that is refused;
            gradients then stay as they are.
    """
    owner = "clip_grad_norm_"
    if not number(owner, "max_norm", max_norm) >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm must not be negative, got {max_norm}")
    grads = _grads(parameters)
    if not grads:
        return gs.zeros(())
    p = float(number(owner, "norm_type", norm_type))
    if error_if_nonfinite:
        get_total_norm([grad.detach() for grad in grads], p, True)
    return _core.clip_grad_norm_(grads, float(max_norm), p)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Cut every element of every gradient to [-clip_value, clip_value], in place."""
    if not number("clip_grad_value_", "clip_value", clip_value) >= 0:
        raise ValueError(f"clip_grad_value_: clip_value must not be negative, got {clip_value}")
    grads = _grads(parameters)
    if grads:
        _core.clip_grad_value_(grads, float(clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Join all elements into one vector, in order; differentiable."""
    return gs.cat([param.reshape(-1) for param in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy consecutive pieces of a vector into the parameters.

    Raises:
        ValueError: the number of elements differs.
    """
    params = list(parameters)
    total = sum(math.prod(param.shape) for param in params)
    if tuple(vec.shape) != (total,):
        raise ValueError(
            f"vector_to_parameters: vec must have shape ({total},), got {tuple(vec.shape)}"
        )
    start = 0
    with gs.no_grad():
        for param in params:
            size = math.prod(param.shape)
            param.copy_(vec[start : start + size].reshape(*param.shape))
            start += size
