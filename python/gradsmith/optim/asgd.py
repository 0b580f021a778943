"""ASGD: averaged stochastic gradient descent."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from gradsmith import _core
from gradsmith._core import Tensor

from .optimizer import COUNT, Group, Optimizer, check

__all__ = ["ASGD"]


class ASGD(Optimizer):
    """SGD with a falling step size, and the average of the iterates (Polyak and Juditsky, 1992).

    The step size is lr / (1 + lambd lr t)^alpha; the average, in the state "ax", starts at step t0.

    Args:
        params: parameters or groups of them.
        lr: first step size.
        lambd: decay of the step size, and of the parameters.
        alpha: power of the decay.
        t0: when averaging starts.
        weight_decay: L2 penalty.
        maximize: climb instead of descend.
    """

    _tensors = ("ax",)
    _numbers: ClassVar = {"step": COUNT, "eta": (0.0, math.inf), "mu": (0.0, 1.0)}

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        defaults = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0}
        super().__init__(params, defaults | {"weight_decay": weight_decay, "maximize": maximize})

    def _check(self, group: Group) -> None:
        for name in ("lr", "lambd", "alpha", "t0", "weight_decay"):
            check("ASGD", name, group[name])

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        lr: float = group["lr"]
        lambd: float = group["lambd"]
        for step, chosen, theirs in self._by_step(params, grads, "eta", "mu"):
            now = self.state[chosen[0]]
            _core.asgd_step_(
                chosen,
                theirs,
                self._slots(chosen, "ax"),
                now.get("eta", lr),
                lambd,
                now.get("mu", 1.0),
                group["weight_decay"],
                group["maximize"],
            )
            eta = lr / (1 + lambd * lr * step) ** group["alpha"]
            mu = 1 / max(1.0, step - group["t0"])
            for param in chosen:
                self.state[param].update(eta=eta, mu=mu)
