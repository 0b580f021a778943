"""Losses of generative adversarial networks, and the gradient penalty.

The critic (discriminator) gives one score per sample: a logit, larger for real samples. None of
the losses wants a sigmoid at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import gradsmith as gs
from gradsmith._core import Tensor
from gradsmith.nn import Module
from gradsmith.nn.functional import relu, softplus

__all__ = ["GAN_LOSSES", "GANLoss", "gradient_penalty"]


class GANLoss(NamedTuple):
    """The two sides of a loss, and where the critic draws the line between real and fake."""

    critic: Callable[[Tensor, Tensor], Tensor]  # of the scores of real and of fake samples
    generator: Callable[[Tensor], Tensor]  # of the scores of fake samples
    threshold: float | None = 0.0  # None: scores have no such line
    penalty: float = 0.0  # the weight of the gradient penalty unless given


def _cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


GAN_LOSSES: dict[str, GANLoss] = {
    # log(1 - D(fake)), minimised: flat where the critic is sure (Goodfellow et al., 2014)
    "minimax": GANLoss(_cross_entropy, lambda fake: -softplus(fake).mean()),
    # -log D(fake), the same paper's remedy
    "non_saturating": GANLoss(_cross_entropy, lambda fake: softplus(-fake).mean()),
    # Mao et al., 2017, with the targets 0 and 1
    "least_squares": GANLoss(
        lambda real, fake: 0.5 * ((real - 1).square().mean() + fake.square().mean()),
        lambda fake: 0.5 * (fake - 1).square().mean(),
        threshold=0.5,
    ),
    # Lim and Ye, 2017; Miyato et al., 2018
    "hinge": GANLoss(
        lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    # Arjovsky, Chintala and Bottou, 2017; the penalty is of Gulrajani et al., 2017
    "wasserstein": GANLoss(
        lambda real, fake: fake.mean() - real.mean(),
        lambda fake: -fake.mean(),
        threshold=None,
        penalty=10.0,
    ),
}


def gradient_penalty(critic: Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean of `(|gradient of the critic| - 1)^2` between real and fake samples.

    The points lie at random places on the lines between pairs (Gulrajani et al., 2017); the result
    can be differentiated, which takes second-order gradients of the critic. A critic with batch
    normalisation has no gradient per sample; use layer or group normalisation there.

    Args:
        critic: gives one score per sample.
        real: samples (N, ...).
        fake: samples of the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"gradient_penalty: real {tuple(real.shape)} and fake {tuple(fake.shape)} must have "
            "the same shape"
        )
    count = real.shape[0]
    shape = (count, *(1,) * (len(real.shape) - 1))
    share = gs.rand(*shape, dtype=real.dtype, device=real.device)
    between = (fake + share * (real - fake)).detach().requires_grad_()
    (slope,) = gs.autograd.grad(critic(between).sum(), between, create_graph=True)
    # The small number keeps the root's derivative finite where the gradient is zero.
    norms = (slope.reshape(count, -1).square().sum(1) + 1e-12).sqrt()
    return (norms - 1).square().mean()
