"""Rprop."""

from __future__ import annotations

from typing import Any

import gradsmith as gs
from gradsmith._core import Tensor

from .composed import Composed, check_pair
from .optimizer import Group, check

__all__ = ["Rprop"]


class Rprop(Composed):
    """Steps by the gradient's sign, each element with a size of its own (Riedmiller, Braun, 1993).

    A size grows while the sign stays and shrinks, without a step, when it turns. For full batches.

    Args:
        params: parameters or groups of them.
        lr: first size of the steps.
        etas: factors of a size when the sign turns, in (0, 1), and when it stays, above 1.
        step_sizes: smallest and largest size.
        maximize: climb instead of descend.
    """

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
        down, up = check_pair("Rprop", "etas", group["etas"])
        if not 0 < down < 1 < up:
            raise ValueError(f"Rprop: etas must lie in (0, 1) and above 1, got {group['etas']}")
        low, high = check_pair("Rprop", "step_sizes", group["step_sizes"])
        if not 0 <= low <= high:
            raise ValueError(f"Rprop: step_sizes must rise from 0, got {group['step_sizes']}")

    def _update_one(self, group: Group, param: Tensor, grad: Tensor, step: int) -> None:
        (down, up), (low, high) = group["etas"], group["step_sizes"]
        if "step_size" not in self.state[param]:
            self._slot(param, "step_size").fill_(group["lr"])
        sizes, previous = self._slot(param, "step_size"), self._slot(param, "prev")
        agreement = grad * previous
        turned = agreement < 0
        factor = gs.ones_like(sizes).masked_fill(turned, down).masked_fill(agreement > 0, up)
        sizes.mul_(factor).clamp_(low, high)
        grad = grad.masked_fill(turned, 0.0)
        param.sub_(gs.sign(grad) * sizes)
        previous.copy_(grad)
