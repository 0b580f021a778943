"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import Any

from gradsmith import _core
from gradsmith._core import Tensor

from .optimizer import Group, Optimizer, check

__all__ = ["SGD"]


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g;  p = p - lr v, with g + weight_decay p as the gradient.

    The first step starts v at g; `nesterov` steps by g + momentum v (Sutskever et al., 2013).

    Args:
        params: parameters or groups of them.
        lr: step size.
        momentum: share of the previous direction that is kept.
        dampening: share of the new gradient that is left out.
        weight_decay: L2 penalty.
        nesterov: look ahead; needs momentum and no dampening.
        maximize: climb instead of descend.
    """

    _tensors = ("momentum_buffer",)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        """Check the options and build the groups."""
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    _flags = ("nesterov", "maximize")

    def _check(self, group: Group) -> None:
        for name in ("lr", "momentum", "weight_decay"):
            check("SGD", name, group[name])
        check("SGD", "dampening", group["dampening"], float("-inf"), open_low=True)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD: nesterov needs momentum > 0 and dampening 0, got "
                f"momentum={group['momentum']}, dampening={group['dampening']}"
            )

    def _update(self, group: Group, params: list[Tensor], grads: list[Tensor]) -> None:
        if not group["momentum"]:
            self._step(group, params, grads, [], 0.0)
            return
        # The first step of a parameter starts its buffer at the gradient, undampened.
        fresh: tuple[list[Tensor], list[Tensor]] = ([], [])
        started: tuple[list[Tensor], list[Tensor]] = ([], [])
        for param, grad in zip(params, grads, strict=True):
            known = "momentum_buffer" in self.state.setdefault(param, {})
            chosen = started if known else fresh
            chosen[0].append(param)
            chosen[1].append(grad)
        for (some, theirs), dampening in ((fresh, 0.0), (started, group["dampening"])):
            if some:
                buffers = self._slots(some, "momentum_buffer")
                self._step(group, some, theirs, buffers, dampening)

    def _step(
        self,
        group: Group,
        params: list[Tensor],
        grads: list[Tensor],
        buffers: list[Tensor],
        dampening: float,
    ) -> None:
        _core.sgd_step_(
            params,
            grads,
            buffers,
            group["lr"],
            group["momentum"],
            dampening,
            group["weight_decay"],
            group["nesterov"],
            group["maximize"],
        )
