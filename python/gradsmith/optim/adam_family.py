"""NAdam, RAdam and Adamax."""

from __future__ import annotations

import math
from typing import Any

import gradsmith as gs
from gradsmith._core import Tensor

from .composed import Composed
from .optimizer import Group, check

__all__ = ["Adamax", "NAdam", "RAdam"]


class NAdam(Composed):
    """Adam whose step looks ahead, as Nesterov's momentum does (Dozat, 2016).

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay of the averages of the gradient and of its square, each in [0, 1).
        eps: added to the denominator.
        weight_decay: L2 penalty.
        momentum_decay: how fast momentum rises: it is beta1 (1 - 0.96^(t momentum_decay) / 2).
        decoupled_weight_decay: shrink the parameters by lr weight_decay instead.
        maximize: climb instead of descend.
    """

    _flags = ("decoupled_weight_decay", "maximize")

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"momentum_decay": momentum_decay, "maximize": maximize}
        defaults["decoupled_weight_decay"] = decoupled_weight_decay
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        self._check_adam(group)
        check("NAdam", "momentum_decay", group["momentum_decay"])

    def _update_one(self, group: Group, param: Tensor, grad: Tensor, step: int) -> None:
        state, (beta1, beta2) = self.state[param], group["betas"]
        now, soon = (
            beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1)
        )
        product = state["mu_product"] = float(state.get("mu_product", 1.0)) * now
        first = self._average(param, "exp_avg", grad, beta1)
        square = self._average(param, "exp_avg_sq", grad * grad, beta2)
        scale = gs.sqrt(square / (1 - beta2**step)) + group["eps"]
        ahead = grad * ((1 - now) / (1 - product)) + first * (soon / (1 - product * soon))
        param.sub_(ahead / scale * group["lr"])


class RAdam(Composed):
    """Adam that steps without the second average until its variance is known (Liu et al., 2020).

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay of the averages of the gradient and of its square, each in [0, 1).
        eps: added to the denominator.
        weight_decay: L2 penalty.
        decoupled_weight_decay: shrink the parameters by lr weight_decay instead.
        maximize: climb instead of descend.
    """

    _flags = ("decoupled_weight_decay", "maximize")

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        defaults |= {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group: Group) -> None:
        self._check_adam(group)

    def _update_one(self, group: Group, param: Tensor, grad: Tensor, step: int) -> None:
        beta1, beta2 = group["betas"]
        first = self._average(param, "exp_avg", grad, beta1)
        square = self._average(param, "exp_avg_sq", grad * grad, beta2)
        ahead = first / (1 - beta1**step)
        most = 2 / (1 - beta2) - 1  # length of the average, in the end and now
        rest = 1 - beta2**step
        length = most - 2 * step * beta2**step / rest
        if length > 5:
            known = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            ahead = ahead * (math.sqrt(known * rest) / (gs.sqrt(square) + group["eps"]))
        param.sub_(ahead * group["lr"])


class Adamax(Composed):
    """Adam with the largest gradient so far, decaying, for the root (Kingma and Ba, 2014).

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay of the average of the gradient and of the largest, each in [0, 1).
        eps: added to `|g|`.
        weight_decay: L2 penalty.
        maximize: climb instead of descend.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"maximize": maximize})

    def _check(self, group: Group) -> None:
        self._check_adam(group)

    def _update_one(self, group: Group, param: Tensor, grad: Tensor, step: int) -> None:
        beta1, beta2 = group["betas"]
        first = self._average(param, "exp_avg", grad, beta1)
        largest = self._slot(param, "exp_inf")
        largest.copy_(gs.maximum(largest * beta2, gs.abs(grad) + group["eps"]))
        param.sub_(first / largest * (group["lr"] / (1 - beta1**step)))
