"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith import _core
from gradsmith._core import Tensor

from .optimizer import COUNT, Group, Optimizer, check_adam

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p = p - lr m' / (sqrt(v') + eps).

    m' and v' are m and v divided by 1 - b1^t and 1 - b2^t (Kingma and Ba, 2014).

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay of the two averages, each in [0, 1).
        eps: added to the denominator.
        weight_decay: L2 penalty, added to the gradient.
        amsgrad: divide by the largest v' so far (Reddi, Kale and Kumar, 2018).
        maximize: climb instead of descend.
        decoupled_weight_decay: shrink the parameters by lr weight_decay instead, as AdamW does.
    """

    _flags = ("amsgrad", "maximize", "decoupled_weight_decay")
    _decoupled: ClassVar[bool] = False
    _tensors = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _numbers: ClassVar = {"step": COUNT}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )

    def _check(self, group: Group) -> None:
        check_adam(type(self).__name__, group)

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        for step, chosen, theirs in self._by_step(params, grads):
            _core.adam_step_(
                chosen,
                theirs,
                self._slots(chosen, "exp_avg"),
                self._slots(chosen, "exp_avg_sq"),
                self._slots(chosen, "max_exp_avg_sq") if group["amsgrad"] else [],
                step,
                group["lr"],
                group["betas"][0],
                group["betas"][1],
                group["eps"],
                group["weight_decay"],
                group["amsgrad"],
                self._decoupled or group["decoupled_weight_decay"],
                group["maximize"],
            )


class AdamW(Adam):
    """Adam with decoupled weight decay: p shrinks by lr weight_decay (Loshchilov and Hutter, 2019).

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay of the two averages, each in [0, 1).
        eps: added to the denominator.
        weight_decay: share of each parameter, times lr, taken off per step.
        amsgrad: divide by the largest second average so far.
        maximize: climb instead of descend.
    """

    _decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )
