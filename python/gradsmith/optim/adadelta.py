"""Adadelta."""

from __future__ import annotations

from typing import Any

import gradsmith as gs
from gradsmith._checks import number
from gradsmith._core import Tensor

from .composed import Composed
from .optimizer import Group, check

__all__ = ["Adadelta"]


class Adadelta(Composed):
    """p = p - lr d with d = sqrt(u + eps) / sqrt(v + eps) g (Zeiler, 2012).

    u and v are running averages of d^2 and g^2.

    Args:
        params: parameters or groups of them.
        lr: factor of the step.
        rho: decay of the averages, in [0, 1].
        eps: added under both roots.
        weight_decay: L2 penalty.
        maximize: climb instead of descend.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"maximize": maximize})

    def _check(self, group: Group) -> None:
        for name in ("lr", "eps", "weight_decay"):
            check("Adadelta", name, group[name])
        if not 0 <= number("Adadelta", "rho", group["rho"]) <= 1:
            raise ValueError(f"Adadelta: rho must lie in [0, 1], got {group['rho']}")

    def _update_one(self, group: Group, param: Tensor, grad: Tensor, step: int) -> None:
        rho, eps = group["rho"], group["eps"]
        square = self._average(param, "square_avg", grad * grad, rho)
        delta = gs.sqrt(self._slot(param, "acc_delta") + eps) / gs.sqrt(square + eps) * grad
        self._average(param, "acc_delta", delta * delta, rho)
        param.sub_(delta * group["lr"])
