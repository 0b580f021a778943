"""Normalisation composed of ops: instance and local response norm, vectors of length one."""

from __future__ import annotations

import gradsmith as gs
from gradsmith import _core
from gradsmith._core import Tensor

from .._args import positive_int

__all__ = ["instance_norm", "local_response_norm", "normalize"]


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise each channel of each sample of (N, C, ...) (Ulyanov, Vedaldi, Lempitsky, 2016).

    Args:
        input: (N, C, ...) with at least one axis behind.
        running_mean: (C), moved in place towards the mean over samples; used instead of the
            input's where not `use_input_stats`.
        running_var: (C), likewise, of the unbiased variance.
        weight: factor per channel.
        bias: constant per channel.
        use_input_stats: whether statistics come from the input.
        momentum: share of the new statistics in the running ones.
        eps: added to the variance.
    """
    if len(input.shape) < 3:
        raise ValueError(f"instance_norm: input must be (N, C, ...), got {tuple(input.shape)}")
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ValueError(
                "instance_norm: without use_input_stats running_mean and running_var are needed"
            )
        return _core.batch_norm(input, running_mean, running_var, weight, bias, False, 0.0, eps)
    samples, channels = input.shape[:2]
    values = input[0, 0].numel() if samples * channels else 2
    if values < 2:
        raise ValueError(
            "instance_norm: statistics need more than one value per channel, "
            f"got {tuple(input.shape)}"
        )
    if samples:
        with gs.no_grad():
            flat = input.detach().flatten(2)
            if running_mean is not None:
                _move(running_mean, flat.mean(2), momentum)
            if running_var is not None:
                _move(running_var, flat.var(2), momentum)
    return _core.group_norm(input, channels, weight, bias, eps)


def _move(running: Tensor, per_sample: Tensor, momentum: float) -> None:
    running.mul_(1 - momentum).add_(per_sample.mean(0).to(running.dtype) * momentum)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha mean(x^2))^beta over `size` channels around (Krizhevsky et al., 2012).

    Args:
        input: (N, C, ...) with at least one axis behind.
        size: channels in the mean; beyond the ends they count as zeros.
        alpha: factor of the mean of squares.
        beta: exponent.
        k: added to it.
    """
    positive_int("local_response_norm", "size", size)
    if len(input.shape) < 3:
        raise ValueError(
            f"local_response_norm: input must be (N, C, ...), got {tuple(input.shape)}"
        )
    squares = (input * input).flatten(2).unsqueeze(1)
    padded = _core.pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean = _core.avg_pool2d(padded, (size, 1), 1).reshape(input.shape)
    return input / (mean * alpha + k).pow(beta)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the p-norm along `dim`, or by `eps` where that is smaller."""
    return input / gs.norm(input, p, dim, True).clamp(min=eps)
