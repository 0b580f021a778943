"""Lion."""

from __future__ import annotations

from typing import Any

import gradsmith as gs
from gradsmith._core import Tensor

from .composed import Composed
from .optimizer import Group

__all__ = ["Lion"]


class Lion(Composed):
    """p = p - lr sign(b1 m + (1 - b1) g), then m = b2 m + (1 - b2) g (Chen et al., 2023).

    Every element moves by lr, so lr is best three to ten times smaller than AdamW's, and
    weight_decay as many times larger. It keeps one tensor per parameter where Adam keeps two.

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: share of the average in the step's direction, and its decay, each in [0, 1).
        weight_decay: share of each parameter, times lr, taken off per step.
        maximize: climb instead of descend.
    """

    _decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"maximize": maximize})

    def _check(self, group: Group) -> None:
        self._check_adam(group)

    def _update_one(self, group: Group, param: Tensor, grad: Tensor, step: int) -> None:
        keep, decay = group["betas"]
        direction = self._slot(param, "exp_avg") * keep + grad * (1 - keep)
        param.sub_(gs.sign(direction) * group["lr"])
        self._average(param, "exp_avg", grad, decay)
