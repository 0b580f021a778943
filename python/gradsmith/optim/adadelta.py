"""Adadelta."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith import _core
from gradsmith._checks import number
from gradsmith._core import Tensor

from .optimizer import COUNT, Group, Optimizer, check

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
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

    _tensors = ("square_avg", "acc_delta")
    _numbers: ClassVar = {"step": COUNT}

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

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        for _, chosen, theirs in self._by_step(params, grads):
            _core.adadelta_step_(
                chosen,
                theirs,
                self._slots(chosen, "square_avg"),
                self._slots(chosen, "acc_delta"),
                group["lr"],
                group["rho"],
                group["eps"],
                group["weight_decay"],
                group["maximize"],
            )
