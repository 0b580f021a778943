"""RMSprop and Adagrad."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith import _core
from gradsmith._core import Tensor

from .optimizer import COUNT, Group, Optimizer, check

__all__ = ["Adagrad", "RMSprop"]


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) g^2;  p = p - lr g / (sqrt(v) + eps) (Hinton, 2012).

    Args:
        params: parameters or groups of them.
        lr: step size.
        alpha: decay of the average of squares.
        eps: added to the denominator.
        weight_decay: L2 penalty.
        momentum: share of the previous direction that is kept.
        centered: subtract the squared average gradient from v (Graves, 2013).
        maximize: climb instead of descend.
    """

    _tensors = ("square_avg", "grad_avg", "momentum_buffer")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    _flags = ("centered", "maximize")

    def _check(self, group: Group) -> None:
        for name in ("lr", "alpha", "eps", "weight_decay", "momentum"):
            check("RMSprop", name, group[name])

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        _core.rmsprop_step_(
            params,
            grads,
            self._slots(params, "square_avg"),
            self._slots(params, "grad_avg") if group["centered"] else [],
            self._slots(params, "momentum_buffer") if group["momentum"] else [],
            group["lr"],
            group["alpha"],
            group["eps"],
            group["weight_decay"],
            group["momentum"],
            group["centered"],
            group["maximize"],
        )


class Adagrad(Optimizer):
    """s = s + g^2;  p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) (Duchi et al., 2011).

    Args:
        params: parameters or groups of them.
        lr: step size.
        lr_decay: how fast the step size falls with the step count t.
        weight_decay: L2 penalty.
        initial_accumulator_value: what s starts at.
        eps: added to the denominator.
        maximize: climb instead of descend.
    """

    _tensors = ("sum",)
    _numbers: ClassVar = {"step": COUNT}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    def _check(self, group: Group) -> None:
        for name in ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps"):
            check("Adagrad", name, group[name])

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        for param in params:
            if "sum" not in self.state.setdefault(param, {}):
                self._slot(param, "sum").fill_(group["initial_accumulator_value"])
        for step, chosen, theirs in self._by_step(params, grads):
            _core.adagrad_step_(
                chosen,
                theirs,
                self._slots(chosen, "sum"),
                step,
                group["lr"],
                group["lr_decay"],
                group["weight_decay"],
                group["eps"],
                group["maximize"],
            )
