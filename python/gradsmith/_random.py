"""The global random generator: Philox, the same numbers on every machine and thread count."""

from __future__ import annotations

import math
import operator
import sys

from . import _core
from ._checks import integer, tensor
from ._core import Tensor
from ._order import searchsorted, topk

__all__ = ["bernoulli", "get_rng_state", "manual_seed", "multinomial", "set_rng_state"]

_SMALLEST, _LARGEST = sys.float_info.min, sys.float_info.max


def manual_seed(seed: int) -> None:
    """Start the generator afresh.

    Args:
        seed: any integer; it is taken modulo 2^64, so that negative ones are allowed.

    Raises:
        TypeError: it is none.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"manual_seed: argument 'seed' must be an int, got {type(seed).__name__}"
        ) from None
    _core.manual_seed(number % 2**64)


def get_rng_state() -> tuple[int, int]:
    """Return seed and position of the generator."""
    return _core.get_rng_state()


def set_rng_state(state: tuple[int, int]) -> None:
    """Go back to what `get_rng_state` returned.

    Raises:
        ValueError: it is not a pair of integers in [0, 2^64).
    """
    if (
        not isinstance(state, (tuple, list))
        or len(state) != 2
        or not all(isinstance(number, int) and 0 <= number < 2**64 for number in state)
    ):
        raise ValueError(
            f"set_rng_state: argument 'state' must be two integers in [0, 2^64), got {state!r}"
        )
    _core.set_rng_state((state[0], state[1]))


def bernoulli(input: Tensor, p: float | None = None) -> Tensor:
    """Draw 1 with the probabilities that the input holds, or with probability p, else 0.

    Args:
        input: floating; the draws have its shape and dtype, and no gradient.
        p: in [0, 1]; the input's values do not count then.

    Raises:
        TypeError: the input is not floating.
        ValueError: a probability lies outside of [0, 1].
    """
    if not tensor("bernoulli", "input", input).dtype.is_floating_point:
        raise TypeError(f"bernoulli: input must be floating, got {input.dtype.name}")
    chances = input.detach()
    if p is not None:
        chances = _core.full(input.shape, p, dtype=_core.float64, device=input.device)
    inside = (chances >= 0) & (chances <= 1)
    if not bool(inside.all()):
        raise ValueError("bernoulli: probabilities must lie in [0, 1]")
    wide = _core.float64 if chances.dtype is _core.float64 else _core.float32
    draws = _core.rand(input.shape, dtype=wide, device=input.device) < chances.to(wide)
    return draws.to(input.dtype)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False) -> Tensor:
    """Draw indices with probabilities in proportion to weights.

    Args:
        input: floating weights, (N) or (M, N), finite and not negative; not all of a row are 0.
        num_samples: how many of each row.
        replacement: whether an index may be drawn again.

    Returns:
        int64 of shape (num_samples) or (M, num_samples).

    Raises:
        TypeError: the input is not floating.
        ValueError: a shape, a weight or the number does not fit.
    """
    if not tensor("multinomial", "input", input).dtype.is_floating_point:
        raise TypeError(f"multinomial: input must be floating, got {input.dtype.name}")
    if len(input.shape) not in (1, 2):
        raise ValueError(f"multinomial: input must have 1 or 2 axes, got {tuple(input.shape)}")
    num_samples = integer("multinomial", "num_samples", num_samples)
    if num_samples < 1:
        raise ValueError(f"multinomial: num_samples must be 1 or more, got {num_samples}")
    weights = input.detach().double()
    if not bool((_core.isfinite(weights) & (weights >= 0)).all()):
        raise ValueError("multinomial: weights must be finite and not negative")
    positive = (weights > 0).sum(-1)
    least = 1 if replacement else num_samples
    if positive.numel() and int(positive.min()) < least:
        raise ValueError(
            f"multinomial: {num_samples} draws {'with' if replacement else 'without'} replacement "
            f"need {least} positive weights in each row, got {int(positive.min())}"
        )
    shape = (*input.shape[:-1], num_samples)
    if not positive.numel():
        return _core.zeros(shape, dtype=_core.int64, device=input.device)
    # In parts of each row's largest, no sum overflows and no product is lost among the least.
    parts = weights / weights.amax(-1, keepdim=True)
    if replacement:
        rising = parts.cumsum(-1)
        draws = _core.rand(shape, dtype=_core.float64, device=input.device)
        total = rising.narrow(-1, rising.shape[-1] - 1, 1)
        places = _core.arange(input.shape[-1], device=input.device)
        last = (places * (weights > 0)).amax(-1, keepdim=True)
        return _core.minimum(searchsorted(rising, draws * total, right=True), last)
    # The first arrivals of processes with these rates (Efraimidis and Spirakis, 2006).
    draws = _core.rand(input.shape, dtype=_core.float64, device=input.device)
    # Those of the least rates are late, but come before what never comes.
    arrivals = (-_core.log1p(-draws) / parts.clamp(min=_SMALLEST)).clamp(max=_LARGEST)
    arrivals = arrivals.masked_fill(weights == 0, math.inf)
    return topk(arrivals, num_samples, -1, largest=False).indices
