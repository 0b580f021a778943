"""Rprop."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from gradsmith import _core
from gradsmith._checks import number
from gradsmith._core import Tensor

from .optimizer import COUNT, Group, Optimizer, check

__all__ = ["Rprop"]


def _pair(name: str, value: Any) -> tuple[float, float]:
    """Return two numbers, or raise."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"Rprop: {name} must be two numbers, got {value!r}")
    first, second = (number("Rprop", f"{name}[{at}]", each) for at, each in enumerate(value))
    return first, second


class Rprop(Optimizer):
    """Steps by the gradient's sign, each element with a size of its own (Riedmiller, Braun, 1993).

    A size grows while the sign stays and shrinks, without a step, when it turns. For full batches.

    Args:
        params: parameters or groups of them.
        lr: first size of the steps.
        etas: factors of a size when the sign turns, in (0, 1), and when it stays, above 1.
        step_sizes: smallest and largest size.
        maximize: climb instead of descend.
    """

    _tensors = ("prev", "step_size")
    _numbers: ClassVar = {"step": COUNT}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        check("Rprop", "lr", group["lr"])
        down, up = _pair("etas", group["etas"])
        if not 0 < down < 1 < up < math.inf:
            raise ValueError(
                f"Rprop: etas must lie in (0, 1) and above 1, and be finite, got {group['etas']}"
            )
        low, high = _pair("step_sizes", group["step_sizes"])
        if not 0 <= low <= high < math.inf:
            raise ValueError(
                f"Rprop: step_sizes must rise from 0 and be finite, got {group['step_sizes']}"
            )

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        for param in params:
            if "step_size" not in self.state.setdefault(param, {}):
                self._slot(param, "step_size").fill_(group["lr"])
        (down, up), (low, high) = group["etas"], group["step_sizes"]
        for _, chosen, theirs in self._by_step(params, grads):
            _core.rprop_step_(
                chosen,
                theirs,
                self._slots(chosen, "prev"),
                self._slots(chosen, "step_size"),
                down,
                up,
                low,
                high,
                group["maximize"],
            )
