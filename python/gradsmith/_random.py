"""The global random generator: Philox, the same numbers on every machine and thread count."""

from __future__ import annotations

import operator

from . import _core

__all__ = ["get_rng_state", "manual_seed", "set_rng_state"]


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
