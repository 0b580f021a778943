"""NAdam, RAdam and Adamax."""

from __future__ import annotations

from typing import Any, ClassVar

from gradsmith import _core
from gradsmith._core import Tensor

from .optimizer import COUNT, Group, Optimizer, check, check_adam

__all__ = ["Adamax", "NAdam", "RAdam"]


class NAdam(Optimizer):
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
    _tensors = ("exp_avg", "exp_avg_sq")
    _numbers: ClassVar = {"step": COUNT, "mu_product": (0.0, 1.0)}

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
        check_adam("NAdam", group)
        check("NAdam", "momentum_decay", group["momentum_decay"])

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        (beta1, beta2), decay = group["betas"], group["momentum_decay"]
        for step, chosen, theirs in self._by_step(params, grads, "mu_product"):
            mu, next_mu = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
            product = self.state[chosen[0]].get("mu_product", 1.0) * mu
            _core.nadam_step_(
                chosen,
                theirs,
                self._slots(chosen, "exp_avg"),
                self._slots(chosen, "exp_avg_sq"),
                step,
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                mu,
                next_mu,
                product,
                group["decoupled_weight_decay"],
                group["maximize"],
            )
            for param in chosen:
                self.state[param]["mu_product"] = product


class RAdam(Optimizer):
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
    _tensors = ("exp_avg", "exp_avg_sq")
    _numbers: ClassVar = {"step": COUNT}

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
        check_adam("RAdam", group)

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for step, chosen, theirs in self._by_step(params, grads):
            _core.radam_step_(
                chosen,
                theirs,
                self._slots(chosen, "exp_avg"),
                self._slots(chosen, "exp_avg_sq"),
                step,
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                group["decoupled_weight_decay"],
                group["maximize"],
            )


class Adamax(Optimizer):
    """Adam with the largest gradient so far, decaying, for the root (Kingma and Ba, 2014).

    Args:
        params: parameters or groups of them.
        lr: step size.
        betas: decay of the average of the gradient and of the largest, each in [0, 1).
        eps: added to `|g|`.
        weight_decay: L2 penalty.
        maximize: climb instead of descend.
    """

    _tensors = ("exp_avg", "exp_inf")
    _numbers: ClassVar = {"step": COUNT}

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
        check_adam("Adamax", group)

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for step, chosen, theirs in self._by_step(params, grads):
            _core.adamax_step_(
                chosen,
                theirs,
                self._slots(chosen, "exp_avg"),
                self._slots(chosen, "exp_inf"),
                step,
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                group["maximize"],
            )
