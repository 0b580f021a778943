"""Lion."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith import _core
from gradsmith._core import Tensor

from .optimizer import COUNT, Group, Optimizer, check_adam

__all__ = ["Lion"]


class Lion(Optimizer):
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

    _tensors = ("exp_avg",)
    _numbers: ClassVar = {"step": COUNT}

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
        check_adam("Lion", group)

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for _, chosen, theirs in self._by_step(params, grads):
            _core.lion_step_(
                chosen,
                theirs,
                self._slots(chosen, "exp_avg"),
                group["lr"],
                beta1,
                beta2,
                group["weight_decay"],
                group["maximize"],
            )
