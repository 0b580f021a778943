"""RMSprop and Adagrad, written with tensor operations."""

from __future__ import annotations

from typing import Any

from gradsmith._core import Tensor

from .optimizer import Group, Optimizer, check

__all__ = ["Adagrad", "RMSprop"]


def _gradient(group: Group, param: Tensor, grad: Tensor) -> Tensor:
    if group["maximize"]:
        grad = -grad
    return grad + param * group["weight_decay"] if group["weight_decay"] else grad


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
        alpha = group["alpha"]
        for param, raw in zip(params, grads, strict=True):
            grad = _gradient(group, param, raw)
            square = self._slot(param, "square_avg")
            square.mul_(alpha).add_(grad * grad * (1 - alpha))
            variance = square
            if group["centered"]:
                average = self._slot(param, "grad_avg")
                average.mul_(alpha).add_(grad * (1 - alpha))
                variance = square - average * average
            direction = grad / (variance.sqrt() + group["eps"])
            if group["momentum"]:
                buffer = self._slot(param, "momentum_buffer")
                buffer.mul_(group["momentum"]).add_(direction)
                direction = buffer
            param.add_(direction * -group["lr"])


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
        for param, raw in zip(params, grads, strict=True):
            state = self.state.setdefault(param, {"step": 0})
            if "sum" not in state:
                self._slot(param, "sum").fill_(group["initial_accumulator_value"])
            state["step"] = int(state["step"]) + 1
            grad = _gradient(group, param, raw)
            state["sum"].add_(grad * grad)
            rate = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
            param.add_(grad / (state["sum"].sqrt() + group["eps"]) * -rate)
